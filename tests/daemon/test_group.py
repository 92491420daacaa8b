"""`p2pcdn group`, and nodes that run with a key: who is a member is found, and nobody else is told anything."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import stat
import subprocess
import time
import urllib.request
from pathlib import Path
from urllib.parse import urljoin

import click
import pytest

from p2pcdn.group import GroupKey
from p2pcdn_daemon.commands.demo_index import make_wheel
from p2pcdn_daemon.commands.group import group
from p2pcdn_daemon.configuration import group_key, identity
from p2pcdn_daemon.configuration.config import ConfigError
from p2pcdn_daemon.configuration.layers import resolve
from p2pcdn_daemon.doors import tls
from tests.daemon.nodes import COMMAND, TIME_S_MAX, assert_one_sentence, environment, p2pcdn
from tests.daemon.test_run import home, serving

__all__ = ["home"]

KEY, OTHER = (GroupKey.from_seed(bytes([n]) * 32) for n in (1, 2))
LINE = re.compile(r"p2pcdn_group1_[a-z2-7]{56}\n")


@pytest.fixture
def there(home: Path) -> tuple[str, ...]:
    """Flags that put the key into this test's directory."""
    (home / "config.toml").touch()
    return ("--config", str(home / "config.toml"))


def with_input(text: str, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(home),
        cwd=home,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIME_S_MAX,
    )


@pytest.mark.parametrize("name", sorted(group.commands))
def test_every_help_text_is_made_of_sentences(name: str) -> None:
    command = group.commands[name]
    assert command.help is not None
    assert command.help.split("\n\n")[0].rstrip().endswith(".")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help is not None
            assert parameter.help.endswith("."), parameter.help


@pytest.mark.parametrize("text", ["", "\n"])
def test_who_joins_and_gives_no_line_is_told_which_one(home: Path, there: tuple[str, ...], text: str) -> None:
    run = with_input(text, "group", "join", *there, home=home)
    assert_one_sentence(run)
    assert "No line came on stdin. Give `p2pcdn group join` the one that `p2pcdn group create` printed" in run.stderr


def test_a_group_is_made_on_one_machine_and_joined_on_another(home: Path, there: tuple[str, ...]) -> None:
    made = p2pcdn("group", "create", *there, home=home)
    assert made.returncode == 0, made.stderr
    assert LINE.fullmatch(made.stdout), made.stdout
    assert "p2pcdn group join" in made.stderr
    assert made.stdout.strip() not in made.stderr
    kept = home / "group.key"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600

    joined = with_input(made.stdout, "group", "join", "--group-key-file", str(home / "b" / "key"), home=home)
    assert joined.returncode == 0, joined.stderr
    assert "history" not in joined.stderr
    assert group_key.read(home / "b" / "key") == group_key.read(kept)

    shown = p2pcdn("group", "show", *there, home=home)
    assert shown.returncode == 0
    assert GroupKey.parse(made.stdout).tag in shown.stdout
    assert made.stdout.strip() not in shown.stdout + shown.stderr
    assert p2pcdn("group", "show", "--secret", *there, home=home).stdout == made.stdout


def test_a_key_on_the_command_line_is_taken_with_a_warning(home: Path, there: tuple[str, ...]) -> None:
    run = p2pcdn("group", "join", KEY.line, *there, home=home)
    assert run.returncode == 0
    assert "history" in run.stderr
    assert KEY.line not in run.stdout + run.stderr


def test_another_key_is_taken_only_in_place_of_the_old_one(home: Path, there: tuple[str, ...]) -> None:
    assert p2pcdn("group", "join", KEY.line, *there, home=home).returncode == 0
    assert p2pcdn("group", "join", KEY.line, *there, home=home).returncode == 0
    for command in (["join", OTHER.line], ["create"]):
        run = p2pcdn("group", *command, *there, home=home)
        assert run.returncode == 2
        assert f"in group {KEY.tag} already" in run.stderr
    assert group_key.read(home / "group.key") == KEY
    assert p2pcdn("group", "join", "--replace", OTHER.line, *there, home=home).returncode == 0
    assert group_key.read(home / "group.key") == OTHER


