"""The command line of zephyr: the table of commands, help in sentences, bad input, where words go, exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from argparse import Namespace, _HelpAction, _StoreAction, _SubParsersAction
from pathlib import Path

import pytest

from p2pcdn_shim.zephyr import errors
from p2pcdn_shim.zephyr.cli import ADVICE, KINDS, help_text
from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.command_line.parser import Parser
from p2pcdn_shim.zephyr.commands import COMMANDS, load
from p2pcdn_shim.zephyr.errors import ZephyrError
from p2pcdn_shim.zephyr.terminal.voice import Voice
from tests.shim.zephyr import COMMAND, ROOT, assert_one_sentence, environment, zephyr


def parsers(parser: Parser) -> list[Parser]:
    """A command's parser and those of its sub-commands."""
    found = [parser]
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            found += action.choices.values()
    return found


def parser_of(name: str) -> Parser:
    command = load(name)
    parser = Parser(prog=f"zephyr {name}", description=command.DESCRIPTION)
    command.arguments(parser)
    for one in parsers(parser):
        one.complete()
    return parser


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_help_text_is_made_of_sentences(name: str) -> None:
    assert COMMANDS[name].endswith(".")
    for parser in parsers(parser_of(name)):
        assert parser.description
        assert parser.description.rstrip().endswith((".", ")"))
        for action in parser._actions:
            if isinstance(action, (_StoreAction, _HelpAction)):
                assert action.help, (parser.prog, action.dest)
                assert action.help.rstrip()[-1] in ".)`", action.help
                assert action.help[0].isupper() or action.help[0] in "`-", action.help
        assert parser.format_help().startswith("usage: zephyr ")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_stands_in_the_documentation(name: str) -> None:
    assert f"## `zephyr {name}" in (ROOT / "docs" / "zephyr.md").read_text()


def test_every_file_of_the_commands_is_in_the_table() -> None:
    files = {path.stem for path in (ROOT / "shim/p2pcdn_shim/zephyr/commands").glob("*.py")} - {"__init__"}
    assert {file.rstrip("_").replace("_", "-") for file in files} == set(COMMANDS)


def test_help_lists_every_command_with_its_sentence(tmp_path: Path) -> None:
    run = zephyr("--help", home=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == help_text() + "\n"
    for name, sentence in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(sentence)}$", run.stdout, re.MULTILINE)


def test_the_command_alone_shows_its_help_and_ends_with_2(tmp_path: Path) -> None:
    run = zephyr(home=tmp_path)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == zephyr("--help", home=tmp_path).stdout


def test_version_says_which_one_this_is(tmp_path: Path) -> None:
    from p2pcdn import __version__

    for words in (["--version"], ["-V"]):
        run = zephyr(*words, home=tmp_path)
        assert (run.returncode, run.stdout, run.stderr) == (0, f"zephyr {__version__}\n", "")


