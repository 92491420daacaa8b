"""`python -m p2pcdn_daemon` is the command `p2pcdn`."""

from p2pcdn_daemon.cli import main

if __name__ == "__main__":
    main()
