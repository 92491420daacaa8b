"""`zephyr init`: a new project."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from pathlib import Path

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.configuration.config_files import read_text
from p2pcdn_shim.zephyr.errors import UsageError, ZephyrError
from p2pcdn_shim.zephyr.interpreters import finding
from p2pcdn_shim.zephyr.machine.files import write_text
from p2pcdn_shim.zephyr.project.pyproject import is_name

DESCRIPTION = """Makes a project: a pyproject.toml with a name, a version, the Python it needs and an empty list of
dependencies. In a directory that has one without a [project], that table is added, and all else stays. Beside a
setup.py, which says itself what its project needs, it says only that setuptools builds it."""


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("path", nargs="?", metavar="DIR", help="Where; made if missing. Default: this directory.")
    parser.add_argument("--name", metavar="NAME", help="The project's name. Default: the directory's.")
    parser.add_argument("--python", metavar="PYTHON", help="The interpreter whose version is the oldest that will do.")


def run(call: Call) -> int:
    directory = call.directory / (call.options.path or "")
    file = directory / "pyproject.toml"
    name = call.options.name or name_for(directory)
    if not is_name(name):
        raise UsageError(f"{name[:60]!r} cannot be the name of a project; give it one with --name.")
    python = finding.find(call.config.python, None, call.directory)
    text = read_text(file) or ""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "that is no directory" if directory.exists() else error.strerror or str(error)
        raise ZephyrError(f"{directory} cannot be made: {why}.") from error
    if (directory / "setup.py").is_file() and not (call.options.name or has_project(text)):
        if _has_build_system(text):
            raise UsageError(
                f"{file} says already what builds this project, and its setup.py what it needs; it was left as it is."
            )
        write_text(file, built_by_setup_py(text))
        told = f"{file} says now that setuptools builds this project; what it needs is said by its setup.py, as before."
        call.voice.did(told, {"file": str(file), "name": None})
        return 0
    write_text(file, new_project(text, name, f"3.{python.version[1]}", file))
    call.voice.did(f"Made the project {name} in {file}.", {"file": str(file), "name": name})
    return 0


def new_project(text: str, name: str, oldest_python: str, file: Path) -> str:
    """The text of a pyproject.toml with a new project in it. Raises UsageError where there is one already."""
    if has_project(text):
        raise UsageError(f"{file} holds a project already; it was left as it is.")
    table = f'[project]\nname = "{name}"\nversion = "0.1.0"\nrequires-python = ">={oldest_python}"\ndependencies = []\n'
    return f"{table}\n{text}" if text.strip() else table


def built_by_setup_py(text: str) -> str:
    """The same text, with setuptools as what builds the project, where it does not say what does.

    No backend is named: so a setup.py is run as without a pyproject.toml, and may import what lies beside it (PEP 517).
    """
    if _has_build_system(text):
        return text
    table = '[build-system]\nrequires = ["setuptools"]\n'
    return f"{table}\n{text}" if text.strip() else table


def has_project(text: str) -> bool:
    """Whether it has a [project], however that is written."""
    return _has_table(text, "project")


def _has_build_system(text: str) -> bool:
    return _has_table(text, "build-system")


def _has_table(text: str, name: str) -> bool:
    return re.search(rf"^\s*\[\s*{name}\s*\]|^\s*{name}\s*[.=]", text, re.MULTILINE) is not None


def name_for(directory: Path) -> str:
    """What a project there is called, unless somebody names it."""
    return re.sub(r"[^a-z0-9]+", "-", directory.resolve().name.lower()).strip("-") or "project"
