"""A process that is killed, or hears EIO, at each of its changing system calls: nothing acknowledged is lost."""

# ruff: noqa: ASYNC240  # a test may wait for the disk

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from p2pcdn.digest import Sha256
from p2pcdn.store import Store
from tests.store.stores import open_store

ROOT = Path(__file__).parents[2]
WRITER = Path(__file__).with_name("crash_writer.py")
# Far beyond what the writer does; a sweep that reaches it has a writer that never ends normally.
POINTS_MAX = 200
# Nearly everything that is written is written by it.
SLOW_PWRITE = pytest.param("pwrite64", marks=pytest.mark.slow)


def _strace_works() -> bool:
    strace = shutil.which("strace")
    return (
        strace is not None and subprocess.run([strace, "-o", os.devnull, "true"], capture_output=True).returncode == 0
    )


pytestmark = pytest.mark.skipif(not _strace_works(), reason="needs strace, and the right to trace")


def run_writer(directory: Path, acks: Path, injection: str) -> int:
    call = injection.split(":", 1)[0]
    strace = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e", f"inject={injection}"]
    command = [*strace, sys.executable, "-B", "-X", "frozen_modules=on", str(WRITER), str(directory), str(acks)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'daemon'}"}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode in (0, 2, 3, -9, 137), done.stderr.decode()
    return done.returncode


async def check(directory: Path, acks: Path) -> None:
    """The next life: opens, holds whole files only, and everything that was acknowledged."""
    store = await open_store(directory)
    try:
        await check_open(store, directory, acks.read_text() if acks.exists() else "")
    finally:
        await store.close()


async def check_open(store: Store, directory: Path, acknowledged: str) -> None:
    rows = {row.sha256: row for row in store.rows()}
    for sha256 in rows:
        blob = store.blob(sha256)
        assert blob is not None
        assert Sha256.of(await blob.read()) == sha256
    # LMDB survives a kill: no rebuild may have covered a loss.
    assert not (directory / "catalog.rotten").exists()
    files = {path.name for path in (directory / "blobs").rglob("*") if path.is_file()}
    assert files == {row.name for row in rows.values() if not row.inline}
    kept: set[str] = set()
    trees: set[str] = set()
    value = 0
    for line in acknowledged.splitlines():
        match line.split():
            case ["kept", sha256]:
                kept.add(sha256)
            case ["dropping", sha256]:
                kept.discard(sha256)
            case ["tree", name]:
                trees.add(name)
            case ["value", "page", number]:
                value = int(number)
    assert kept <= set(rows)
    assert trees <= await whole_trees(store, directory)
    page, metadata = store.value("pages", "page"), store.value("metadata", "page")
    assert page == metadata
    assert int(page or b"0") in (value, value + 1)
    assert store.summary().blobs == len(rows)
    assert store.summary().size_bytes == sum(row.size_bytes for row in rows.values())


async def whole_trees(store: Store, directory: Path) -> set[str]:
    """Their names. What lies in the directory has a row, and is what its listing says; nothing else is left."""
    await store.settled()
    names = {path.name for path in (directory / "trees").iterdir()}
    for name in names:
        sha256, _, kind = name.partition(".")
        tree = store.tree(Sha256(sha256), kind)
        assert tree is not None
        for line in tree.listing.decode().splitlines():
            path, _, size = line.partition(" ")
            assert (tree.path / path).stat().st_size == int(size)
    assert store.summary().trees == len(names)
    assert store.summary().tree_bytes == 2012 * len(names)
    return names


@pytest.mark.parametrize("call", ["mkdir", "ftruncate", "write", SLOW_PWRITE, "fsync", "syncfs", "fdatasync", "rename"])
async def test_a_kill_at_any_system_call_loses_nothing_acknowledged(tmp_path: Path, call: str) -> None:
    for point in range(1, POINTS_MAX):
        directory, acks = tmp_path / f"{point}" / "store", tmp_path / f"acks-{point}"
        directory.parent.mkdir()
        ended = run_writer(directory, acks, f"{call}:signal=KILL:when={point}")
        if directory.exists():
            await check(directory, acks)
        if ended == 0:
            return
    pytest.fail("the writer never ended")


@pytest.mark.parametrize("call", ["fsync", SLOW_PWRITE, "fdatasync"])
async def test_an_io_error_stops_writing_and_nothing_is_acknowledged_that_is_lost(tmp_path: Path, call: str) -> None:
    stopped = 0
    for point in range(1, POINTS_MAX):
        directory, acks = tmp_path / f"{point}" / "store", tmp_path / f"acks-{point}"
        directory.parent.mkdir()
        ended = run_writer(directory, acks, f"{call}:error=EIO:when={point}")
        stopped += ended == 3
        await check(directory, acks)
        if ended == 0:
            assert stopped
            return
    pytest.fail("the writer never ended")
