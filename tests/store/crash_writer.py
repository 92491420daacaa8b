"""A program that keeps, changes and drops in a store, and says after each step what was acknowledged.

crash_writer.py STORE ACKS: ACKS lies outside the store; a line is "kept SHA256", "dropping SHA256", "tree NAME" or
"value KEY N".
Exit codes: 0 all done, 2 the store could not be opened, 3 it stopped writing (refused the next step, still read).
"""

# ruff: noqa: ASYNC240  # a program of one thread

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from p2pcdn.digest import Sha256
from p2pcdn.errors import StoreStopped, StoreUnusable
from p2pcdn.store import Made, Store
from tests.store.stores import MIB, WHEEL, content_of, open_store


async def main(directory: Path, acks: int) -> int:
    try:
        store = await open_store(directory)
    except StoreUnusable as error:
        print(error)
        return 2
    try:
        await steps(store, acks)
    except StoreStopped as error:
        print(error)
        return await after_the_stop(store)
    await store.close()
    return 0


async def steps(store: Store, acks: int) -> None:
    for seed, size_bytes in ((1, MIB + 100), (2, 5000)):
        content = content_of(seed, size_bytes)
        partial = await store.grow(Sha256.of(content), size_bytes, WHEEL)
        await partial.write(size_bytes // 2, content[size_bytes // 2 :])
        await partial.write(0, content[: size_bytes // 2])
        say(acks, f"kept {(await partial.finish()).sha256}")
    small = await store.keep_small(content_of(3, 1000), WHEEL, expected=None)
    say(acks, f"kept {small.sha256}")
    second = Sha256.of(content_of(2, 5000))
    await store.keep_tree(second, make_tree)
    say(acks, f"tree {second}")
    await store.change(values={("pages", "page"): b"1", ("metadata", "page"): b"1"})
    say(acks, "value page 1")
    first = Sha256.of(content_of(1, MIB + 100))
    say(acks, f"dropping {first}")
    await store.drop(first)
    await store.keep_tree(second, make_tree, "cpython-311")
    say(acks, f"tree {second}.cpython-311")
    await store.change(values={("pages", "page"): b"2", ("metadata", "page"): b"2"})
    say(acks, "value page 2")


async def after_the_stop(store: Store) -> int:
    summary = store.summary()
    assert summary.health != "ok"
    rows = list(store.rows())
    assert len(rows) >= summary.blobs
    for row in rows:
        blob = store.blob(row.sha256)
        if blob is not None:
            assert Sha256.of(await blob.read()) == row.sha256
    content = random.Random(9).randbytes(100)
    try:
        await store.keep_small(content, WHEEL, expected=None)
    except StoreStopped:
        return 3
    return 1


async def make_tree(wheel: Path, directory: Path) -> Made:
    """Two files, of which one lies deeper; the listing says how many bytes each must have."""
    (directory / "package").mkdir(parents=True)
    (directory / "package" / "__init__.py").write_bytes(wheel.read_bytes()[:2000])
    (directory / "METADATA").write_bytes(b"Name: thing\n")
    return Made(b"package/__init__.py 2000\nMETADATA 12", 2012)


def say(acks: int, line: str) -> None:
    os.write(acks, line.encode() + b"\n")


async def run_here(call: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
    """strace counts system calls by thread: with one thread, its count is the program's."""
    await trio.lowlevel.checkpoint()
    return call(*arguments)


if __name__ == "__main__":
    trio.to_thread.run_sync = run_here
    ack_file = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sys.exit(trio.run(main, Path(sys.argv[1]), ack_file))
