"""The files that the walks install, small and made on the spot."""

from __future__ import annotations

from tests.bench.wheels import Distribution, make_wheel

# Large enough to be cut in the middle, small enough for a test: eight pieces of 1 MiB and a bit.
BIG_SIZE_BYTES = 8 * 1024 * 1024 + 12_345

BIG = make_wheel("demo-big", size_bytes=BIG_SIZE_BYTES)
TOP = make_wheel("demo-top", requires=["demo-middle>=1"], size_bytes=120_000)
MIDDLE = make_wheel("Demo.Middle", requires=["demo_base"], size_bytes=400_000)
BASE = make_wheel("demo-base", "2.0")
BASE_OLD = make_wheel("demo-base", "1.0")
FILES: tuple[Distribution, ...] = (BIG, TOP, MIDDLE, BASE, BASE_OLD)

# What asking for demo-top installs.
INSTALLED = {"demo-top": "1.0", "demo-middle": "1.0", "demo-base": "2.0"}