def test_help_alone_is_help(tmp_path: Path) -> None:
    run = zephyr("help", home=tmp_path)
    assert (run.returncode, run.stdout) == (0, help_text() + "\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_fault(closed: str, tmp_path: Path) -> None:
    command = f"'{COMMAND[0]}' -c '{COMMAND[2]}' config python {closed}"
    run = subprocess.run(
        ["bash", "-c", command], env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_a_current_directory_that_is_gone_is_told(tmp_path: Path) -> None:
    command = f"mkdir gone && cd gone && rmdir ../gone && '{COMMAND[0]}' -P -c '{COMMAND[2]}' config"
    run = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert "is gone" in assert_one_sentence(run, 2)


def test_help_about_a_command_is_that_commands_help(tmp_path: Path) -> None:
    assert zephyr("help", "venv", home=tmp_path).stdout == zephyr("venv", "--help", home=tmp_path).stdout


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"], ["-v"], ["--nonsense"], ["--directory", "/"], ["venv"], ["venv", "nonsense"],
        ["venv", "create", "a b"], ["venv", "create", "--nonsense"], ["venv", "create", "--python", "!"],
        ["venv", "create", "--python", "/nowhere/python"], ["venv", "activate", "x", "--shell", "tcl"],
        ["shell-hook"], ["shell-hook", "tcl"], ["config", "nonsense"], ["--config-file", "/nowhere", "config"],
        ["--directory", "/nowhere", "venv", "create"], ["run"], ["run", "--"], ["import", "/nowhere/x.txt"],
        ["import", "x.docx"], ["export"], ["export", "requirements"], ["init", "--name", "-"],
        ["init", "--name", "a b"],
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_code_2(words: list[str], tmp_path: Path) -> None:
    assert_one_sentence(zephyr(*words, home=tmp_path), 2)


def test_a_command_that_lacks_its_own_command_is_told_which_there_are(tmp_path: Path) -> None:
    said = assert_one_sentence(zephyr("venv", home=tmp_path), 2)
    assert said == "Name a command after `zephyr venv`: create, list, remove, activate; see `zephyr venv --help`."


def test_a_flag_that_zephyr_does_not_have_is_told_before_a_command_is_missed(tmp_path: Path) -> None:
    for words, said in (
        (["--verion"], "zephyr has no flag --verion before a command; did you mean --version?"),
        (["-C", "..", "list"], "zephyr has no flag -C before a command; see `zephyr --help`."),
        (["-vv", "--config-file", "--odd"], "Name a command after --odd; see `zephyr --help`."),
        (["-q", "lits"], "zephyr has no command 'lits'; did you mean 'list'?"),
    ):
        assert assert_one_sentence(zephyr(*words, home=tmp_path), 2) == said


def test_who_types_pips_flag_for_a_file_is_told_what_takes_one(tmp_path: Path) -> None:
    for words in (["add", "-r", "requirements.txt"], ["install", "-r", "requirements.txt"]):
        said = assert_one_sentence(zephyr(*words, home=tmp_path), 2)
        assert "`zephyr import FILE` takes a requirements file over into the project" in said
        assert "`zephyr pip install -r FILE` installs it" in said


def test_a_word_that_is_no_generation_is_told_what_one_is(tmp_path: Path) -> None:
    for word in ("abc", "1.0"):
        said = assert_one_sentence(zephyr("rollback", word, home=tmp_path), 2)
        assert said.startswith(f"'{word}' is no generation.")
        assert "`zephyr history` lists them" in said


def test_a_name_that_no_environment_has_is_told_which_there_are(tmp_path: Path) -> None:
    for words, stdout in ((["venv", "activate", "bar"], "false\n"), (["run", "--venv", "bar", "--", "true"], "")):
        said = assert_one_sentence(zephyr(*words, home=tmp_path), 1, stdout)
        assert (
            said == "There is no environment 'bar'; `zephyr venv create bar` makes it. There is none with a name yet."
        )
    zephyr("venv", "create", "foo", home=tmp_path)
    zephyr("venv", "create", "baz", home=tmp_path)
    refused = zephyr("venv", "activate", "bar", home=tmp_path)
    assert assert_one_sentence(refused, 1, "false\n").endswith("There is baz, foo.")
    said = assert_one_sentence(zephyr("venv", "activate", "./bar", home=tmp_path), 1, "false\n")
    assert said.endswith(f"does not exist; `zephyr venv create '{tmp_path}/bar'` makes it.")


def test_a_word_that_is_nearly_a_command_is_guessed(tmp_path: Path) -> None:
    assert assert_one_sentence(zephyr("vevn", home=tmp_path), 2).endswith("did you mean 'venv'?")


def test_a_flag_that_is_nearly_one_is_guessed(tmp_path: Path) -> None:
    said = assert_one_sentence(zephyr("list", "--jsn", home=tmp_path), 2)
    assert said == "Unrecognized arguments: --jsn; did you mean --json; see `zephyr list --help`."
    said = assert_one_sentence(zephyr("sync", "--frozn=1", home=tmp_path), 2)
    assert "did you mean --frozen" in said
    assert "did you mean" not in assert_one_sentence(zephyr("list", "--zzzzz", home=tmp_path), 2)
    assert "did you mean" not in assert_one_sentence(zephyr("why", home=tmp_path), 2)


def test_the_history_says_what_was_typed_as_a_shell_takes_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["zephyr", "add", "pandas>=2", "t @ https://u:it's@host.example/t.zip", "six"])
    assert Call(Namespace(), Voice()).command == "zephyr add 'pandas>=2' 't @ https://host.example/t.zip' six"


def test_flags_that_every_command_has_may_stand_before_it_and_after_it(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    before = zephyr("--json", "--directory", "p", "venv", "list", home=tmp_path)
    after = zephyr("venv", "list", "--json", "--directory", "p", home=tmp_path)
    between = zephyr("venv", "--json", "list", "--directory", "p", home=tmp_path)
    assert before.stdout == after.stdout == between.stdout == "[]\n"


def test_quiet_says_nothing_and_json_is_one_document(tmp_path: Path) -> None:
    quiet = zephyr("-q", "venv", "create", "a", home=tmp_path)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    said = zephyr("--json", "venv", "create", "b", home=tmp_path)
    assert json.loads(said.stdout)["path"].endswith("/venvs/b")
    assert said.stderr == ""


def run_that(does: str, home: Path) -> subprocess.CompletedProcess[str]:
    """`zephyr config`, which does something else, in Python's words."""
    code = (
        "from p2pcdn_shim.zephyr import cli, commands\n"
        "import p2pcdn_shim.zephyr.commands.config as another\n"
        f"def run(call): {does}\n"
        "another.run = run\ncli.main(['config'])"
    )
    return subprocess.run(
        [sys.executable, "-c", code], env=environment(home), capture_output=True, text=True, check=False
    )


def test_a_fault_of_ours_is_one_sentence_too(tmp_path: Path) -> None:
    run = run_that("raise RuntimeError('oh\\nno')", tmp_path)
    assert assert_one_sentence(run, 1).startswith("This is a fault of zephyr (RuntimeError: oh no)")


def test_a_place_of_somebody_else_s_is_no_fault_of_ours(tmp_path: Path) -> None:
    run = run_that("raise PermissionError(13, 'Permission denied', '/theirs/lib')", tmp_path)
    assert assert_one_sentence(run, 1).startswith("/theirs/lib is not for this user (Permission denied)")


def test_what_was_said_before_a_fault_is_not_lost(tmp_path: Path) -> None:
    run = run_that("print('half'); raise RuntimeError('oh')", tmp_path)
    assert (run.returncode, run.stdout) == (1, "half\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_an_answer_that_could_not_be_written_is_no_success(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [*COMMAND, "config"], env=environment(tmp_path), stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert run.returncode == 1


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    command = f"'{COMMAND[0]}' -c '{COMMAND[2]}' config | head -n 1"
    run = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")


def error_of(run: subprocess.CompletedProcess[str], code: int) -> str:
    """A command that failed with --json: its document, whose message is the sentence on stderr. Returns its kind."""
    assert run.returncode == code
    (error,) = json.loads(run.stdout).values()
    assert run.stderr == f"zephyr: {error['message']}\n"
    return str(error["kind"])


@pytest.mark.parametrize(
    ("words", "kind", "code"),
    [
        (["--json", "nonsense"], "usage", 2),
        (["--json", "venv", "create", "--nonsense"], "usage", 2),
        (["venv", "create", "a b", "--json"], "usage", 2),
        (["venv", "remove", "--json", "nosuch"], "failed", 1),
        (["--json", "rollback", "abc"], "usage", 2),
        (["--json", "rollback", "9" * 5000], "usage", 2),
        (["run", "--json", "--", "nosuch"], "not-found", 127),
        (["--json", "run", "--", "/"], "not-executable", 126),
        (["lock", "--json", "--directory", "project"], "failed", 1),
    ],
)
def test_a_program_gets_the_error_as_a_document(words: list[str], kind: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "pyproject.toml").write_text('[project]\nname = "p"\ndependencies = ["a"]\n')
    variables = {"P2PCDN_STORE": "/dev/null/nowhere"}
    zephyr("venv", "create", home=tmp_path)
    assert error_of(zephyr(*words, home=tmp_path, variables=variables), code) == kind


@pytest.mark.parametrize("encoding", ["utf-8:strict", "utf-8:surrogateescape", "ascii:strict"])
def test_an_error_that_names_what_is_no_text_is_a_document_all_the_same(encoding: str, tmp_path: Path) -> None:
    words = ["--json", "--directory", os.fsdecode("é".encode() + b"\xff"), "lock"]
    run = zephyr(*words, home=tmp_path, variables={"PYTHONIOENCODING": encoding})
    assert run.returncode == 2
    assert json.loads(run.stdout)["error"]["message"] == f"There is no directory {tmp_path}/é\udcff."


@pytest.mark.parametrize("words", [["run", "--", "sh", "-c", "exit 3", "--json"], ["run", "nosuch", "--json"]])
def test_a_flag_of_the_command_that_is_run_asks_nothing_of_zephyr(words: list[str], tmp_path: Path) -> None:
    zephyr("venv", "create", home=tmp_path)
    assert zephyr(*words, home=tmp_path).stdout == ""


def test_what_is_said_of_a_problem_is_said_of_one_that_a_node_has() -> None:
    from p2pcdn.web.routes import STATUS

    assert {*ADVICE, *KINDS} <= {title for _, title in STATUS.values()}
    documented = set(re.findall(r"`([a-z-]+)`", (ROOT / "docs/zephyr.md").read_text().partition("| kind |")[2]))
    assert documented >= {*KINDS.values(), "fault", "interrupted", *(one.kind for one in every_error())}


def every_error() -> list[type[ZephyrError]]:
    return [
        ZephyrError,
        *(one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, ZephyrError)),
    ]
