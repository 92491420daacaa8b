"""How much memory all processes of a sandbox take together: the init looks, for a limit a process bounds none."""

from __future__ import annotations

import os

# A process fills some 4 GB a second at most; what it takes between two looks, its own address space bounds.
LOOK_INTERVAL_S = 0.25
_KIB = 1024


def is_over(size_bytes_max: int, proc: str = "/proc") -> bool:
    """Whether the processes of this /proc take more, each page counted once.

    The cheap sum counts shared pages for every process that has them; only where it is over, the true one is made.
    """
    processes = [name for name in os.listdir(proc) if name.isdigit()]
    cheap = sum(_field(f"{proc}/{name}/status", "RssAnon:") for name in processes)
    return (
        cheap > size_bytes_max
        and sum(_field(f"{proc}/{name}/smaps_rollup", "Pss:") for name in processes) > size_bytes_max
    )


def _field(path: str, name: str) -> int:
    """In bytes; 0 for a process that has just ended."""
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                if line.startswith(name):
                    return int(line.split()[1]) * _KIB
    except OSError:
        pass
    return 0
