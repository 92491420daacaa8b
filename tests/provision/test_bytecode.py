"""Byte code: compiled by the interpreter that will run it, kept beside the tree; what is no source is passed over."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from p2pcdn.digest import Sha256
from p2pcdn.envs.listing import Entry, Listing
from p2pcdn.provision.bytecode import _SCRIPT, COMPILERS_MAX, Bytecode, CompileFailed, Compiler, compiled_of
from p2pcdn.store import Made, Store, Tree
from p2pcdn_daemon.doors.processes import RealProcesses
from tests.store.stores import content_of, keep
from tests.worlds import InlineThreads, open_store

# A compiler that takes longer than this waits for somebody.
TIME_S_MAX = 120
RUN = f"runpy.run_path({_SCRIPT!r}, run_name='__main__')"
TAG = str(sys.implementation.cache_tag)
SOURCES = {
    "pkg/__init__.py": b"answer = 42\n",
    "pkg/python2.py": b"print 'hello'\n",
    "pkg/null.py": b"x = '\0'\n",
    "pkg/data.txt": b"no source",
}


@asynccontextmanager
async def room(directory: Path) -> AsyncIterator[tuple[Store, Compiler, Tree]]:
    async with open_store(directory) as store, trio.open_nursery() as nursery:
        compiler = Compiler(store, RealProcesses(), InlineThreads(), nursery)
        yield store, compiler, await unpacked(store)
        nursery.cancel_scope.cancel()


async def unpacked(store: Store, seed: int = 1, sources: Mapping[str, bytes] = SOURCES) -> Tree:
    async def make(_: Path, directory: Path) -> Made:
        entries = [Entry(path, len(content), "") for path, content in sorted(sources.items())]
        for path, content in sources.items():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_bytes(content)
        listing = Listing("pkg", "1", "pkg-1.dist-info", True, (), (*entries, Entry("s.py", 0, "", part="scripts")))
        return Made(listing.encode(), listing.size_bytes)

    return await store.keep_tree((await keep(store, content_of(seed, 1000))).sha256, make)


def bytecode(interpreter: str = sys.executable, tag: str = TAG) -> Bytecode:
    return Bytecode(interpreter, tag, wait=True)


async def test_what_compiles_is_kept_and_runs(tmp_path: Path) -> None:
    async with room(tmp_path) as (store, compiler, tree):
        await compiler.compile([tree], bytecode())
        code = store.tree(tree.key.sha256, TAG)
        assert code is not None
        (only,) = compiled_of(code)
        assert only == f"pkg/__pycache__/__init__.{TAG}.pyc"
        spec = importlib.util.spec_from_file_location("pkg", code.path / only)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert module.answer == 42
        assert (code.path / only).stat().st_mode & 0o222 == 0


@pytest.mark.parametrize("warnings", ["ignore", "always"])
async def test_sources_of_which_there_is_much_to_warn_are_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: str
) -> None:
    """What it wrote of them filled a pipe that nobody read, and nothing came for five minutes. always: it may, too."""
    if warnings == "always":
        words = f"import runpy, sys; print('w' * 300_000, file=sys.stderr); {RUN}"
        (wordy := tmp_path / "wordy.py").write_text(words)
        monkeypatch.setattr("p2pcdn.provision.bytecode._SCRIPT", str(wordy))
    async with room(tmp_path / "store") as (store, compiler, _):
        line = (
            b"x is 'a literal of some hundred letters, so that few of them are enough to fill a pipe of the kernel'\n"
        )
        tree = await unpacked(store, 7, {"pkg/__init__.py": b"x = 0\n" + line * 1000})
        with trio.fail_after(TIME_S_MAX):
            await compiler.compile([tree], bytecode())
        assert store.tree(tree.key.sha256, TAG) is not None


async def test_it_is_compiled_once_however_many_ask(tmp_path: Path) -> None:
    async with room(tmp_path) as (store, compiler, tree):
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(compiler.compile, [tree], bytecode())
        before = store.tree(tree.key.sha256, TAG)
        assert before is not None
        inode = (before.path / compiled_of(before)[0]).stat().st_ino
        await compiler.compile([tree], bytecode())
        assert (before.path / compiled_of(before)[0]).stat().st_ino == inode


async def test_what_another_compiler_made_meanwhile_is_not_made_again_under_those_who_link_it(tmp_path: Path) -> None:
    async with room(tmp_path) as (store, compiler, tree):
        trees = [tree, *[await unpacked(store, seed) for seed in range(2, 2 + COMPILERS_MAX)]]
        linked: list[int] = []

        async def all_of_them() -> None:
            await compiler.compile(trees, bytecode())
            code = store.tree(trees[-1].key.sha256, TAG)
            assert code is not None
            linked.append(os.open(code.path, os.O_RDONLY))  # while it is open nobody else gets its inode

        async with trio.open_nursery() as nursery:
            nursery.start_soon(all_of_them)
            await trio.testing.wait_all_tasks_blocked()
            # All compilers are at work: this one sees that the last tree has none, and waits for its turn.
            nursery.start_soon(compiler.compile, trees[-1:], bytecode())
        code = store.tree(trees[-1].key.sha256, TAG)
        assert code is not None
        assert os.fstat(linked[0]).st_ino == code.path.stat().st_ino
        os.close(linked[0])


@pytest.mark.parametrize("interpreter", ["/nonexistent/python", "/bin/true", "/bin/cat"])
async def test_an_interpreter_that_is_none_becomes_a_sentence(tmp_path: Path, interpreter: str) -> None:
    async with room(tmp_path) as (store, compiler, tree):
        with pytest.raises(CompileFailed):
            await compiler.compile([tree], bytecode(interpreter, "other"))
        await store.settled()
        assert store.tree(tree.key.sha256, "other") is None
        assert {path.name for path in (tmp_path / "store" / "trees").iterdir()} == {str(tree.key.sha256)}


def test_only_a_path_and_a_word_name_byte_code() -> None:
    assert bytecode().is_sound()
    assert not bytecode("python").is_sound()
    assert not bytecode(tag="../up").is_sound()
    assert Sha256("ab" * 32)
