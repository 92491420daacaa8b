"""`zephyr import`: a project of another tool becomes one of pyproject.toml."""

from __future__ import annotations

from argparse import ArgumentParser
from functools import partial
from pathlib import Path

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.configuration.config_files import read_text
from p2pcdn_shim.zephyr.environment import direct_urls
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.lock import turn
from p2pcdn_shim.zephyr.machine.files import write_text
from p2pcdn_shim.zephyr.terminal.voice import counted
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pcdn_shim.zephyr.project.importers.imported import Imported

DESCRIPTION = """Takes over what another tool's file asks for: a requirements file of pip (with all that it includes),
the pyproject.toml of poetry, or the Pipfile or Pipfile.lock of pipenv. The file is only read; what it asks for is added
to the pyproject.toml of this directory, which is made if it is missing. What cannot be taken over is said."""


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="The file of the other tool.")
    parser.add_argument("--group", metavar="NAME", help="Puts its dependencies into this group.")


def run(call: Call) -> int:
    with turn.of_project(call):
        return _import(call)


def _import(call: Call) -> int:
    from p2pcdn_shim.zephyr.commands.init import built_by_setup_py, has_project, name_for, new_project
    from p2pcdn_shim.zephyr.project.importers.imported import put_into, without_itself

    source = call.directory / call.options.file
    found = without_itself(read_foreign(source, partial(direct_urls.name_at, call)), call.directory)
    file = call.directory / "pyproject.toml"
    text = read_text(file) or ""
    if "name" not in found.project and not has_project(text):
        from p2pcdn_shim.zephyr.interpreters.finding import find

        if (call.directory / "setup.py").is_file():
            if found.dependencies and call.options.group is None:
                raise UsageError(
                    f"What this project needs stands in its setup.py, and {source} asks for more; `--group NAME` puts"
                    " that into a group."
                )
            text, found = built_by_setup_py(text), found.but(project={})
        else:
            python = find(call.config.python, None, call.directory)
            text = new_project(text, name_for(call.directory), f"3.{python.version[1]}", file)
    write_text(file, put_into(text, found, file, group=call.options.group))
    for note in found.notes:
        call.voice.note(note)
    call.voice.did(
        f"Took {counted(found.count, 'requirement')} of {source} over into {file}.",
        {"file": str(file), "requirements": found.count, "notes": list(found.notes)},
    )
    return 0


def read_foreign(file: Path, ask: Callable[[str], str] | None = None) -> Imported:
    """What a file of another tool asks for; the tool is told by the file's name. Raises UsageError.

    ask: gives the name of what a URL leads to, where the file does not.
    """
    if file.name in ("Pipfile", "Pipfile.lock"):
        from p2pcdn_daemon.clients.client_config import pypi
        from p2pcdn_shim.zephyr.project.importers.pipenv import read_pipenv

        return read_pipenv(file, public_index=pypi().url)
    if file.suffix == ".toml":
        from p2pcdn_shim.zephyr.project.importers.poetry import read_poetry

        return read_poetry(file)
    if file.suffix in (".txt", ".in", ".pip"):
        from p2pcdn_shim.zephyr.project.importers.requirements import read_requirements_file

        return read_requirements_file(file, ask=ask)
    raise UsageError(f"{file} is neither a requirements file (.txt, .in), a pyproject.toml of poetry, nor a Pipfile.")
