"""What must be true of the whole checkout: style, types, links, names that must not stand in it."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CODE_FOLDERS = ("p2pcdn", "daemon", "shim", "simnet", "tests", "benchmarks")
TEXT_ENDINGS = {".py", ".md", ".toml", ".txt", ".service", ".socket", ".html", ".yml", ".yaml", ".json", ".cfg", ".sh"}

# Written apart, so that this file does not find itself. The endpoint comes from a library, at run time.
REGISTRY_HOSTS = re.compile(r"\b(?:[a-z0-9-]+\.)*(?:pypi|python" + r"hosted)\.(?:org|io|python\.org)\b", re.IGNORECASE)
# Paths of one person's or one company's machine; /home/user and the like of the documentation are nobody's.
MACHINE_PATHS = re.compile(
    r"(?<![\w.])/(?:wo" + r"rk/(?:main|shared)|ro" + r"ot/|Us" + r"ers/\w|tmp/(?:plan|dev)\b|opt/pypi)"
)


@pytest.mark.parametrize("command", [["check", "."], ["format", "--check", "."]], ids=["check", "format"])
def test_ruff_has_nothing_to_say(command: list[str]) -> None:
    _tool("ruff", *command)


@pytest.mark.slow
def test_mypy_has_nothing_to_say() -> None:
    _tool("mypy")


def test_no_file_names_the_host_of_a_registry() -> None:
    assert not list(_found(REGISTRY_HOSTS)), "\n".join(_found(REGISTRY_HOSTS))


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    assert not list(_found(MACHINE_PATHS)), "\n".join(_found(MACHINE_PATHS))


def test_no_error_is_swallowed_unseen() -> None:
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in _python_files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler) and _catches_everything(node) and _does_nothing(node)
    ]
    assert not silent, silent


def test_every_file_says_first_what_lives_in_it() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in _python_files()
        if path.stat().st_size and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not silent, silent


def test_every_link_of_the_documents_leads_somewhere() -> None:
    dead = [
        f"{document.relative_to(ROOT)}: {target}"
        for document in _documents()
        for target in re.findall(r"\]\(([^)\s]+)\)", _without_code(document.read_text(encoding="utf-8")))
        if not target.startswith(("http:", "https:", "mailto:")) and not _leads(document, target)
    ]
    assert not dead, "\n".join(dead)


def test_every_document_that_the_code_names_is_there() -> None:
    missing = sorted(
        f"{path.relative_to(ROOT)}: {name}"
        for path in _python_files()
        for name in set(re.findall(r"\bdocs/[\w/-]+\.md\b", path.read_text(encoding="utf-8")))
        if not (ROOT / name).exists()
    )
    assert not missing, "\n".join(missing)


def test_the_first_code_block_of_the_readme_has_exactly_two_lines() -> None:
    assert len(readme_commands()) == 2


def test_the_readme_speaks_of_every_command() -> None:
    """Every command stands in the README or in the documents."""
    done = subprocess.run([*_p2pcdn(), "--help"], capture_output=True, text=True, check=True, cwd=ROOT)
    commands = re.findall(r"^  ([a-z]+) ", done.stdout.partition("Commands:")[2], re.MULTILINE)
    assert commands, done.stdout
    text = "\n".join(document.read_text(encoding="utf-8") for document in _documents())
    missing = [command for command in commands if f"p2pcdn {command}" not in text]
    assert not missing, missing


def test_the_changelog_has_this_version() -> None:
    version = re.search(r'^__version__ = "([^"]+)"', (ROOT / "p2pcdn/__init__.py").read_text(), re.MULTILINE)
    assert version
    assert f"## [{version[1]}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_ci_runs_the_very_command_of_the_readme() -> None:
    done = subprocess.run([ROOT / ".ci/run", "--print"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == readme_commands()[1]


def readme_commands() -> list[str]:
    """The lines of the README's first code block: the first runs a node, the second passes the tests."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^```\w*\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert block, "README.md has no code block"
    return block[1].splitlines()


def _tool(name: str, *arguments: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install -e '.[test]'")
    done = subprocess.run(
        [sys.executable, "-m", name, *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _p2pcdn() -> list[str]:
    paths = ":".join(str(ROOT / folder) for folder in (".", "daemon", "shim"))
    code = f"import sys; sys.path[:0] = {paths!r}.split(':'); from p2pcdn_daemon.cli import main; main()"
    return [sys.executable, "-c", code]


def _found(pattern: re.Pattern[str]) -> Iterator[str]:
    for path in _text_files():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if match := pattern.search(line):
                yield f"{path.relative_to(ROOT)}:{number}: {match[0]}"


def _text_files() -> list[Path]:
    """What a clone has: tracked files, and new ones that nobody ignores."""
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(listed, capture_output=True, text=True, check=True)
        paths = [ROOT / name for name in done.stdout.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        paths = [path for path in ROOT.rglob("*") if not any(part.startswith(".") for part in path.parts)]
    return [path for path in paths if path.is_file() and (path.suffix in TEXT_ENDINGS or path.parent.name == ".ci")]


def _python_files() -> list[Path]:
    return [path for path in _text_files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in CODE_FOLDERS]


def _documents() -> list[Path]:
    return [path for path in _text_files() if path.suffix == ".md"]


def _without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", _without_fences(text))


def _leads(document: Path, target: str) -> bool:
    name, _, anchor = target.partition("#")
    place = (document.parent / name).resolve() if name else document
    if not place.exists():
        return False
    return not anchor or place.suffix != ".md" or anchor in _anchors(place)


def _anchors(document: Path) -> set[str]:
    """The anchors of its headings, as the usual renderers make them."""
    headings = re.findall(r"^#+\s+(.*)$", _without_fences(document.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def _without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def _catches_everything(node: ast.ExceptHandler) -> bool:
    return node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException"))


def _does_nothing(node: ast.ExceptHandler) -> bool:
    return all(isinstance(step, ast.Pass) or (isinstance(step, ast.Expr) and _is_constant(step)) for step in node.body)


def _is_constant(step: ast.Expr) -> bool:
    return isinstance(step.value, ast.Constant)
