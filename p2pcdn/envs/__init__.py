"""Environments out of ready trees: what a lock says, what a wheel holds, what is to be linked where, and the swap.

Two halves. `pylock`, `selection`, `archive`, `wheel`, `unpack`, `listing` and `planning` run where time is not
counted, in a node's thread. `scheme`, `plan`, `parts`, `link`, `install`, `swap`, `carried`, `change`, `places`,
`held`, `history`, `lock_file` and `generations` run inside `zephyr`, whose whole start may take 40 ms: they import the
standard library only, and of it neither dataclasses nor typing, which cost 13 ms together. Nothing here imports trio.
"""