@pytest.mark.parametrize("line", ["", "\n", "hunter2", KEY.line[:-1], KEY.line[:-1] + "a", "\0", "x" * 10_000])
def test_what_is_no_key_is_one_sentence_and_code_2(line: str, home: Path, there: tuple[str, ...]) -> None:
    run = with_input(line, "group", "join", *there, home=home)
    assert_one_sentence(run)
    assert not (home / "group.key").exists()


def test_no_group_is_said_and_is_code_1(home: Path, there: tuple[str, ...]) -> None:
    run = p2pcdn("group", "show", *there, home=home)
    assert (run.returncode, run.stderr) == (1, "")
    assert "in no group" in run.stdout
    assert_one_sentence(p2pcdn("group", "show", "--secret", *there, home=home))


def test_without_a_configuration_there_is_no_place_for_a_key(home: Path) -> None:
    assert_one_sentence(p2pcdn("group", "create", home=home))  # P2PCDN_CONFIG is /dev/null here


def test_the_variable_is_a_key_and_counts_more_than_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.toml").touch()
    config = resolve({}, {"HOME": str(tmp_path)}, config_file=str(tmp_path / "c.toml"))
    assert group_key.find(config, {}) is None
    group_key.keep(tmp_path / "group.key", KEY)
    found = group_key.find(config, {})
    assert found is not None
    assert (found.key, found.source) == (KEY, f"file {tmp_path / 'group.key'}")
    environ = {"P2PCDN_GROUP_KEY": f" {OTHER.line}\n"}
    assert group_key.take(config, environ) == OTHER
    assert environ == {}
    assert group_key.take(config, {"P2PCDN_GROUP_KEY": ""}) == KEY
    flags = resolve({"group-key-file": str(tmp_path / "group.key")}, {}, config_file=str(tmp_path / "c.toml"))
    assert group_key.take(flags, {"P2PCDN_GROUP_KEY": OTHER.line}) == KEY


@pytest.mark.parametrize(
    "content",
    [KEY.line, f"{KEY.line}\n", f"# ours\n\n{KEY.line}\r\n", f"P2PCDN_GROUP_KEY={KEY.line}\n", f'"{KEY.line}"'],
)
def test_a_file_from_a_secret_store_is_a_bare_line_or_an_environment_file(content: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(content)
    assert group_key.read(tmp_path / "key") == KEY


@pytest.mark.parametrize(
    "content", [b"", b"# nothing\n", b"a\nb\n", b"\xff\xfe\0", b"x" * 9000, KEY.line.encode()[:-1]]
)
def test_a_file_without_a_key_is_a_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigError, match=r"\.$"):
        group_key.read(tmp_path / "key")
    with pytest.raises(ConfigError, match="cannot be read"):
        group_key.read(tmp_path / "nowhere")


def test_the_device_key_stays_and_is_its_owners(tmp_path: Path) -> None:
    device = identity.device(tmp_path)
    assert identity.device(tmp_path).public == device.public
    assert stat.S_IMODE((tmp_path / "device_key").stat().st_mode) == 0o600
    (tmp_path / "device_key").write_text("nonsense\n")
    assert identity.device(tmp_path).public != device.public


# --- nodes


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=TIME_S_MAX) as answer:
        return bytes(answer.read())


def status_of(home: Path, store: Path) -> dict[str, object]:
    told: dict[str, object] = json.loads(p2pcdn("status", "--store", str(store), "--json", home=home).stdout)
    return told


