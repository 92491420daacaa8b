"""The command line: every command explains itself, starts fast, and meets bad input with one sentence and code 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from p2pcdn_daemon.cli import commands
from p2pcdn_daemon.clients.environment import INDEX_VARIABLES, index_environment
from p2pcdn_daemon.commands.status_text import blob_rows, peer_rows, status_lines
from p2pcdn_daemon.configuration.config import SETTINGS
from tests.daemon.nodes import ROOT, assert_one_sentence, environment, p2pcdn

# What a command that only asks the node must not wait for.
HEAVY = ("trio", "httpx", "zeroconf", "lmdb", "blake3", "rich", "cryptography", "p2pcdn.node")

STATUS = {
    "version": "1.0", "node_id": "ab", "uptime_s": 11_000.5, "index_url": "http://127.0.0.1:7272/simple/",
    "peer_address": "0.0.0.0:7273", "peers": [{"address": "10.0.0.2:7273"}],
    "store": {"blobs": 321, "size_bytes": 4_200_000_000, "limit_bytes": 20_000_000_000, "partials": 1},
    "bytes": {"served": 1_500_000_000, "from_store": 900_000_000, "from_peers": 300_000_000,
              "from_upstream": 300_000_000, "pages_from_upstream": 2_000_000},
    "requests": {}, "upstream_file_requests": 12, "refused_pieces": 2, "health": "ok",
    "indexes": [{"url": "https://index.example/simple/"}],
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(commands.commands))
def test_every_help_text_is_made_of_sentences(name: str) -> None:
    command = commands.commands[name]
    assert command.help is not None
    assert command.help.split("\n\n")[0].rstrip().endswith(".")
    context = click.Context(command, info_name=name)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help is not None, parameter.name
            assert parameter.help.endswith("."), parameter.help
            assert parameter.help[0].isupper(), parameter.help
    assert command.get_help(context).startswith("Usage:")


@pytest.mark.parametrize("name", sorted(commands.commands))
def test_every_command_stands_in_the_documentation(name: str) -> None:
    assert f"## `p2pcdn {name}" in (ROOT / "docs" / "commands.md").read_text()


def test_a_shell_completes_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "p2pcdn").write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "from p2pcdn_daemon.cli import main; main()" "$@"\n'
    )
    (tmp_path / "p2pcdn").chmod(0o755)
    script = (
        'eval "$(p2pcdn completion bash)"; COMP_WORDS=(p2pcdn stat); COMP_CWORD=1; _p2pcdn_completion p2pcdn;'
        ' echo "${COMPREPLY[@]}"'
    )
    variables = environment(tmp_path)
    variables["PATH"] = f"{tmp_path}:/usr/bin:/bin"
    done = subprocess.run(["bash", "-c", script], env=variables, capture_output=True, text=True, check=True)
    assert done.stdout == "status\n", done.stderr
    for shell in ("zsh", "fish"):
        assert "_P2PCDN_COMPLETE" in p2pcdn("completion", shell, home=tmp_path).stdout


def test_serve_takes_every_setting_as_a_flag() -> None:
    flags = {flag for parameter in commands.commands["serve"].params for flag in parameter.opts}
    assert {setting.flag for setting in SETTINGS.values()} <= flags
    assert {"--config", "--ready-fd"} <= flags


@pytest.mark.parametrize("command", ["status", "peers", "list", "gc", "config"])
def test_a_command_that_asks_loads_nothing_heavy(command: str, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom p2pcdn_daemon.cli import main\n"
        "try: main()\nfinally: sys.stderr.write('\\n' + ' '.join(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, command], env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    loaded = set(run.stderr.splitlines()[-1].split())
    assert "click" in loaded
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"], ["status", "--nonsense"], ["status", "extra"], ["serve", "--port", "x"], ["serve", "--port"],
        ["serve", "--store-size", "much"], ["serve", "--upstream", "ftp://x"], ["serve", "--peer", "x"],
        ["serve", "--share", "all"], ["serve", "--ready-fd", "999"], ["serve", "--ready-fd", "x"],
        ["gc", "--to", "less"], ["list", "a/b"], ["pin"], ["run"], ["run", "--"], ["setup", "conda"], ["export"],
        ["import", "/nowhere/file.tar"], ["prefetch"], ["setup", "pip", "--user"],
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_code_2(arguments: list[str], tmp_path: Path) -> None:
    assert_one_sentence(p2pcdn(*arguments, home=tmp_path))


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["status", "--json"], ["peers"], ["list"], ["gc"], ["verify"], ["pin", "x"], ["unpin", "x"],
     ["export", "x.tar"], ["run", "--", "true"], ["run", "true"], ["prefetch", "x"]],
)  # fmt: skip
def test_without_a_node_a_command_says_so_and_ends_with_2(arguments: list[str], tmp_path: Path) -> None:
    run = p2pcdn(*arguments, home=tmp_path)
    assert_one_sentence(run)
    assert "No node runs on" in run.stderr
    assert not (tmp_path / "x.tar.partial").exists()


def test_the_command_alone_shows_its_help_and_nothing_around_it(tmp_path: Path) -> None:
    run = p2pcdn(home=tmp_path)
    assert run.returncode == 2
    assert run.stderr == p2pcdn("--help", home=tmp_path).stdout


def test_a_guess_ends_with_its_question_mark(tmp_path: Path) -> None:
    run = p2pcdn("serve", "--bogus", home=tmp_path)  # click's words differ from version to version
    assert_one_sentence(run)
    assert run.stderr.endswith(("? See `p2pcdn serve --help`.\n", "; see `p2pcdn serve --help`.\n"))
    assert "?;" not in run.stderr


def test_who_asks_for_the_node_of_a_store_is_told_how_to_start_that_one(tmp_path: Path) -> None:
    run = p2pcdn("status", "--store", f"{tmp_path}/a b", home=tmp_path)
    assert f"`p2pcdn serve --store '{tmp_path}/a b'`" in run.stderr


def test_every_command_reads_p2pcdn_control_socket(tmp_path: Path) -> None:
    for command in (["status"], ["gc"], ["run", "true"]):
        run = p2pcdn(*command, home=tmp_path, variables={"P2PCDN_CONTROL_SOCKET": "/nowhere/c"})
        assert "No node runs on /nowhere/c;" in run.stderr


def test_version_and_help_end_with_0(tmp_path: Path) -> None:
    assert p2pcdn("--version", home=tmp_path).stdout.startswith("p2pcdn ")
    assert "Starts an index of its own" in p2pcdn("demo", "--help", home=tmp_path).stdout
    assert p2pcdn("--help", home=tmp_path).returncode == 0


def test_no_command_prints_a_traceback_for_a_fault_of_ours(tmp_path: Path) -> None:
    code = (
        "from p2pcdn_daemon import cli\nfrom p2pcdn_daemon.commands import control\n"
        "def broken(config): raise RuntimeError('oh\\nno')\n"
        "control.connect = broken\ncli.main(['status'])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert run.stderr.startswith("p2pcdn: This is a fault of p2pcdn (RuntimeError: oh no)")
    assert run.stderr.count("\n") == 1


def test_status_answers_in_five_lines() -> None:
    *lines, peers = status_lines(STATUS)
    assert peers.startswith("Peers:   1 (10.0.0.2:7273); neighbours reach this node on port 7273 of every address; 2 p")
    assert lines == [
        "Working: index on http://127.0.0.1:7272/simple/, up for 3 h 3 min, version 1.0.",
        "Saved:   1.2 GB of 1.5 GB served (80 %); 900 MB came from the store, 300 MB from peers.",
        "Upstream: 300 MB fetched in 12 file requests and 2.0 MB of pages from https://index.example/simple/.",
        "Store:   321 files with the metadata, 4.2 GB of 20.0 GB (21 %), 1 download unfinished.",
    ]


def test_status_of_a_new_or_unwell_node_is_five_lines_too() -> None:
    empty = dict.fromkeys(("served", "from_store", "from_peers", "from_upstream"), 0)
    new = {**STATUS, "bytes": empty, "peers": [], "health": "The disk is full; nothing new is kept."}
    lines = status_lines(new)
    assert len(lines) == 5
    assert lines[0].startswith("NOT WELL: The disk is full; nothing new is kept; index on")
    assert lines[4].startswith("Peers:   none seen")
    assert status_lines({**new, "offline": True})[2] == "Upstream: not asked, for this node is offline."


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serve", "--prot", "1"], "No such option '--prot'. Did you mean '--peer-host', '--peer-port', '--port'? See"),
        (["setup"], "Missing argument '{pip|uv|poetry|pdm|systemd}'. Choose from: pip, uv, poetry, pdm, systemd; see"),
    ],
)
def test_what_click_says_is_one_sentence_too(words: list[str], said: str, tmp_path: Path) -> None:
    run = p2pcdn(*words, home=tmp_path)
    assert run.stderr.startswith(f"p2pcdn: {said} `p2pcdn {words[0]} --help`")


def test_status_says_who_does_not_answer() -> None:
    silent = {"url": "https://index.example/simple/", "answers": False}
    gone = {"address": "10.0.0.3:7273", "wrong": "10.0.0.3:7273 cannot be reached: Connection refused."}
    lines = status_lines({**STATUS, "indexes": [silent], "peers": [*STATUS["peers"], gone]})
    assert lines[2].endswith("from https://index.example/simple/ (does not answer).")
    assert "2 (10.0.0.2:7273, 10.0.0.3:7273), 1 with a fault (`p2pcdn peers` says which)" in lines[4]
    assert peer_rows([gone])[0][-1] == "cannot be reached: Connection refused"


def test_status_says_what_the_room_holds() -> None:
    room = {"members": 12, "blobs": 340, "size_bytes": 2 * 10**9, "pages": 45, "claimed_answers": 0}
    line = status_lines({**STATUS, "room": room})[4]
    assert line.endswith("; 12 other members of the group hold together 340 files (2.0 GB) and 45 pages.")
    line = status_lines({**STATUS, "room": {**room, "members": 1, "claimed_answers": 1}})[4]
    assert "1 other member of the group holds 340 files" in line
    assert line.endswith("; 1 answer came from a page that a member signed.")
    for nobody in (None, {**room, "members": 0}):
        assert status_lines({**STATUS, "room": nobody}) == status_lines(STATUS)


def test_rows_of_peers_and_files_come_from_what_the_node_says() -> None:
    peer = {"address": "10.0.0.2:7273", "source": "mdns", "last_seen_s": 3.0, "rtt": 0.0012, "bytes_in": 10**6,
            "bytes_out": 0, "strikes": 1, "banned": True, "wrong": "wrong bytes"}  # fmt: skip
    assert peer_rows([peer])[0] == [
        "10.0.0.2:7273", "mdns", "3 s ago", "1.2 ms", "1.0 MB", "0 B", "1", "banned: wrong bytes",
    ]  # fmt: skip
    blob = {"filename": "a-1.whl", "project": "a", "size_bytes": 5, "used_at": 40.0, "share": "lan", "pinned": True}
    assert blob_rows([blob], 100.0) == [["a", "a-1.whl", "5 B", "1 min ago", "the LAN", "yes"]]
    assert len(peer_rows([{}])) == len(blob_rows([{}], 0.0)) == 1


def test_run_changes_the_index_and_nothing_else() -> None:
    before = {"A": "b", "PIP_EXTRA_INDEX_URL": "https://other.example/", "PIP_INDEX_URL": "https://old.example/"}
    after = index_environment("http://127.0.0.1:7272/simple/", before)
    assert {name for name in after if after[name] != before.get(name)} == set(INDEX_VARIABLES)


def test_run_excepts_the_loopback_from_a_proxy() -> None:
    after = index_environment("http://127.0.0.1:1/simple/", {"HTTP_PROXY": "http://p", "NO_PROXY": "localhost,x.y"})
    assert after["NO_PROXY"] == "localhost,x.y,127.0.0.1,::1"
    assert after["no_proxy"] == "127.0.0.1,localhost,::1"
