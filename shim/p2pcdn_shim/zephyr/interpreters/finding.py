"""Which interpreters there are, and which one is meant: by version, range, name or path, by the project, or the first.

Looked for in this order: PATH (pyenv's shims stand for the versions that pyenv would choose), all of pyenv's versions,
where the platform keeps others, and the one that runs zephyr.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from p2pcdn_shim.zephyr.errors import UsageError, ZephyrError
from p2pcdn_shim.zephyr.interpreters.probes import Probe, probe
from p2pcdn_shim.zephyr.interpreters.versions import is_specifier, satisfies
from p2pcdn_shim.zephyr.machine import platforms
from p2pcdn_shim.zephyr.values import Value

# Compiled only where something is asked for: that would take longer than to make an environment.
_VERSION = r"(?i)(?:python|cpython|cp)?-?(\d+)(?:\.(\d+))?(?:\.(\d+(?:(?:a|b|rc)\d+)?))?(t?)"
_OTHER = r"(?i)(pypy|graalpy)-?(\d+(?:\.\d+){0,2})?"
# A line with a version; a larger file is none of that kind.
PIN_SIZE_BYTES_MAX = 4096


class Request(Value):
    """What is asked for. specifier: of PEP 440. minor: where it can only be that one. why: who asks, for a sentence."""

    specifier: str = ""
    minor: int | None = None
    implementation: str = "cpython"
    free_threaded: bool = False
    why: str = ""

    def fits(self, found: Probe) -> bool:
        return (
            found.implementation == self.implementation
            and found.free_threaded == self.free_threaded
            and found.version >= (3, platforms.OLDEST_MINOR)
            and satisfies(found.full_version, self.specifier)
        )


def find(
    wanted: str | None, project_file: Path | None, directory: Path, environ: Mapping[str, str] = os.environ
) -> Probe:
    """The interpreter that is meant.

    wanted: "3.12", "3.12.1", ">=3.10", "3.13t", "pypy3.10", a name on the PATH or a path; None asks the project:
    `.python-version`, then `requires-python`. Raises UsageError for what cannot be meant and ZephyrError where there is
    none, with what there is.
    """
    if wanted is not None and (file := _named_file(wanted, directory, environ)) is not None:
        return probe(file, environ)
    request = parse_request(wanted) if wanted is not None else _asked_by(project_file, directory)
    for found in _probed(_candidates(request, directory, environ), environ):
        if request.fits(found):
            return found
    raise ZephyrError(_nothing_fits(request, every(directory, environ)))


def is_meant(wanted: str, found: Probe, directory: Path, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether an interpreter is one of those that `find` would take for these words. Raises as `find` does."""
    if (file := _named_file(wanted, directory, environ)) is not None:
        named = probe(file, environ)
        return (named.implementation, named.full_version) == (found.implementation, found.full_version)
    return parse_request(wanted).fits(found)


def every(directory: Path, environ: Mapping[str, str] = os.environ) -> list[Probe]:
    """All interpreters of Python 3.8 and newer, in the order in which they would be taken; each once."""
    found = list(_probed(_candidates(None, directory, environ), environ))
    return [one for one in found if one.version >= (3, platforms.OLDEST_MINOR)]


def parse_request(text: str) -> Request:
    """What a version, a range or an implementation with a version asks for. Raises UsageError."""
    text = text.strip()
    if is_specifier(text):
        _check_specifier(text)
        return Request(text, why=f"Python {text}")
    if match := re.fullmatch(_OTHER, text):
        return Request(f"=={match[2]}.*" if match[2] else "", None, match[1].lower(), why=text)
    if match := re.fullmatch(_VERSION, text):
        major, minor, micro, threads = match.groups()
        if major != "3" and minor is None and len(major) > 1 and major[0] == "3":  # cp312
            major, minor = "3", major[1:]
        exact = ".".join(part for part in (major, minor, micro) if part)
        specifier = f"=={exact}" if micro else f"=={exact}.*"
        return Request(specifier, int(minor) if minor else None, "cpython", bool(threads), f"Python {exact}{threads}")
    raise UsageError(
        f"{text[:60]!r} names no interpreter: no version (3.12), no range (>=3.10), no program on the PATH, no file."
    )


def _check_specifier(text: str) -> None:
    try:
        satisfies("3.12.0", text)
    except ValueError as error:
        raise UsageError(f"{text[:60]!r} is no range of versions.") from error


def _named_file(wanted: str, directory: Path, environ: Mapping[str, str]) -> Path | None:
    """The file where a path is meant, or a program on the PATH such as `python3.12-dbg`."""
    path = directory / Path(wanted).expanduser()
    if os.sep in wanted or "/" in wanted:
        if path.is_dir():
            inside = platforms.python_of(path)
            path = inside if inside.exists() else platforms.pyenv_python(path)
        if not path.exists():
            raise UsageError(f"There is no interpreter {path}.")
        return path
    if re.fullmatch(_VERSION, wanted) or re.fullmatch(_OTHER, wanted) or is_specifier(wanted):
        return None
    for folder in platforms.search_path(environ):
        if platforms.is_executable(folder / wanted):
            return folder / wanted
    return None


