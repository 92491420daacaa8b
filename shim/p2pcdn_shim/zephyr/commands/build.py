"""`zephyr build`: the sdist and the wheel that a project hands out, built in the node's sandbox."""

from __future__ import annotations

import os
import shutil
from argparse import ArgumentParser
from pathlib import Path

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.command_line.flags import add_index_flags
from p2pcdn_shim.zephyr.environment.interpreter import interpreter_of
from p2pcdn_shim.zephyr.errors import UsageError, ZephyrError
from p2pcdn_shim.zephyr.node.answers import long_answer
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

DESCRIPTION = """Builds a source distribution of the project and, out of that, a wheel (PEP 517), in the sandbox of the
node. With --sdist or --wheel only that one; a wheel alone is built from the directory itself."""


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("source", nargs="?", metavar="DIR", help="The project, instead of that of this directory.")
    parser.add_argument("--sdist", action="store_true", help="Builds a source distribution.")
    parser.add_argument("--wheel", action="store_true", help="Builds a wheel.")
    parser.add_argument("-o", "--output", metavar="DIR", help="Where they go; otherwise `dist` in the project.")
    parser.add_argument(
        "-C", "--config-setting", action="append", default=[], metavar="KEY=VALUE", help="Told to the build backend."
    )
    parser.add_argument("--python", metavar="PYTHON", help="The interpreter that builds.")
    add_index_flags(parser)


def run(call: Call) -> int:
    options = call.options
    source = _source(call)
    kinds = [kind for kind in ("sdist", "wheel") if vars(options)[kind]] or ["sdist", "wheel"]
    output = call.directory / options.output if options.output else source / "dist"
    from p2pcdn_shim.zephyr.interpreters import finding

    found = finding.find(call.config.python, call.config.project_file, call.directory)
    question = {
        **interpreter_of(call, found),
        "directory": str(source),
        "kinds": kinds,
        "settings": _settings(options.config_setting),
    }
    with call.node() as client:
        unbuilt = f"Nothing was put into {output}."
        doing = f"Building {source.name}"
        answer = long_answer(
            client, call.voice, "/v1/distributions", question, doing, "built", unbuilt=unbuilt, at_once=True
        )
        built = answer[0]
        files = [_copied(Path(one["path"]), output) for one in built]
    for file, one in zip(files, built, strict=True):
        call.voice.detail(f"{file.name} was {one['how']}.")
    told = [{"kind": one["kind"], "file": str(file), "how": one["how"]} for file, one in zip(files, built, strict=True)]
    call.voice.did(f"Built {' and '.join(file.name for file in files)} in {output}.", told)
    return 0


def _source(call: Call) -> Path:
    """The project's directory. Raises UsageError where there is none to build."""
    given = call.options.source
    file = call.config.project_file
    source = call.directory / given if given else file.parent if file is not None else call.directory
    if not any((source / name).is_file() for name in ("pyproject.toml", "setup.py")):
        raise UsageError(f"{source} has neither a pyproject.toml nor a setup.py, so there is nothing to build.")
    return source.resolve()


def _settings(words: list[str]) -> dict[str, Any]:
    """PEP 517's config_settings; a key that stands there twice has a list."""
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"{word[:60]!r} is not KEY=VALUE.")
        former = found.get(key)
        found[key] = value if former is None else [*(former if isinstance(former, list) else [former]), value]
    return found


def _copied(built: Path, output: Path) -> Path:
    """Whole under its name, or not at all; a file of the same name is replaced. Raises ZephyrError."""
    file = output / built.name
    beside = output / f".{built.name}.{os.getpid()}"
    try:
        output.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(built, beside)
            beside.replace(file)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise ZephyrError(f"{file} was built, and cannot be written: {error.strerror or error}.") from error
    return file
