"""What a script says of itself in a comment (PEP 723): the Python and the packages that it needs, and settings."""

from __future__ import annotations

import re
from pathlib import Path

from p2pcdn_shim.zephyr.configuration.config_files import parse_toml
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.project.pyproject import Reader
from p2pcdn_shim.zephyr.values import Value

# The standard's own pattern (PEP 723, "Reference Implementation").
_BLOCK = re.compile(r"^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$", re.MULTILINE)


class Script(Value):
    """A script with such a comment. toml: the comment's text, on the lines on which it stands in the file."""

    file: Path
    toml: str
    requires_python: str | None = None
    dependencies: tuple[str, ...] = ()


def read_script(file: Path) -> Script | None:
    """None for a script that says nothing. Raises UsageError where what it says cannot be meant, with file and line."""
    try:
        content = file.read_bytes()
    except OSError:
        return None  # whoever is to run it says why
    if b"# /// script" not in content:
        return None
    try:
        text = content.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 (at byte {error.start}), as inline metadata must be.") from error
    # The last line of a file may lack its end.
    blocks = [found for found in _BLOCK.finditer(f"{text}\n") if found["type"] == "script"]
    if len(blocks) > 1:
        raise UsageError(f"{file} has {len(blocks)} blocks `# /// script`; a script has one.")
    return _script(file, _toml(text, blocks[0])) if blocks else None


def _toml(text: str, block: re.Match[str]) -> str:
    lines = [line[2:] if line.startswith("# ") else line[1:] for line in block["content"].splitlines()]
    return "\n" * text.count("\n", 0, block.start("content")) + "\n".join(lines) + "\n"


def _script(file: Path, toml: str) -> Script:
    try:
        table, reader = parse_toml(toml, file), Reader(toml, file)
    except UsageError as error:
        said = str(error).removeprefix(f"{file} ")
        raise UsageError(f"The block `# /// script` of {file} {said}") from error
    return Script(
        file,
        toml,
        requires_python=reader.text(table, "requires-python", ""),
        dependencies=tuple(reader.texts(table, "dependencies", "")),
    )
