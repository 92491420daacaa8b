"""A requirements file as what a project asks for."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

from p2pcdn_shim.zephyr.configuration.urls import path_url
from p2pcdn_shim.zephyr.configuration.urls import without_secrets as bare
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.project.importers.imported import Imported, index_without_secrets, without_secrets
from p2pcdn_shim.zephyr.project.requirements_txt import Line, read_requirements

# The normalized project of what stands at a URL.
AskName = Callable[[str], str]


def read_requirements_file(file: Path, environ: Mapping[str, str] = os.environ, ask: AskName | None = None) -> Imported:
    """Raises UsageError, with file and line. ask: see `requirement_of`."""
    read = read_requirements(file, environ)
    notes: list[str] = []
    lines = [(without_secrets(requirement_of(line, ask), notes), line.constraint) for line in read.lines]
    editable = [text for (text, _), line in zip(lines, read.lines, strict=True) if line.editable]
    if any(line.hashes for line in read.lines):
        notes.append("Hashes were left out: they stand in the lock, which is made from what the index says now.")
    options = read.options
    urls = [(options.index_url, True), *((url, False) for url in options.extra_index_urls)]
    try:
        indexes = tuple(index_without_secrets(url, None, notes, default=default) for url, default in urls if url)
    except ValueError as error:
        raise UsageError(f"{file}: {error}") from error
    return Imported(
        dependencies=tuple(dict.fromkeys(text for text, is_bound in lines if not is_bound)),
        constraints=tuple(dict.fromkeys(text for text, is_bound in lines if is_bound)),
        indexes=indexes,
        find_links=options.find_links,
        editable=tuple(dict.fromkeys(Requirement(text).name for text in editable)),
        notes=tuple(notes),
    )


def requirement_of(line: Line, ask: AskName | None = None) -> str:
    """One line as a requirement of PEP 508; a path becomes a URL, and a URL gets the name of what is behind it.

    ask: who looks there where the URL does not tell. Raises UsageError where the name cannot be known.
    """
    # In a URL a semicolon is one of its signs, unless a blank stands beside it.
    text, *parted = re.split(r"\s;|;\s" if "://" in line.text else ";", line.text, maxsplit=1)
    if not line.editable:
        try:
            return str(Requirement(line.text))
        except InvalidRequirement as error:
            if not _is_place(text.strip(), line.directory):
                raise UsageError(
                    f"{line.origin}: {bare(line.text)[:100]!r} is no requirement: {_first(error)}"
                ) from error
    url, name, extras = _url_of(text.strip(), line, ask)
    marker = "".join(parted).strip()
    return f"{name}{extras} @ {url}{f' ; {marker}' if marker else ''}"


def _is_place(text: str, directory: Path) -> bool:
    bare = re.sub(r"\[[^\]]*\]$", "", text)
    return "://" in text or os.sep in text or "/" in text or text.startswith(".") or (directory / bare).exists()


def _url_of(text: str, line: Line, ask: AskName | None) -> tuple[str, str, str]:
    """The URL, the project's name and its extras as written."""
    if "://" in text or text.startswith("file:"):
        parts = urlsplit(text)
        if egg := re.search(r"(?:^|&)egg=([A-Za-z0-9._-]+)(\[[^\]]*\])?", parts.fragment):
            return _without_egg(text), egg[1], egg[2] or ""
        path = Path(unquote(parts.path))
        name = _name_of(path) if parts.scheme == "file" else _name_of_file(path.name)
        return text, name or _asked(text, line, ask), ""
    match = re.fullmatch(r"(.*?)(\[[^\]]*\])?", text)
    assert match is not None
    url = path_url(line.directory, match[1])
    return url, _name_of(line.directory / match[1]) or _asked(url, line, ask), match[2] or ""


def _asked(url: str, line: Line, ask: AskName | None) -> str:
    if ask is None:
        raise UsageError(f"{line.origin}: the name of {bare(line.text)[:100]!r} is not known; write `NAME @ URL`.")
    return ask(url)


def _without_egg(url: str) -> str:
    bare, _, fragment = url.partition("#")
    rest = "&".join(part for part in fragment.split("&") if not part.startswith("egg="))
    return f"{bare}#{rest}" if rest else bare


def _name_of_file(filename: str) -> str:
    """The project of a distribution by its file's name; "" where that does not tell."""
    try:
        if filename.endswith(".whl"):
            return str(parse_wheel_filename(filename)[0])
        return str(parse_sdist_filename(filename)[0]) if filename.endswith((".tar.gz", ".zip")) else ""
    except (InvalidWheelFilename, InvalidSdistFilename):
        return ""


def _name_of(path: Path) -> str:
    """From a file's name, or from the project in a directory; "" where neither tells."""
    if name := _name_of_file(path.name):
        return name
    if (path / "pyproject.toml").is_file():
        from p2pcdn_shim.zephyr.project.pyproject import read_project

        return read_project(path / "pyproject.toml").name or ""
    return ""


def _first(error: Exception) -> str:
    return f"{str(error).splitlines()[0]}."
