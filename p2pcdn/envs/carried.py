"""What others put into an environment, carried over into its next generation: the user's files, pip's, the venv's
own.
"""

from __future__ import annotations

import os
import stat

from p2pcdn.envs.errors import CannotInstall
from p2pcdn.envs.link import copy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from p2pcdn.envs.plan import Plan

# What zephyr keeps inside an environment: which generation it is, and its plan.
OWN = ".zephyr"


class Carried:
    """What was carried, by path; `hidden`: others' files that the plan has too, and which therefore stay behind."""

    __slots__ = ("hidden", "paths")

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.hidden: list[str] = []


def carry(
    old: str, new: str, *, before: Plan | None, after: Plan | None, dropped: Collection[str], sealed: str = ""
) -> Carried:
    """Puts into `new` whatever of `old` is neither of the plan `before` nor in `dropped`; files as links, so that who
    has them open goes on.

    Byte code that Python wrote beside a module of ours is carried where that module stays the same. sealed: a
    directory that is a link to a tree and can take nothing. Raises CannotInstall where something would have to go
    there, and OSError.
    """
    return _Carrying(old, new, before, after, frozenset(dropped), sealed).run()


def foreign_distributions(root: str, site: str, ours: Collection[str]) -> Iterator[tuple[str, list[str]]]:
    """The distributions that others installed: (normalized project, its files relative to the root), by their
    RECORDs.
    """
    directory = f"{root}/{site}" if site else root
    try:
        names = sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        below = f"{site}/{name}" if site else name
        if name.endswith(".dist-info") and f"{below}/RECORD" not in ours:
            yield normalized(name.removesuffix(".dist-info").rpartition("-")[0]), list(_recorded(directory, site, name))


def normalized(project: str) -> str:
    """PEP 503, for names that are known to be names (`p2pcdn.names` checks; it is not on the hot path)."""
    plain = project.replace("_", "-").replace(".", "-").lower()
    while "--" in plain:
        plain = plain.replace("--", "-")
    return plain


def _recorded(directory: str, site: str, info: str) -> Iterator[str]:
    """What a RECORD lists and is below the root, and the whole .dist-info."""
    prefix = site + "/" if site else ""
    for name in os.listdir(f"{directory}/{info}"):
        yield f"{prefix}{info}/{name}"
    try:
        with open(f"{directory}/{info}/RECORD", encoding="utf-8", newline="") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError):
        return
    import csv

    for row in csv.reader(text.splitlines()):
        path = os.path.normpath(f"{prefix}{row[0]}").replace(os.sep, "/") if row else ""
        if path and not path.startswith(("/", "..")):
            yield path


class _Carrying:
    def __init__(
        self, old: str, new: str, before: Plan | None, after: Plan | None, dropped: frozenset[str], sealed: str
    ) -> None:
        self._old = old
        self._new = new
        self._before = before
        self._after = after
        self._ours = frozenset(before.paths()) if before else frozenset()
        self._our_directories = frozenset(before.directories) if before else frozenset()
        self._dropped = dropped
        self._sealed = sealed and sealed + "/"
        self._made = {""}
        self._carried = Carried()
        self._same: Callable[[str], bool] | None = None

    def run(self) -> Carried:
        ahead = [""]
        while ahead:
            directory = ahead.pop()
            with os.scandir(f"{self._old}/{directory}") as entries:
                found = list(entries)
            if not found and directory not in self._our_directories:
                self._make_directory(directory)
            for entry in found:
                path = f"{directory}/{entry.name}" if directory else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if path != OWN:
                        ahead.append(path)
                elif path not in self._ours and path not in self._dropped and self._is_wanted(path):
                    self._put(path, entry)
        return self._carried

    def _is_wanted(self, path: str) -> bool:
        if not path.endswith(".pyc"):
            # Link mode `env` made the site-packages a link; that one is ours.
            return self._before is None or path != self._before.site
        directory, _, name = path.rpartition("/")
        source = f"{directory.removesuffix('__pycache__').rstrip('/')}/{name.partition('.')[0]}.py".lstrip("/")
        if source in self._dropped:
            return False
        return source not in self._ours or self._stays_the_same(source)

    def _stays_the_same(self, path: str) -> bool:
        if self._same is None:
            before, after = _origins(self._before), _origins(self._after)
            self._same = lambda path: before.get(path) == after.get(path) is not None
        return self._same(path)

    def _put(self, path: str, entry: os.DirEntry[str]) -> None:
        if self._sealed and path.startswith(self._sealed):
            self._refuse(path)
            return
        target = f"{self._new}/{path}"
        try:
            self._make_directory(path.rpartition("/")[0])
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), target)
            else:
                _link_or_copy(entry.path, target)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            self._carried.hidden.append(path)
        else:
            self._carried.paths.append(path)

    def _refuse(self, path: str) -> None:
        if path.endswith(".pyc"):
            return
        raise CannotInstall(
            f"{path} was not put there by zephyr, and link mode env has no room for it: its site-packages are a link to"
            " a tree that nobody changes. Nothing was changed; use --link-mode hardlink, or move the file away."
        )

    def _make_directory(self, path: str) -> None:
        if path not in self._made:
            self._make_directory(path.rpartition("/")[0])
            if not os.path.isdir(f"{self._new}/{path}"):
                os.mkdir(f"{self._new}/{path}")
                os.chmod(f"{self._new}/{path}", stat.S_IMODE(os.stat(f"{self._old}/{path}").st_mode) | stat.S_IRWXU)
            self._made.add(path)


def _origins(plan: Plan | None) -> dict[str, tuple[str, str]]:
    """Of which wheel, and of which of its files, each linked path is made."""
    if plan is None:
        return {}
    wheels = [wheel.sha256 for wheel in plan.wheels]
    return {
        links.target + name: (wheels[links.wheel], links.source + name) for links in plan.links for name in links.names
    }


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except PermissionError:
        # fs.protected_hardlinks: somebody else's file that we may read and not write.
        copy(source, target)
