"""`python -m p2pcdn_shim.zephyr` is `zephyr`."""

from p2pcdn_shim.zephyr.cli import main

main()
