"""Which files an installed package has, so that they can be taken away, and what of them is shown to the user."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from p2pcdn_shim.zephyr.pip.change import Change
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.installed import Distribution
from p2pcdn_shim.zephyr.pip.target import Target
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from p2pcdn_shim.zephyr.pip.voice import PipVoice


class Removal(Value):
    """paths: absolute, files and whole directories. lines: entries of .pth files that go, by file.

    refused: what it names outside of its environment, which stays.
    """

    one: Distribution
    paths: tuple[str, ...]
    lines: tuple[tuple[str, str], ...] = ()
    refused: tuple[str, ...] = ()

    def edited(self) -> Iterator[tuple[str, str]]:
        """(.pth file, its text without the entries that go)."""
        for file in dict.fromkeys(file for file, _ in self.lines):
            entries = {entry for name, entry in self.lines if name == file}
            try:
                text = Path(file).read_text(encoding="utf-8")
            except OSError:
                continue
            kept = [line for line in text.splitlines(keepends=True) if line.rstrip("\r\n") not in entries]
            if "".join(kept) != text:
                yield file, "".join(kept)


def removal_of(one: Distribution, target: Target) -> Removal:
    """Raises PipError for one whose files nobody knows. Nothing outside of a virtual environment goes with it."""
    named = _named(one, target)
    if not target.is_environment:
        return named
    tops = [target.prefix, *([str(Path(target.user_site).parents[2])] if one.is_below(target.user_site) else [])]
    refused = tuple(path for path in named.paths if not any(_lies_below(path, top) for top in tops))
    paths = tuple(path for path in named.paths if path not in frozenset(refused))
    return Removal(one, paths, named.lines, refused)


def _lies_below(path: str, top: str) -> bool:
    """Whichever links lead there; what is a link itself counts as where it lies."""
    directory, name = os.path.split(path)
    return os.path.join(os.path.realpath(directory), name).startswith(os.path.realpath(top).rstrip(os.sep) + os.sep)  # noqa: PTH118


def _named(one: Distribution, target: Target) -> Removal:
    if one.link is not None:
        return _of_link(one, target)
    record = one.record()
    if record is not None and one.info.name.endswith(".dist-info"):
        return Removal(one, tuple(_with_bytecode(_of_record(one, record, target))))
    if one.info.name.endswith(".egg-info") and one.info.is_dir() and _is_flat(one):
        return Removal(one, tuple(_with_bytecode(_of_egg_info(one, target))))
    if one.info.name.endswith(".egg-info") and one.info.is_file():
        raise PipError(
            f"Cannot uninstall {one.name} {one.version_text}\nIt is a distutils installed project and thus we cannot"
            " accurately determine which files belong to it which would lead to only a partial uninstall."
        )
    if one.location.name.endswith(".egg"):
        pth = one.location.parent / "easy-install.pth"
        return Removal(one, (str(one.location), *_scripts(one, target)), ((str(pth), f"./{one.location.name}"),))
    raise PipError(f"Cannot uninstall {one.name} {one.version_text}", hint=_no_record(one))


def _no_record(one: Distribution) -> str:
    installer = one.installer
    if not installer or installer in ("pip", "zephyr"):
        return (
            f"The package's contents are unknown: no RECORD file was found for {one.name}.\nhint: You might be able to"
            f" recover from this via: pip install --ignore-installed --no-deps {one.name}=={one.version_text}"
        )
    return (
        f"The package's contents are unknown: no RECORD file was found for {one.name}.\nhint: The package was"
        f" installed by"
        f" {installer}. You should check if it can uninstall the package."
    )


def _of_record(one: Distribution, record: Iterable[str], target: Target) -> Iterator[str]:
    """RECORD lists files: a row that names a directory takes nothing away that lies in it."""
    for path in (os.path.normpath(one.location / row) for row in record):
        if os.path.islink(path) or not os.path.isdir(path):  # noqa: PTH112, PTH114
            yield path
    yield str(one.info / "RECORD")
    yield from _scripts(one, target)


def _of_egg_info(one: Distribution, target: Target) -> Iterator[str]:
    declared = one.declared_files()
    if declared is None:
        for name in (one.read("top_level.txt") or "").split():
            yield from (str(one.location / name), str(one.location / f"{name}.py"), str(one.location / f"{name}.pyc"))
    for path in declared or ():
        yield os.path.normpath(one.location / path)
    yield str(one.info)
    yield from _scripts(one, target)


def _is_flat(one: Distribution) -> bool:
    """Whether setuptools put it there, and says which files or packages it has."""
    return one.declared_files() is not None or one.read("top_level.txt") is not None


def _of_link(one: Distribution, target: Target) -> Removal:
    """A project that `setup.py develop` linked: the link, its line in easy-install.pth, its scripts."""
    assert one.link is not None
    pth = one.link.parent / "easy-install.pth"
    return Removal(one, (str(one.link), *_scripts(one, target)), ((str(pth), str(one.location)),))


def _scripts(one: Distribution, target: Target) -> Iterator[str]:
    """Of entry points, which RECORD may not know; and what `setup.py develop` put there."""
    directory = target.user_paths["scripts"] if one.is_below(target.user_site) else target.paths["scripts"]
    names = [name for section, name in one.entry_points() if section in ("console_scripts", "gui_scripts")]
    developed = one.info / "scripts"
    if developed.is_dir():
        names += [path.name for path in developed.iterdir()]
    if one.link is not None and (scripts := one.location / "scripts").is_dir():
        names += [path.name for path in scripts.iterdir()]
    for name in (name for name in names if Path(name).name == name):
        yield os.path.join(directory, name)  # noqa: PTH118
        if os.name == "nt":
            yield from (os.path.join(directory, name + end) for end in (".exe", "-script.py", "-script.pyw"))  # noqa: PTH118


def _with_bytecode(paths: Iterable[str]) -> Iterator[str]:
    """Also the byte code of modules, whoever compiled it."""
    for path in dict.fromkeys(paths):
        if os.path.lexists(path):
            yield path
        if path.endswith(".py"):
            directory, name = os.path.split(path)
            cache = os.path.join(directory, "__pycache__")  # noqa: PTH118
            if os.path.isdir(cache):  # noqa: PTH112
                stem = name[:-3] + "."
                yield from (os.path.join(cache, one) for one in os.listdir(cache) if one.startswith(stem))  # noqa: PTH118, PTH208
            if os.path.lexists(path + "c"):
                yield path + "c"


def put_away(change: Change, removal: Removal, voice: PipVoice) -> None:
    """Notes all that goes, and the .pth files that lose a line."""
    change.remove(removal.paths)
    for path in removal.refused:
        voice.warn(f"{path} lies outside of the environment and stays where it is.")
    for file in dict.fromkeys(file for file, _ in removal.lines):
        if not Path(file).is_file():
            voice.warn(f"Cannot remove entries from nonexistent file {file}")
    for file, text in removal.edited():
        new = change.new / f"{len(list(change.new.iterdir()))}-{Path(file).name}"
        new.write_text(text, encoding="utf-8")
        change.put(new, Path(file))


def show(removal: Removal, voice: PipVoice) -> None:
    """What goes, said before it is asked whether it may."""
    voice.info("Would remove:")
    with voice.indented(4):
        for line in folded(removal.paths):
            voice.info(line)
    if voice.verbosity >= 1:
        for path in sorted(removal.paths):
            voice.detail(path)


def folded(paths: Iterable[str]) -> list[str]:
    """Whole packages as one line with a star, single files as they are."""
    files = sorted(dict.fromkeys(paths))
    folders: set[str] = set()
    for path in files:
        directory = os.path.dirname(path)  # noqa: PTH120
        if path.endswith("__init__.py") or ".dist-info" in path:
            folders.add(directory)
    kept = {one for one in folders if not any(one.startswith(other + os.sep) for other in folders)}
    single = [
        path for path in files if not any(path.startswith(one + os.sep) for one in kept) and not path.endswith(".pyc")
    ]
    return sorted([os.path.join(one, "*") for one in kept] + single)  # noqa: PTH118
