"""What is built: a source distribution, somebody's tree, or an egg; and how it is laid out for the build."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from packaging.utils import InvalidSdistFilename, canonicalize_name, parse_sdist_filename

from p2pcdn.build.failure import Unbuilt
from p2pcdn.build.project import PYPROJECT_SIZE_BYTES_MAX
from p2pcdn.build.unpack import unpack
from p2pcdn.digest import Sha256
from p2pcdn.errors import DigestMismatch
from p2pcdn.sizes import format_size

# Directories in a tree that are no sources, and often larger than the sources; and every environment.
NO_SOURCES = ("__pycache__", ".tox", ".nox", ".mypy_cache", ".ruff_cache", ".pytest_cache", "node_modules")
_ENVIRONMENT = "pyvenv.cfg"


@dataclass(frozen=True, slots=True)
class Sdist:
    """An archive under its own file name, and the hash that its index or lock gave."""

    path: Path
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class Tree:
    """A directory with sources; they are copied, without NO_SOURCES and environments.

    in_place: they are built where they lie, as pip and uv do it: what a backend leaves there serves the next build.
    """

    path: Path
    in_place: bool = False


@dataclass(frozen=True, slots=True)
class Egg:
    """A built distribution of old, a zip file; converted, not built."""

    path: Path
    sha256: Sha256


Source = Sdist | Tree | Egg


def lay_out(source: Source, workplace: Path) -> tuple[Path, Sha256]:
    """Where the sources lie, and their hash. It runs in a thread.

    Raises DigestMismatch, Refused for a hostile archive, Unbuilt where there is nothing.
    """
    try:
        if isinstance(source, Tree):
            return source.path.resolve(strict=True), _digest_of_tree(source.path)
        got = _digest_of_file(source.path)
        if got != source.sha256:
            raise DigestMismatch(source.path.name, expected=f"sha256:{source.sha256}", got=f"sha256:{got}")
        if isinstance(source, Sdist):
            return unpack(source.path, workplace / "source"), got
        tree = workplace / "egg"
        tree.mkdir()
        shutil.copyfile(source.path, tree / source.path.name)
        return tree, got
    except FileNotFoundError as error:
        raise Unbuilt(f"{error.filename} is not there") from error


def read_pyproject(tree: Path, subdirectory: str) -> bytes | None:
    """None where there is none. It runs in a thread. Raises Unbuilt for one that is a link, or too long."""
    project = (tree / subdirectory).resolve()
    if not project.is_relative_to(tree.resolve()) or not project.is_dir():
        raise Unbuilt(f"it has no directory {subdirectory!r}")
    path = project / "pyproject.toml"
    if not path.exists() and not path.is_symlink():
        return None
    state = path.lstat()
    if not stat.S_ISREG(state.st_mode) or state.st_size > PYPROJECT_SIZE_BYTES_MAX:
        raise Unbuilt(f"its pyproject.toml is no file, or has more than {format_size(PYPROJECT_SIZE_BYTES_MAX)}")
    return path.read_bytes()


def claimed_project(source: Source) -> str | None:
    """The normalized project that a file name promises, where it can be told."""
    if isinstance(source, Tree):
        return None
    if isinstance(source, Egg):
        return canonicalize_name(source.path.name.partition("-")[0])
    try:
        return parse_sdist_filename(source.path.name)[0]
    except InvalidSdistFilename:
        return None


def environments_in(tree: Path) -> Iterator[Path]:
    """The environments that lie in a tree; of one that is the tree itself, where its packages are. It blocks."""
    for directory, directories, files in os.walk(tree):
        here = Path(directory)
        if _ENVIRONMENT not in files:
            directories[:] = [name for name in directories if name not in (".git", "node_modules")]
        elif here == tree:
            yield from here.glob("lib/*/site-packages")
        else:
            yield here
            directories.clear()


def repositories_in(tree: Path, environments: Collection[Path]) -> Iterator[Path]:
    """The `.git` of each repository that lies in a tree, its own first: directories, or files that name one. Blocks.

    environments: those that were there before anybody else wrote; no build can write into them.
    """
    for directory, directories, files in os.walk(tree):
        if ".git" in directories or ".git" in files:
            yield Path(directory, ".git")
        directories[:] = [name for name in directories if name != ".git" and Path(directory, name) not in environments]


def put_aside(repository: Path) -> Path:
    """Gives a `.git` a name under which git does not find it; whosever it is, nothing of it is lost. It blocks."""
    names = (repository.with_name(f"{repository.name}-aside-{number}") for number in count(1))
    aside = next(name for name in names if not os.path.lexists(name))
    return repository.rename(aside)


def _digest_of_file(path: Path) -> Sha256:
    with path.open("rb") as file:
        return Sha256(hashlib.file_digest(file, "sha256").hexdigest())


def _digest_of_tree(tree: Path) -> Sha256:
    """Over all that the build will see: names, kinds, contents, and whether a file is a program."""
    whole = hashlib.sha256()
    for path in _sources(tree):
        state = path.lstat()
        told = f"{path.relative_to(tree)}\0{stat.S_IFMT(state.st_mode) | state.st_mode & 0o100:o}\0"
        whole.update(told.encode("utf-8", "surrogateescape"))
        if stat.S_ISLNK(state.st_mode):
            whole.update(os.fsencode(path.readlink()))
        elif stat.S_ISREG(state.st_mode):
            whole.update(bytes.fromhex(_digest_of_file(path)))
    return Sha256(whole.hexdigest())


def _sources(tree: Path) -> Iterator[Path]:
    for directory, directories, files in os.walk(tree):
        here = Path(directory)
        directories[:] = sorted(
            name for name in directories if name not in NO_SOURCES and not (here / name / _ENVIRONMENT).exists()
        )
        yield from (here / name for name in sorted([*directories, *files]) if name not in NO_SOURCES)