def test_members_share_over_the_wire_and_a_stranger_is_told_nothing(home: Path) -> None:
    """Three real nodes: two with the key, which share a file, and one without."""
    made = make_wheel("thing", [], {"core.bin": os.urandom(2_000_000)})
    wheel = made.content
    (home / "wheels" / made.filename).write_bytes(wheel)
    key = {"P2PCDN_GROUP_KEY": KEY.line}
    with serving(home, "--share", "lan", store="a", variables=key) as a:
        a_status = status_of(home, a.store)
        peer = str(a_status["peer_address"])
        assert a_status["group"] == KEY.tag
        with (
            serving(home, "--peer", peer, "--share", "lan", store="b", variables=key) as b,
            serving(home, "--peer", peer, "--share", "lan", store="c") as c,
        ):
            deadline = time.monotonic() + TIME_S_MAX
            while status_of(home, b.store)["room"]["members"] != 1:  # type: ignore[index]
                assert time.monotonic() < deadline
                time.sleep(0.1)
            for node in (a, b):
                page = get(f"{node.index_url}thing/").decode()
                assert "thing-1.0" in page
                assert get(urljoin(f"{node.index_url}thing/", re.findall('href="([^"#]+)', page)[0])) == wheel
            assert status_of(home, b.store)["bytes"]["from_peers"] >= len(wheel)  # type: ignore[index]
            shown = p2pcdn("group", "show", "--store", str(b.store), home=home, variables=key)
            assert "The node reaches 1 other member." in shown.stdout
            told = p2pcdn("group", "show", "--store", str(c.store), home=home, variables=key)
            assert "The node that runs is in no group: restart it" in told.stdout
            stranger = status_of(home, c.store)
            assert stranger["group"] is None
            deadline = time.monotonic() + TIME_S_MAX
            while not (wrong := [one["wrong"] for one in status_of(home, c.store)["peers"]]):  # type: ignore[attr-defined]
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert wrong == ["It speaks to members of its group only."]
        host, port = peer.split(":")
        for question in (b"GET /v1/hello", b"GET /v1/peers", b"GET /v1/have/" + b"0" * 64):
            with socket.create_connection((host, int(port)), timeout=TIME_S_MAX) as stream:
                stream.sendall(question + b" HTTP/1.1\r\nhost: x\r\n\r\n")
                assert stream.recv(12) == b"HTTP/1.1 403"


def test_private_files_have_a_port_whose_certificate_is_the_device_key(home: Path) -> None:
    """And a taken port is a sentence where it was asked for, and another port where it was not."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        variables = {"P2PCDN_GROUP_KEY": KEY.line}
        run = p2pcdn(
            *("serve", "--port", "0", "--peer-host", "127.0.0.1", "--peer-port", "0", "--no-mdns"),
            *("--store", str(home / "a"), "--upstream", str(home / "wheels"), "--sealed-port", str(port)),
            home=home,
            variables=variables,
        )
        assert_one_sentence(run)
        assert "--sealed-port" in run.stderr
    with serving(home, "--sealed-port", str(port), variables=variables) as node:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.1", port), timeout=TIME_S_MAX) as stream,
            context.wrap_socket(stream) as sealed,
        ):
            assert sealed.version() == "TLSv1.3"
            assert tls._key_of(sealed.getpeercert(binary_form=True)) == identity.device(node.store).public
            sealed.sendall(b"GET /v1/hello HTTP/1.1\r\nhost: x\r\n\r\n")
            assert sealed.recv(12) == b"HTTP/1.1 403"


def test_in_open_mode_there_is_no_port_for_private_files(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    with (
        serving(home, "--sealed-port", str(port)),
        pytest.raises(ConnectionRefusedError),
        socket.create_connection(("127.0.0.1", port)),
    ):
        pass


def test_a_key_that_cannot_be_used_stops_the_node_before_it_starts(home: Path) -> None:
    for variables in ({"P2PCDN_GROUP_KEY": KEY.line[:-3]}, {"P2PCDN_GROUP_KEY_FILE": "/nowhere/key"}):
        run = p2pcdn("serve", "--store", str(home / "s"), home=home, variables=variables)
        assert_one_sentence(run)
        assert KEY.line[20:40] not in run.stderr


def test_the_node_forgets_the_variable_before_it_starts_anything_else(home: Path) -> None:
    environ = {"P2PCDN_GROUP_KEY": KEY.line, "HOME": str(home), "P2PCDN_CONFIG": os.devnull}
    config = resolve({}, environ)
    assert group_key.take(config, environ) == KEY
    assert "P2PCDN_GROUP_KEY" not in environ
