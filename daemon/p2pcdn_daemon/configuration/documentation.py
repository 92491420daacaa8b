"""`python -m p2pcdn_daemon.configuration.documentation` prints the table of settings for docs/configuration.md."""

from p2pcdn_daemon.configuration.config import documentation_table

if __name__ == "__main__":
    print(documentation_table(), end="")
