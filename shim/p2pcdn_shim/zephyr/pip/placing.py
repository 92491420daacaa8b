"""Wheels become files of an environment: unpacked and checked against RECORD, planned, written beside, moved in."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from p2pcdn.envs.errors import CannotInstall
from p2pcdn.envs.install import Source, install
from p2pcdn.envs.listing import Listing
from p2pcdn.envs.planning import ReadyWheel, make_plan
from p2pcdn.envs.scheme import Scheme
from p2pcdn.envs.unpack import unpack
from p2pcdn.errors import P2pcdnError
from p2pcdn_shim.zephyr.machine.side_by_side import side_by_side
from p2pcdn_shim.zephyr.pip.change import remove_tree
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.hashing import digest_of
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from p2pcdn.envs.install import LinkMode
    from p2pcdn.envs.plan import Plan

# Compiles the modules of trees as they will lie in the environment: a line of JSON, [source, code file, name] each.
_COMPILE = """
import json, py_compile, sys
for source, code, name in json.load(sys.stdin):
    try:
        py_compile.compile(source, code, name, doraise=True)
    except Exception:
        pass
"""
COMPILE_TIME_S_MAX = 1800


class Placed(Value):
    """A wheel on its way into an environment. direct_url: the text of PEP 610's file, or none.

    tree: its files in the node's store, and what they are; None for one that is unpacked here.
    """

    wheel: Path
    filename: str
    requested: bool
    direct_url: str | None = None
    tree: tuple[Path, Listing] | None = None


class Layout(Value):
    """Where things go: absolute paths (sysconfig's), and the root below which they all lie."""

    root: Path
    purelib: Path
    platlib: Path
    scripts: Path
    headers: Path
    data: Path

    @classmethod
    def of(cls, paths: Mapping[str, str], root: str = "") -> Layout:
        """paths: purelib, platlib, scripts, data, include. root: for --root, all of it lies below."""

        def below(path: str) -> Path:
            return Path(root + os.path.abspath(path)) if root else Path(os.path.abspath(path))  # noqa: PTH100

        names = [below(paths[name]) for name in ("purelib", "platlib", "scripts", "include", "data")]
        common = Path(os.path.commonpath([str(one) for one in names]))
        return cls(common, *names)

    def scheme(self, python: str) -> Scheme:
        def below(path: Path) -> str:
            inside = os.path.relpath(path, self.root)
            return "" if inside == "." else inside.replace(os.sep, "/")

        return Scheme(
            python,
            purelib=below(self.purelib),
            platlib=below(self.platlib),
            scripts=below(self.scripts),
            headers=below(self.headers),
            data=below(self.data),
            windows=os.name == "nt",
        )


def prepare(
    placed: Sequence[Placed],
    layout: Layout,
    scratch: Path,
    *,
    executable: str,
    python: str,
    compiler: Path | None,
    cache_tag: str | None,
) -> tuple[Plan, Path]:
    """Everything of these wheels, as files below a directory of the scratch that has the layout's shape.

    compiler: the interpreter that makes byte code; None for none. Raises PipError.
    """
    trees, wheels = [], []
    for at, one in enumerate(placed):
        tree, code = scratch / f"tree-{at}", scratch / f"code-{at}"
        tree, listing = one.tree or (tree, _unpacked(one, tree))
        listing = _with_own_name(listing, python)
        compiled = _compiled(listing, tree, code, layout, compiler, cache_tag)
        trees.append(Source(str(tree), str(code)))
        wheels.append(ReadyWheel(listing, one.filename, digest_of(one.wheel), one.requested, one.direct_url, compiled))
    built = scratch / "built"
    built.mkdir()
    try:
        plan = make_plan(wheels, layout.scheme(python))
        # What lies in the scratch may be linked, for it goes; the store's files may not: their inodes are its own.
        mode: LinkMode = "own" if any(one.tree is not None for one in placed) else "hardlink"
        install(plan, trees, str(built), python=executable, link_mode=mode, side_by_side=side_by_side)
    except (CannotInstall, P2pcdnError) as error:
        raise PipError(str(error)) from error
    _make_writable(built)
    for record in plan.records:
        _sort(built / record.path)
    return plan, built


def _unpacked(one: Placed, tree: Path) -> Listing:
    """Raises PipError."""
    try:
        return unpack(one.wheel, one.filename, tree, forgiving=True)
    except P2pcdnError as error:
        raise PipError(str(error)) from error
    except OSError as error:
        raise PipError(f"Could not install packages due to an OSError: {error}\n") from error


def _with_own_name(listing: Listing, python: str) -> Listing:
    """pip is called pip3.12, too, by the Python that it is for; its wheel cannot say so."""
    named = [point for point in listing.entry_points if listing.project == "pip" and point.name == "pip"]
    more = tuple(replace(point, name=f"pip{python}") for point in named)
    return replace(listing, entry_points=listing.entry_points + more)


def _sort(record: Path) -> None:
    """The same rows in the same order, whoever wrote them in which."""
    record.write_text("".join(sorted(record.read_text(encoding="utf-8").splitlines(keepends=True))), encoding="utf-8")


def _compiled(
    listing: Listing, tree: Path, code: Path, layout: Layout, compiler: Path | None, cache_tag: str | None
) -> tuple[str, ...]:
    if compiler is None or not cache_tag:
        return ()
    import json

    root = layout.purelib if listing.purelib else layout.platlib
    jobs, paths = [], []
    for entry in listing.entries:
        if entry.part == "root" and entry.path.endswith(".py"):
            directory, _, name = entry.path.rpartition("/")
            path = f"{directory}/__pycache__/{name[:-3]}.{cache_tag}.pyc".lstrip("/")
            jobs.append([str(tree / entry.path), str(code / path), str(root / entry.path)])
            paths.append(path)
    if jobs:
        subprocess.run(
            [str(compiler), "-I", "-c", _COMPILE], input=json.dumps(jobs), text=True, check=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=COMPILE_TIME_S_MAX,
        )  # fmt: skip
    return tuple(path for path in paths if (code / path).exists())


def _make_writable(directory: Path) -> None:
    """Installed files belong to the user, who may edit them: they are no links into any store."""
    umask = os.umask(0)
    os.umask(umask)
    for root, _, files in os.walk(directory):
        os.chmod(root, 0o777 & ~umask)  # noqa: PTH101
        for name in files:
            path = os.path.join(root, name)  # noqa: PTH118
            if not os.path.islink(path):  # noqa: PTH114
                mode = os.stat(path).st_mode  # noqa: PTH116
                os.chmod(path, (0o777 if mode & 0o100 else 0o666) & ~umask)  # noqa: PTH101


def build_environment(wheels: Sequence[tuple[Path, str]], directory: Path, base: str, version: str) -> list[str]:
    """A fresh environment at a directory with these wheels (path, file name) in it; their pins. Raises PipError."""
    site = directory / "lib" / f"python{version}" / "site-packages"
    layout = Layout(directory, site, site, directory / "bin", directory / "include", directory)
    site.mkdir(parents=True)
    scratch = directory.with_name(f"{directory.name}-scratch")
    scratch.mkdir()
    placed = [Placed(path, name, False) for path, name in wheels]
    python = directory / "bin" / "python"
    plan, built = prepare(
        placed, layout, scratch, executable=str(python), python=version, compiler=None, cache_tag=None
    )
    for path in plan.paths():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(str(built / path), directory / path)
    remove_tree(scratch)
    (directory / "bin").mkdir(exist_ok=True)
    python.symlink_to(base)
    (directory / "pyvenv.cfg").write_text(
        f"home = {os.path.dirname(base)}\ninclude-system-site-packages = false\nversion = {version}\n"  # noqa: PTH120
    )
    return [f"{one.project}=={one.version} --hash=sha256:{one.sha256}" for one in plan.wheels]
