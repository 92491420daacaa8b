"""What one seed of a scenario gives: what went wrong, and a digest that another run of the seed must give again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import trio


@dataclass(frozen=True, slots=True)
class Outcome:
    """failures: sentences; none where all is well."""

    failures: Sequence[str]
    digest: str


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """Within it trio runs the tasks of a batch in an order that the seed decides (both names are private to trio)."""
    run = trio._core._run
    before = run._ALLOW_DETERMINISTIC_SCHEDULING
    run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    run._r.seed(f"order-{seed}")
    try:
        yield
    finally:
        run._ALLOW_DETERMINISTIC_SCHEDULING = before  # type: ignore[misc]
