"""The node behind a command: the user's, started once where none runs, or a private one that ends with the command."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from p2pcdn_daemon.configuration.layers import resolve
from p2pcdn_shim.client import Client, NodeRefused, NoNode, find
from p2pcdn_shim.zephyr.configuration.config import Config
from p2pcdn_shim.zephyr.errors import ZephyrError
from p2pcdn_shim.zephyr.node import reaching as under_test
from p2pcdn_shim.zephyr.node import starting
from p2pcdn_shim.zephyr.terminal.voice import Voice
from tests.bench.patience import until
from tests.daemon.nodes import ROOT
from tests.shim.nodes import end_node_of, pid_of, runs
from tests.shim.zephyr import environment

PRIVATE = Config(no_node=True)


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A user who has nothing yet, on free ports; a node that runs for him at the end is ended."""
    with tempfile.TemporaryDirectory(prefix="z") as home:  # short, for the sake of the sockets in it
        (Path(home) / "wheels").mkdir()
        variables = {
            "P2PCDN_PORT": "0", "P2PCDN_PEER_PORT": "0", "P2PCDN_NO_MDNS": "1", "P2PCDN_UPSTREAM": f"{home}/wheels",
            "RUNTIME_DIRECTORY": f"{home}/run",
        }  # fmt: skip
        own = environment(Path(home), **variables)
        monkeypatch.setenv("HOME", home)  # the daemon's default store is that of our own process
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        yield own
        end_node_of(own)