def _asked_by(project_file: Path | None, directory: Path) -> Request:
    if (pin := _pin(directory)) is not None:
        file, pinned = pin
        return parse_request(pinned).but(why=f"Python {pinned} ({file})")
    if project_file is not None and (text := _requires_python(project_file)):
        try:
            satisfies("3.12.0", text)
        except ValueError as error:
            raise UsageError(f"{project_file}: requires-python: {error}") from error
        return Request(text, why=f"Python {text} (requires-python of {project_file})")
    return Request(why="Python 3.8 or newer")


def _pin(directory: Path) -> tuple[Path, str] | None:
    """The version in the nearest `.python-version`; a name of an environment, as pyenv allows, asks for nothing."""
    for folder in (directory, *directory.parents):
        file = folder / ".python-version"
        try:
            words = file.read_text(encoding="utf-8")[:PIN_SIZE_BYTES_MAX].split()
        except (OSError, UnicodeDecodeError):
            continue
        return (file, words[0]) if words and re.fullmatch(_VERSION, words[0]) else None
    return None


def _requires_python(project_file: Path) -> str | None:
    from p2pcdn_shim.zephyr.configuration.config_files import parse_toml, read_text

    text = read_text(project_file) or ""
    if "requires-python" not in text:
        return None
    project = parse_toml(text, project_file).get("project")
    said = project.get("requires-python") if isinstance(project, dict) else None
    return said if isinstance(said, str) else None


def _candidates(request: Request | None, directory: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    minor = request.minor if request else None
    implementation = request.implementation if request else None
    shims = platforms.pyenv_root(environ) / "shims"
    for folder in platforms.search_path(environ):
        if folder == shims:
            yield from _chosen_by_pyenv(directory, environ)
            continue
        for name in _names(minor, implementation):
            if platforms.is_executable(folder / name):
                yield folder / name
    yield from _all_of_pyenv(minor, environ)
    yield from (file for file in platforms.other_places(environ) if platforms.is_executable(file))
    yield Path(sys.executable)


def _names(minor: int | None, implementation: str | None) -> list[str]:
    if implementation not in (None, "cpython"):
        return [str(implementation), f"{implementation}3", *platforms.interpreter_names()]
    names = platforms.interpreter_names(minor)
    return names if minor is None else [*names, *platforms.interpreter_names()[:2]]


def _chosen_by_pyenv(directory: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """What a shim would start: PYENV_VERSION, the nearest `.python-version`, the global choice."""
    root = platforms.pyenv_root(environ)
    said = environ.get("PYENV_VERSION", "").replace(":", " ")
    files = [folder / ".python-version" for folder in (directory, *directory.parents)] + [root / "version"]
    for file in files if not said else ():
        try:
            said = file.read_text(encoding="utf-8")[:PIN_SIZE_BYTES_MAX]
            break
        except (OSError, UnicodeDecodeError):
            continue
    for name in said.split():
        if "/" not in name and (file := platforms.pyenv_python(root / "versions" / name)).exists():
            yield file


def _all_of_pyenv(minor: int | None, environ: Mapping[str, str]) -> Iterator[Path]:
    try:
        versions = [entry for entry in (platforms.pyenv_root(environ) / "versions").iterdir() if not entry.is_symlink()]
    except OSError:
        return
    for folder in sorted(versions, key=lambda one: _sortable(one.name), reverse=True):
        release = re.match(r"(\d+)\.(\d+)", folder.name)
        if release and (int(release[1]) != 3 or int(release[2]) < platforms.OLDEST_MINOR):
            continue
        if release and minor is not None and int(release[2]) != minor:
            continue
        if (file := platforms.pyenv_python(folder)).exists():
            yield file


def _sortable(name: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", name)] if name[:1].isdigit() else [-1]


def _probed(files: Iterator[Path], environ: Mapping[str, str]) -> Iterator[Probe]:
    """Each installation once, and each environment; what does not work is passed over."""
    seen: set[tuple[str, str]] = set()
    tried: set[str] = set()
    for file in files:
        real = os.path.realpath(file)
        # An environment's interpreter is a link to another's, and yet one of its own.
        if real in tried and not (file.parent.parent / "pyvenv.cfg").exists():
            continue
        tried.add(real)
        try:
            found = probe(file, environ)
        except ZephyrError:
            continue
        identity = (found.prefix, found.full_version)
        if identity not in seen:
            seen.add(identity)
            yield found


def _nothing_fits(request: Request, found: list[Probe]) -> str:
    there = ", ".join(dict.fromkeys(f"{one.full_version} ({one.executable})" for one in found))
    have = f"there is {there}" if there else "none was found on the PATH, in pyenv or beside zephyr"
    return f"No interpreter fits {request.why}; {have}. Install one, or name one with --python."
