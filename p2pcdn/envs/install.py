"""Carries a plan out: makes directories, links files, writes the few that differ from environment to environment."""

from __future__ import annotations

import errno
import os
from time import perf_counter

from p2pcdn.envs.errors import CannotInstall
from p2pcdn.envs.link import Linker, write_file
from p2pcdn.envs.parts import cut
from p2pcdn.envs.plan import script_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Literal, Protocol, TypeVar

    from p2pcdn.envs.parts import Part
    from p2pcdn.envs.plan import Links, Plan, Record, Script

    T = TypeVar("T")

    class SideBySide(Protocol):
        """Does a work for each thing, several at a time if it can. Raises one's error when none is at work any more."""

        def __call__(self, work: Callable[[T], None], things: Sequence[T], /) -> None: ...

    LinkMode = Literal["reflink", "hardlink", "copy", "own", "env"]
    # Gives the launcher that Windows scripts begin with, for "console" or "gui".
    Launcher = Callable[[str], bytes]


class Source:
    """Where a wheel of the plan is on this machine: its tree, and the byte code compiled for it ("" for none)."""

    __slots__ = ("bytecode", "tree")

    def __init__(self, tree: str, bytecode: str = "") -> None:
        self.tree = tree
        self.bytecode = bytecode


class Installed:
    """What was done. how: files by way ("hardlink": 7562). told: sentences for the user (a fallback to copies).

    phases_s: seconds of "links", with their directories, and of "writes".
    """

    __slots__ = ("how", "phases_s", "told")

    def __init__(self, how: dict[str, int], told: list[str], phases_s: dict[str, float]) -> None:
        self.how = how
        self.told = told
        self.phases_s = phases_s


def one_by_one(work: Callable[[T], None], things: Sequence[T]) -> None:
    """What all may use who have no threads."""
    for thing in things:
        work(thing)


def install(
    plan: Plan,
    sources: Sequence[Source],
    root: str,
    *,
    python: str,
    link_mode: LinkMode = "reflink",
    site_tree: str = "",
    launcher: Launcher | None = None,
    side_by_side: SideBySide = one_by_one,
) -> Installed:
    """Makes all that the plan says below `root`, an existing directory in which nothing of it exists yet.

    sources: one for each of `plan.wheels`, in their order. python: the absolute path that scripts name as interpreter.
    link_mode "reflink" means reflink, else hardlink, else copy; "hardlink" means hardlink, else copy; "own" reflink,
    else copy. "env":
    site-packages become one symlink to `site_tree`, which `install_site` made. Raises CannotInstall; what was made
    until then stays, so `root` must lie beside the environment in use (`generations` sees to that).
    """
    with _told_as_sentences(root):
        if link_mode == "env":
            if not plan.site:
                raise CannotInstall("Link mode env needs a site-packages directory of its own. Nothing was changed.")
            return _Work(plan, sources, root, python, "hardlink", launcher, side_by_side, outside=plan.site).run(
                site_tree
            )
        return _Work(plan, sources, root, python, link_mode, launcher, side_by_side).run()


def install_site(plan: Plan, sources: Sequence[Source], tree: str, *, link_mode: LinkMode = "hardlink") -> Installed:
    """Makes the tree that link mode `env` points to: the plan's site-packages, read-only, there afterwards or not at
    all.

    Blocks; it runs in the node. Its RECORDs list scripts without hashes, for scripts are written in each environment.
    Raises CannotInstall.
    """
    from pathlib import Path

    from p2pcdn.envs.unpack import publish, remove_tree, scratch_of

    scratch = scratch_of(Path(tree))
    try:
        with _told_as_sentences(tree):
            scratch.mkdir()
            done = _Work(plan, sources, str(scratch), "", link_mode, None, one_by_one, only=plan.site).run()
            os.makedirs(scratch / plan.site, exist_ok=True)
            publish(scratch / plan.site, Path(tree))
    finally:
        remove_tree(scratch)
    return done


