"""Nodes that live for one job: what they use, what they leave behind, and the command that one is started for."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from p2pcdn_daemon.commands.demo_index import make_wheel
from p2pcdn_daemon.configuration.config import ConfigError
from p2pcdn_daemon.configuration.layers import resolve
from p2pcdn_daemon.serve.ephemeral import for_one_job
from tests.daemon.nodes import COMMAND, TIME_S_MAX, assert_one_sentence, environment, p2pcdn


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Short, so that a socket fits into it; temporary directories are made in it."""
    with tempfile.TemporaryDirectory(prefix="p2", ignore_cleanup_errors=True) as directory:
        (Path(directory) / "wheels").mkdir()
        (Path(directory) / "tmp").mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(Path(directory) / "tmp"))
        yield Path(directory)


def variables(home: Path, **more: str) -> dict[str, str]:
    return {
        "TMPDIR": str(home / "tmp"),
        "P2PCDN_UPSTREAM": str(home / "wheels"),
        "P2PCDN_PEER_HOST": "127.0.0.1",
        **more,
    }


def jobs(home: Path) -> list[Path]:
    return sorted((home / "tmp").glob("p2pcdn-*/job-*"))


def start(home: Path, *arguments: str, more: Mapping[str, str] = {}) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment(home, **variables(home, **more)),
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def serving(home: Path, *arguments: str, more: Mapping[str, str] = {}) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and the URL of its index."""
    process = start(home, "serve", "--ephemeral", *arguments, more=more)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("ready "):
            process.kill()
            pytest.fail(f"{line!r}: {process.communicate()}")
        yield process, line.split()[1]
    finally:
        process.kill()
        process.communicate()


def run(home: Path, *command: str, more: Mapping[str, str] = {}) -> subprocess.CompletedProcess[str]:
    return p2pcdn("run", "--ephemeral", "--", *command, home=home, variables=variables(home, **more))


# -- the node


def test_two_jobs_on_one_machine_do_not_meet_and_leave_nothing(home: Path) -> None:
    with serving(home) as (first, first_url), serving(home) as (second, second_url):
        assert first_url != second_url
        assert len(jobs(home)) == 2
        assert {stat.S_IMODE(path.stat().st_mode) for path in jobs(home)} == {0o700}
        told = p2pcdn("status", "--json", "--store", str(jobs(home)[0] / "store"), home=home)
        assert json.loads(told.stdout)["index_url"] in (first_url, second_url)
        for process in (first, second):
            began_s = time.monotonic()
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=TIME_S_MAX)
            assert (process.returncode, log) == (0, ""), "a node for one job says nothing when nothing is wrong"
            assert time.monotonic() - began_s < 5
    assert jobs(home) == []


def test_what_a_killed_node_left_is_removed_by_the_next_which_leaves_a_living_one_alone(home: Path) -> None:
    with serving(home) as (living, _):
        (kept,) = jobs(home)
        with serving(home) as (killed, _):
            (left,) = set(jobs(home)) - {kept}
            killed.kill()
            killed.wait()
        assert left.exists()
        with serving(home):
            assert not left.exists()
            assert kept.exists()
            assert len(jobs(home)) == 2
        assert living.poll() is None


def test_a_directory_that_others_made_is_not_used(home: Path) -> None:
    room = home / "tmp" / f"p2pcdn-{os.geteuid()}"
    room.mkdir()
    room.chmod(0o777)
    done = run(home, "true")
    assert_one_sentence(done)
    assert "TMPDIR" in done.stderr
    room.rmdir()
    (home / "elsewhere").mkdir(mode=0o700)
    room.symlink_to(home / "elsewhere")
    with pytest.raises(ConfigError, match="TMPDIR"), for_one_job(resolve({}, {})):
        pass


def test_a_store_that_is_named_is_used_and_stays(home: Path) -> None:
    with serving(home, "--store", str(home / "store")) as (process, _):
        assert jobs(home) == []
        process.terminate()
        assert process.wait(TIME_S_MAX) == 0
    assert (home / "store" / "node_id").exists()


def test_the_machines_own_node_is_not_met_but_its_upstreams_are_used(home: Path) -> None:
    file = home / "config.toml"
    file.write_text(
        'store = "/var/lib/p2pcdn"\nport = 7272\npeer-port = 7273\ncontrol-socket = "/run/x.sock"\n'
        'upstream = "https://index.example/simple/"\nlog-level = "debug"\nno-mdns = false\n'
    )
    with for_one_job(resolve({}, {}, config_file=str(file))) as config:
        assert (config.port, config.peer_port, config.control_socket) == (0, 0, None)
        assert config.store.parent in jobs(home)
        assert [one.url for one in config.upstream] == ["https://index.example/simple/"]
        assert (config.log_level, config.no_mdns) == ("debug", False)
    assert jobs(home) == []


def test_what_is_named_by_flag_or_environment_counts(home: Path) -> None:
    environ = {"P2PCDN_PEER_PORT": "7000", "P2PCDN_NO_MDNS": "false"}
    with for_one_job(resolve({"port": "7001", "log-level": "info"}, environ)) as config:
        assert (config.port, config.peer_port, config.no_mdns, config.log_level) == (7001, 7000, False, "info")
    with for_one_job(resolve({}, {})) as config:
        assert (config.port, config.peer_port, config.no_mdns, config.log_level) == (0, 0, True, "warning")


# -- the command it is started for


def test_pip_installs_through_a_node_of_its_own_with_one_line(home: Path) -> None:
    wheel = make_wheel("demo-app", [], {"__init__.py": b""})
    (home / "wheels" / wheel.filename).write_bytes(wheel.content)
    pip = [sys.executable, "-m", "pip", "download", "--no-cache-dir", "--disable-pip-version-check", "demo-app"]
    done = run(home, *pip)
    assert done.returncode == 0, done.stderr
    assert (home / wheel.filename).read_bytes() == wheel.content
    assert "ready" not in done.stdout
    assert jobs(home) == []


def test_the_command_may_ask_its_node_and_its_exit_code_is_ours(home: Path) -> None:
    ours = " ".join(f"'{word}'" for word in COMMAND)
    done = run(home, "sh", "-c", f"{ours} status --json; exit 7")
    assert done.returncode == 7, done.stderr
    assert json.loads(done.stdout)["health"] == "ok"
    assert run(home, "sh", "-c", "kill -9 $$").returncode == 128 + signal.SIGKILL
    assert run(home, "no-such-command").returncode == 127
    assert run(home, str(home)).returncode == 126
    assert jobs(home) == []


def test_the_commands_stdin_is_the_users(home: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "run", "--ephemeral", "--", "cat"],
        env=environment(home, **variables(home)),
        input="said\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=TIME_S_MAX,
    )
    assert (done.returncode, done.stdout) == (0, "said\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_goes_to_the_command_and_the_node_ends_after_it(home: Path, number: int) -> None:
    script = (
        f"trap 'echo cleaned; exit 5' {signal.Signals(number).name[3:]}; echo started; while :; do sleep 0.02; done"
    )
    process = start(home, "run", "--ephemeral", "--", "sh", "-c", script)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.send_signal(number)
        said, log = process.communicate(timeout=TIME_S_MAX)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, said) == (5, "cleaned\n"), log
    assert jobs(home) == []


def test_a_node_that_cannot_start_runs_nothing(home: Path) -> None:
    done = run(home, "touch", "done", more={"P2PCDN_UPSTREAM": "https://index.example/?q=1"})
    assert_one_sentence(done)
    assert not (home / "done").exists()
    assert jobs(home) == []
