"""Whether a solution that somebody else found is one."""

from __future__ import annotations

from collections.abc import Iterable

from p2pcdn.resolve.model import Metadata, Solution, Table, Target, Wanted


def verify(
    solution: Solution, wanted: Wanted, target: Target, tables: Iterable[Table], metadata: Iterable[Metadata]
) -> tuple[str, ...]:
    """What is wrong with it, in sentences; empty where it is a solution. Linear in its size.

    tables, metadata: ours, of the solution's projects and pins; what lacks is a sentence too.
    """
    raise NotImplementedError