class _Work:
    """One carrying out. only, outside: the directory that alone is made, or that alone is left out."""

    def __init__(
        self,
        plan: Plan,
        sources: Sequence[Source],
        root: str,
        python: str,
        link_mode: str,
        launcher: Launcher | None,
        side_by_side: SideBySide,
        *,
        only: str | None = None,
        outside: str | None = None,
    ) -> None:
        self._plan = plan
        self._sources = sources
        self._root = root.rstrip("/") + "/"
        self._python = python
        self._launcher = launcher
        self._side_by_side = side_by_side
        self._linker = Linker(link_mode, root)
        self._only = only
        self._outside = outside
        # Rows that written scripts add to the RECORD of their wheel, where that is made here.
        self._rows: dict[int, list[str]] = {record.wheel: [] for record in plan.records if self._wanted(record.path)}
        self._pairs: dict[str, tuple[int, int]] = {}
        # Files to be written: path, content and mode.
        self._files: list[tuple[str, bytes, int]] = []

    def run(self, site_tree: str = "") -> Installed:
        began_s = perf_counter()
        self._links(site_tree)
        linked_s = perf_counter()
        self._writes()
        phases_s = {"links": linked_s - began_s, "writes": perf_counter() - linked_s}
        return Installed(self._linker.counts, self._linker.told, phases_s)

    def _wanted(self, path: str) -> bool:
        """Whether a path, or a directory with its slash, is to be made here."""
        if self._only is not None:
            return path.startswith(self._only + "/") or not self._only
        return self._outside is None or not path.startswith(self._outside + "/")

    def _links(self, site_tree: str) -> None:
        directories: Sequence[str] = self._plan.directories
        links: Sequence[Links] = self._plan.links
        if self._only is not None or self._outside is not None:
            above = f"{self._only}/".startswith
            directories = [path for path in directories if self._wanted(path + "/") or above(path + "/")]
            links = [one for one in links if self._wanted(one.target)]
        first, parts = cut(directories, links)
        for path in first:
            os.mkdir(self._root + path)
        self._side_by_side(self._part, parts)
        if site_tree:
            link = self._root + (self._outside or "")
            os.makedirs(os.path.dirname(link), exist_ok=True)
            os.symlink(site_tree, link, target_is_directory=True)

    def _part(self, part: Part) -> None:
        root, mkdir = self._root, os.mkdir
        for path in part.directories:
            mkdir(root + path)
        for links in part.links:
            source = self._sources[links.wheel]
            tree = source.tree if links.origin == "tree" else source.bytecode
            if tree not in self._pairs:
                self._pairs[tree] = self._linker.pair(tree)
            self._linker.link_all(self._pairs[tree], f"{tree}/{links.source}", root + links.target, links.names)

    def _writes(self) -> None:
        for script in self._plan.scripts:
            self._script(script)
        for write in self._plan.writes:
            if self._wanted(write.path):
                self._files.append((write.path, write.text.encode(), 0o666))
        self._side_by_side(self._file, self._files)
        self._side_by_side(self._record, [record for record in self._plan.records if self._wanted(record.path)])

    def _script(self, script: Script) -> None:
        content = b""
        if self._only is None:
            content = self._script_content(script)
            self._files.append((script_name(script.path, windows=self._plan.windows), content, 0o777))
        if script.wheel in self._rows:
            from p2pcdn.envs.record import record_digest, record_row

            written = (record_digest(content), len(content)) if self._only is None else ()
            self._rows[script.wheel].append(record_row(script.recorded, *written))

    def _script_content(self, script: Script) -> bytes:
        from p2pcdn.envs.scripts import entry_point_text, launcher_file, rewritten

        python = self._python if not self._plan.windows else "python"
        if script.kind in ("console", "gui"):
            content = entry_point_text(python, script.value)
        else:
            content = rewritten(python, _read(f"{self._sources[script.wheel].tree}/{script.value}"))
        if not self._plan.windows:
            return content
        if self._launcher is None:
            raise CannotInstall(f"{script.path}: no launcher for Windows scripts is at hand. Nothing was changed.")
        launcher = self._launcher("gui" if script.kind in ("gui", "guifile") else "console")
        return launcher_file(launcher, self._python, script.kind, content)

    def _record(self, record: Record) -> None:
        base = _read(f"{self._sources[record.wheel].tree}/{record.base}") if record.base else b""
        added = record.rows + "".join(self._rows.get(record.wheel, ()))
        self._file((record.path, base + added.encode(), 0o666))

    def _file(self, file: tuple[str, bytes, int]) -> None:
        path, content, mode = file
        write_file(self._root + path, content, mode if self._only is None else 0o444)


class _told_as_sentences:  # reads like a function where it is used
    """Turns what the operating system says into a sentence (contextlib would cost zephyr 3 ms)."""

    def __init__(self, root: str) -> None:
        self._root = root

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, OSError):
            raise CannotInstall(sentence(error, self._root)) from error


def sentence(error: OSError, root: str) -> str:
    """What an error of the operating system means for an environment; root: it, or what is built beside it."""
    name = error.filename or root
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = root.partition("/.zephyr/")[0].partition("/~zephyr-")[0]  # not what is built beside it
        return f"The disk of {place} is full. The environment is as it was; free some space and try again."
    if error.errno == errno.ENOENT:
        return f"{name} is gone from the store while it was being linked. The environment is as it was; try again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{name} cannot be written ({os.strerror(error.errno)}). The environment is as it was."
    return f"{name}: {error.strerror or error}. The environment is as it was."


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
