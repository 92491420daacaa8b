"""What others put into an environment, carried over into its next generation: users' files, pip's, the venv's own."""

from __future__ import annotations

import os
import stat

from p2pcdn.envs.errors import CannotInstall
from p2pcdn.envs.link import copy
from p2pcdn.envs.places import OWN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from p2pcdn.envs.plan import Plan

# What makes environments stays in them, though no lock names it.
TOOLS = frozenset({"pip", "setuptools", "wheel"})


class Carried:
    """What was carried, by path; `hidden`: others' files that the plan has too, and which therefore stay behind."""

    __slots__ = ("hidden", "paths")

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.hidden: list[str] = []


def carry(
    old: str, new: str, *, before: Plan | None, after: Plan | None, dropped: Collection[str], sealed: str = ""
) -> Carried:
    """Puts into `new` whatever of `old` is neither of the plan `before` nor in `dropped`.

    Files are linked, so that who has them open goes on. Byte code that Python wrote beside a module of ours is carried
    where that module stays the same. sealed: a directory that is a link to a tree and can take nothing. Raises
    CannotInstall where something would have to go there, and OSError.
    """
    return _Carrying(old, new, before, after, frozenset(dropped), sealed).run()


def told_of(hidden: Iterable[str]) -> list[str]:
    """A sentence for each of others' files whose place the plan took.

    None for byte code: Python writes that by itself wherever a module is imported before the store has it, so it is
    nobody's work, and there are hundreds of them.
    """
    return [f"{path} was there already; the plan's took its place." for path in hidden if not path.endswith(".pyc")]


def foreign_distributions(root: str, site: str, ours: Collection[str]) -> Iterator[tuple[str, str]]:
    """The distributions that others installed: (normalized project, its .dist-info relative to the root)."""
    try:
        names = sorted(os.listdir(f"{root}/{site}"))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        info = f"{site}/{name}" if site else name
        if name.endswith(".dist-info") and f"{info}/RECORD" not in ours:
            yield normalized(named_by(name)[0]), info


def named_by(info: str) -> tuple[str, str]:
    """Project, as it is written, and version of a .dist-info by that directory's name."""
    project, _, version = info.removesuffix(".dist-info").rpartition("-")
    return project, version


def files_of_distribution(root: str, info: str) -> Iterator[str]:
    """What its RECORD lists and is below the root, and its whole .dist-info; relative to the root."""
    for name in os.listdir(f"{root}/{info}"):
        yield f"{info}/{name}"
    try:
        with open(f"{root}/{info}/RECORD", encoding="utf-8", newline="") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError):
        return
    import csv

    site = os.path.dirname(info)
    for row in csv.reader(text.splitlines()):
        path = os.path.normpath(f"{site}/{row[0]}").replace(os.sep, "/").lstrip("/") if row and row[0] else ""
        if path and not os.path.isabs(row[0]) and not path.startswith(".."):
            yield path


def normalized(project: str) -> str:
    """PEP 503, for names that are known to be names (`p2pcdn.names` checks; it is not on the hot path)."""
    plain = project.replace("_", "-").replace(".", "-").lower()
    while "--" in plain:
        plain = plain.replace("--", "-")
    return plain


class _Carrying:
    def __init__(
        self, old: str, new: str, before: Plan | None, after: Plan | None, dropped: frozenset[str], sealed: str
    ) -> None:
        self._old = old
        self._new = new
        self._before = before
        self._after = after
        self._ours = _by_directory(before)
        self._dropped = dropped
        self._sealed = sealed and sealed + "/"
        self._made = {""}
        self._carried = Carried()
        self._same: Callable[[str], bool] | None = None

    def run(self) -> Carried:
        """Looks through our directories for strange names, and takes what is below those whole."""
        site = self._before.site if self._before else ""
        # Link mode `env` made the site-packages a link to a tree, in which nothing can be strange.
        linked = f"{site}/" if site and os.path.islink(f"{self._old}/{site}") else "//"
        for directory, known in self._ours.items():
            if not f"{directory}/".startswith(linked) and self._is_directory(directory):
                for name in sorted(set(os.listdir(f"{self._old}/{directory}")) - known):
                    self._take(f"{directory}/{name}" if directory else name)
        return self._carried

    def _take(self, path: str) -> None:
        """A file, a link, or a directory with all that is in it."""
        if path in self._dropped or path == OWN:
            return
        if not self._is_directory(path):
            if self._is_wanted(path):
                self._put(path)
            return
        found = sorted(os.listdir(f"{self._old}/{path}"))
        if not found:
            self._make_directory(path)
        for name in found:
            self._take(f"{path}/{name}")

    def _is_directory(self, path: str) -> bool:
        try:
            return stat.S_ISDIR(os.lstat(f"{self._old}/{path}").st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _is_wanted(self, path: str) -> bool:
        if not path.endswith(".pyc"):
            return True
        directory, _, name = path.rpartition("/")
        source = f"{directory.removesuffix('__pycache__').rstrip('/')}/{name.partition('.')[0]}.py".lstrip("/")
        if source in self._dropped:
            return False
        below, _, module = source.rpartition("/")
        return module not in self._ours.get(below, ()) or self._stays_the_same(source)

    def _stays_the_same(self, path: str) -> bool:
        if self._same is None:
            before, after = _origins(self._before), _origins(self._after)
            self._same = lambda path: before.get(path) == after.get(path) is not None
        return self._same(path)

    def _put(self, path: str) -> None:
        if self._sealed and path.startswith(self._sealed):
            self._refuse(path)
            return
        source, target = f"{self._old}/{path}", f"{self._new}/{path}"
        try:
            self._make_directory(path.rpartition("/")[0])
            if os.path.islink(source):
                os.symlink(os.readlink(source), target)
            else:
                _link_or_copy(source, target)
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


def _by_directory(plan: Plan | None) -> dict[str, set[str]]:
    """The names that a plan makes, files and directories, by the directory that they are in."""
    found: dict[str, set[str]] = {"": set()}
    if plan is None:
        return found
    for directory in plan.directories:
        found.setdefault(directory, set())
        parent, _, name = directory.rpartition("/")
        found.setdefault(parent, set()).add(name)
    for links in plan.links:
        found[links.target[:-1]].update(links.names)
    for path in plan.written():
        parent, _, name = path.rpartition("/")
        found.setdefault(parent, set()).add(name)
    return found


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
