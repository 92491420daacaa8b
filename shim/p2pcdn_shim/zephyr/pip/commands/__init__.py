"""The commands of `zephyr pip`, one file each: USAGE, and `run`; its docstring is its help."""