def test_a_node_is_started_once_for_this_user_and_stays(
    environ: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    with under_test.reach(Config(), Voice(), environ) as first:
        assert first.get("/v1/status")["health"] == "ok"
    said = capfd.readouterr().err
    assert said.startswith("zephyr: Started a node for you")
    assert said.count("\n") == 1
    with under_test.reach(Config(), Voice(), environ) as second:
        assert pid_of(second) == pid_of(first)
    assert capfd.readouterr().err == ""
    assert os.getsid(pid_of(first)) == pid_of(first)  # Ctrl-C of a later command is not for it
    assert (Path(environ["ZEPHYR_CACHE_DIR"]) / "node.log").exists()


def test_two_commands_at_once_start_one_node(environ: dict[str, str]) -> None:
    found: list[int] = []

    def work() -> None:
        with under_test.reach(Config(), Voice(quiet=True), environ) as client:
            found.append(pid_of(client))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert len(set(found)) == 1


def test_who_finds_the_store_held_waits_for_the_node_that_has_it(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine the node of the faster one listens a second later than that."""
    monkeypatch.setattr(starting, "OTHERS_READY_TIME_S", 60.0)
    store = resolve({}, environ).store
    store.mkdir(parents=True, mode=0o700)
    looked: list[None] = []
    monkeypatch.setattr(starting, "find", lambda environ: looked.append(None) or find(environ))
    found: list[int] = []
    slower = threading.Thread(target=lambda: found.append(pid_of(starting.start(Voice(quiet=True), environ))))
    with (store / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        slower.start()
        until(lambda: len(looked) > 1, "it looks more than once")
    faster = pid_of(starting.start(Voice(quiet=True), environ))
    slower.join()
    assert found == [faster]


def test_a_private_node_works_with_the_users_store_and_ends_with_the_command(environ: dict[str, str]) -> None:
    with under_test.reach(PRIVATE, Voice(), environ) as client:
        assert client.get("/v1/status")["health"] == "ok"
        pid = pid_of(client)
    assert not runs(pid)
    assert not Path(client.path).exists()
    assert (Path(environ["HOME"]) / ".cache" / "p2pcdn" / "node_id").exists()
    with pytest.raises(NoNode):
        find(environ)


def test_a_private_node_beside_one_that_runs_has_a_store_of_its_own(
    environ: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        under_test.reach(Config(), Voice(quiet=True), environ) as theirs,
        under_test.reach(PRIVATE, Voice(), environ) as mine,
    ):
        assert mine.get("/v1/status")["node_id"] != theirs.get("/v1/status")["node_id"]
    assert "works with a temporary one" in capfd.readouterr().err
    assert runs(pid_of(theirs))


def test_offline_is_a_private_node_that_asks_nobody_and_refuses_one_that_does(environ: dict[str, str]) -> None:
    with under_test.reach(Config(offline=True), Voice(), environ) as client:
        assert client.get("/v1/status")["offline"]
        pid = pid_of(client)
    assert not runs(pid)
    with (
        under_test.reach(Config(), Voice(quiet=True), environ),
        pytest.raises(ZephyrError, match=r"asks its indexes, and `offline` forbids that"),
        under_test.reach(Config(offline=True), Voice(), environ),
    ):
        raise AssertionError


def test_a_private_node_ends_when_the_command_breaks_off(environ: dict[str, str]) -> None:
    pids: list[int] = []

    def work() -> None:
        with under_test.reach(PRIVATE, Voice(), environ) as client:
            pids.append(pid_of(client))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert not runs(pids[0])


@pytest.mark.parametrize("config", [Config(), PRIVATE])
def test_a_node_that_cannot_start_says_why(config: Config, environ: dict[str, str]) -> None:
    (Path(environ["HOME"]) / "file").write_text("")
    environ["P2PCDN_STORE"] = f"{environ['HOME']}/file"
    with (
        pytest.raises(ZephyrError, match=r"No node runs, and none could be started: .*file"),
        under_test.reach(config, Voice(), environ),
    ):
        pass


def test_a_wrong_configuration_of_the_node_is_told(environ: dict[str, str]) -> None:
    environ["P2PCDN_STORE_SIZE"] = "much"
    for config in (Config(), PRIVATE):
        with (
            pytest.raises((ZephyrError, NoNode), match="P2PCDN_STORE_SIZE"),
            under_test.reach(config, Voice(), environ),
        ):
            pass


def test_a_node_that_says_nothing_is_ended(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "python").write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 100\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setattr(starting, "READY_TIME_S", 0.2)
    with pytest.raises(ZephyrError, match="none could be started"), under_test.reach(PRIVATE, Voice(), environ):
        pass
    assert not runs(int((tmp_path / "pid").read_text()))


def test_paths_that_begin_here_mean_here_for_the_node_too(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = environ["HOME"]
    monkeypatch.chdir(home)
    environ |= {"P2PCDN_CONTROL_SOCKET": "c", "P2PCDN_STORE": "store", "P2PCDN_UPSTREAM": "./wheels"}
    with under_test.reach(Config(), Voice(quiet=True), environ) as client:
        assert client.get("/v1/status")["indexes"][0]["url"] == f"file://{home}/wheels/"
    assert Path(home, "store", "node_id").exists()
    assert Path(f"/proc/{pid_of(client)}/cwd").readlink() == Path("/")


def test_ports_that_others_have_are_left_to_them(environ: dict[str, str]) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        environ["P2PCDN_PORT"] = str(taken.getsockname()[1])
        with under_test.reach(Config(), Voice(quiet=True), environ) as client:
            assert f":{taken.getsockname()[1]}/" not in client.get("/v1/status")["index_url"]


def test_a_private_node_leaves_a_store_to_the_node_that_holds_it_wherever_that_listens(tmp_path: Path) -> None:
    environ = {"P2PCDN_STORE": str(tmp_path), "HOME": str(tmp_path)}
    assert starting._store_that_nobody_holds(environ) == tmp_path
    with (tmp_path / "lock").open("w") as held:
        assert starting._store_that_nobody_holds(environ) == tmp_path
        fcntl.flock(held, fcntl.LOCK_EX)
        assert starting._store_that_nobody_holds(environ) is None
    assert starting._store_that_nobody_holds(environ) == tmp_path


@pytest.fixture
def installed(environ: dict[str, str]) -> Path:
    """A p2pcdn that can be replaced, of which this user's nodes are; the file that says which one it is."""
    place = Path(environ["HOME"]) / "installed"
    for package in ("p2pcdn", "daemon/p2pcdn_daemon", "shim/p2pcdn_shim"):
        shutil.copytree(ROOT / package, place / Path(package).name)
    environ["PYTHONPATH"] = str(place)
    return place / "p2pcdn" / "__init__.py"


def ask_for_a_page(client: Client) -> None:
    with pytest.raises(NodeRefused, match="nothing"):
        client.post("/v1/page", {"project": "nothing"})


def test_a_node_of_ours_whose_p2pcdn_was_replaced_is_replaced_by_another(
    environ: dict[str, str], installed: Path
) -> None:
    """A solver of the new p2pcdn does not understand a node of the old one: it "ended by itself"."""
    with under_test.reach(Config(), Voice(quiet=True), environ) as first:
        ask_for_a_page(first)
        old = pid_of(first)
    installed.write_text(installed.read_text().replace('__version__ = "', '__version__ = "99.'))
    pids: list[int] = []

    def work() -> None:
        with under_test.reach(Config(), Voice(quiet=True), environ) as client:
            ask_for_a_page(client)
            assert client.get("/v1/status")["version"].startswith("99.")
            pids.append(pid_of(client))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 3
    assert len(set(pids)) == 1
    assert not runs(old)


def test_a_node_that_somebody_else_started_says_that_he_must_restart_it(
    environ: dict[str, str], installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn = starting._spawn
    monkeypatch.setattr(starting, "_spawn", lambda words, *rest: spawn([words[0], *words[2:]], *rest))
    with under_test.reach(Config(), Voice(quiet=True), environ) as client:
        ask_for_a_page(client)
        installed.unlink()
    with (
        under_test.reach(Config(), Voice(quiet=True), environ) as client,
        pytest.raises(NodeRefused, match=r"restart the node: end it \(process \d+\) and run `p2pcdn serve`"),
    ):
        client.post("/v1/page", {"project": "nothing"})
    assert client.get("/v1/status")["health"] == "ok"
