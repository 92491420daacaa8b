"""`p2pcdn serve` as a process: when it is ready, how it ends, what it tells systemd, what it refuses to start with."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from p2pcdn_daemon.clients import own_upstreams
from p2pcdn_daemon.clients.client_config import FoundUpstream
from p2pcdn_daemon.commands.demo_index import make_wheel
from p2pcdn_daemon.configuration import identity
from p2pcdn_daemon.configuration.layers import resolve
from p2pcdn_daemon.serve.notify import notify, watchdog_interval_s
from tests.daemon.nodes import COMMAND, TIME_S_MAX, assert_one_sentence, environment, p2pcdn

READY = re.compile(r"ready (http://127\.0\.0\.1:([0-9]+)/simple/)\n")
STOP_TIME_S_MAX = 5.0


class Serving:
    """A `p2pcdn serve` with its stdout and stderr."""

    def __init__(self, process: subprocess.Popen[str], store: Path) -> None:
        self.process = process
        self.store = store
        self.index_url = ""

    def wait_ready(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        match = READY.fullmatch(line)
        if match is None:
            self.process.kill()
            pytest.fail(f"no ready line but {line!r}: {self.process.communicate()}")
        self.index_url = match[1]
        return self.index_url

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, float]:
        """Exit code, the log, and the seconds that ending took."""
        began_s = time.monotonic()
        self.process.send_signal(number)
        _, log = self.process.communicate(timeout=TIME_S_MAX)
        return self.process.returncode, log, time.monotonic() - began_s


@pytest.fixture
def home() -> Iterator[Path]:
    """Short, so that a socket fits into it."""
    with tempfile.TemporaryDirectory(prefix="p2", ignore_cleanup_errors=True) as directory:
        (Path(directory) / "wheels").mkdir()
        yield Path(directory)


@contextmanager
def serving(
    home: Path,
    *arguments: str,
    store: str = "store",
    ready: bool = True,
    usual_upstream: bool = True,
    **options: object,
) -> Iterator[Serving]:
    variables = options.pop("variables", {})
    assert isinstance(variables, dict)
    command = [*COMMAND, "serve", "--port", "0", "--peer-port", "0", "--peer-host", "127.0.0.1", "--no-mdns"]
    command += ["--store", str(home / store), *arguments]
    command += ["--upstream", str(home / "wheels")] if usual_upstream else []
    process = subprocess.Popen(
        command,
        env=environment(home, **variables),
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )
    node = Serving(process, home / store)
    try:
        if ready:
            node.wait_ready()
        yield node
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate()


def test_a_node_says_when_it_is_ready_answers_and_ends_with_0(home: Path) -> None:
    with serving(home) as node:
        with urllib.request.urlopen(node.index_url, timeout=TIME_S_MAX) as answer:
            assert answer.status == 200
        status = p2pcdn("status", "--store", str(node.store), "--json", home=home)
        assert status.returncode == 0, status.stderr
        told = json.loads(status.stdout)
        code, log, time_s = node.end()
    assert code == 0, log
    assert time_s < STOP_TIME_S_MAX
    assert told["index_url"] == node.index_url
    assert told["health"] == "ok"
    assert {"version", "node_id", "uptime_s", "peer_address", "peers", "store", "bytes", "requests",
            "upstream_file_requests", "refused_pieces"} <= set(told)  # fmt: skip
    assert re.fullmatch("[0-9a-f]{32}", told["node_id"])
    assert "Traceback" not in log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_client_that_keeps_its_connection_does_not_hold_up_the_end(home: Path, number: int) -> None:
    with serving(home) as node, ExitStack() as stack:
        port = int(node.index_url.split(":")[2].split("/")[0])
        for said in (b"", b"GET /simple/ HTTP/1.1\r\nHost: localhost\r\n"):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(said)
        code, log, time_s = node.end(number)
    assert code == 0, log
    assert time_s < STOP_TIME_S_MAX


def test_sighup_is_ignored_without_a_terminal(home: Path) -> None:
    with serving(home) as node:
        node.process.send_signal(signal.SIGHUP)
        assert p2pcdn("status", "--store", str(node.store), home=home).returncode == 0
        assert node.end()[0] == 0


def test_a_node_stopped_before_it_is_ready_ends_with_0(home: Path) -> None:
    with serving(home, ready=False) as node:
        # Its first line of Python has run when the store's directory appears; any moment after that may be hit.
        while not node.store.exists() and node.process.poll() is None:
            select.select([], [], [], 0.001)
        code, log, _ = node.end()
    assert code == 0, log
    assert "Traceback" not in log


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace, and the right to trace")
def test_a_disk_that_fails_at_the_start_asks_for_another_start(home: Path) -> None:
    with serving(home) as node:
        assert node.end()[0] == 0
    tracer = ["strace", "-f", "-qq", "-o", os.devnull, "-P", str(node.store / "partials")]
    serve = [*COMMAND, "serve", "--port", "0", "--peer-port", "0", "--no-mdns", "--store", str(node.store)]
    run = subprocess.run(
        [*tracer, "-e", "inject=getdents64:error=EIO", *serve],
        env=environment(home),
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIME_S_MAX,
    )
    assert run.returncode == 1, "by 2 systemd would leave it down"
    [sentence] = run.stderr.splitlines()
    assert sentence.endswith("start the node again, and look at the disk should that not help.")


def test_the_ready_line_goes_to_the_descriptor_too_which_is_closed(home: Path) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as lines:
        try:
            node = serving(home, "--ready-fd", str(writer), pass_fds=[writer])
            with node as running:
                os.close(writer)
                # To the end: the node has closed it.
                assert READY.fullmatch(lines.read().decode())
                assert running.end()[0] == 0
        finally:
            with suppress(OSError):
                os.close(writer)


def test_the_name_and_the_secret_of_a_node_stay_and_are_its_own(home: Path) -> None:
    first = identity.node_id(home), identity.token(home)
    assert first == (identity.node_id(home), identity.token(home))
    for name in ("node_id", "token"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600
    (home / "token").write_text("../../etc\n")
    assert identity.token(home) not in (first[1], "../../etc")


def test_the_store_and_the_control_sockets_are_closed_to_others(home: Path) -> None:
    with serving(home) as node:
        assert stat.S_IMODE(node.store.stat().st_mode) == 0o700
        for path in (node.store / "control.sock", home / "run" / "control.sock"):
            assert stat.S_ISSOCK(path.stat().st_mode)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert node.end()[0] == 0
    assert not (node.store / "control.sock").exists()


def test_two_nodes_of_one_user_are_told_apart_by_their_stores(home: Path) -> None:
    with serving(home) as first, serving(home, store="second") as second:
        for node in (first, second):
            told = p2pcdn("status", "--store", str(node.store), "--json", home=home)
            assert json.loads(told.stdout)["index_url"] == node.index_url
        # Without a store it is the one that came first.
        assert json.loads(p2pcdn("status", "--json", home=home).stdout)["index_url"] == first.index_url


def test_a_named_control_socket_is_the_only_one(home: Path) -> None:
    with serving(home, "--control-socket", str(home / "c")) as node:
        assert not (node.store / "control.sock").exists()
        variables = {"P2PCDN_CONTROL_SOCKET": str(home / "c")}
        assert p2pcdn("status", home=home, variables=variables).returncode == 0


def test_a_second_node_on_the_same_store_is_told_who_holds_it(home: Path) -> None:
    with serving(home) as node:
        second = p2pcdn("serve", "--port", "0", "--peer-port", "0", "--no-mdns", "--store", str(node.store), home=home)
    assert_one_sentence(second)
    assert str(node.process.pid) in second.stderr


@pytest.mark.parametrize("flag", ["--port", "--peer-port"])
def test_a_port_in_use_is_a_sentence_and_2(home: Path, flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        others = {"--port": "0", "--peer-port": "0"} | {flag: port}
        arguments = [word for pair in others.items() for word in pair]
        run = p2pcdn("serve", *arguments, "--peer-host", "127.0.0.1", "--store", str(home / "s"), home=home)
    assert_one_sentence(run)
    assert port in run.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--store", "file/store"], ["--store", "file"], ["--store", "full"], ["--store", "/proc/p2pcdn"],
        ["--host", "192.0.2.7"], ["--host", "no-such-host.invalid"], ["--control-socket", "x" * 120],
        ["--control-socket", "file"], ["--upstream", "https://index.example/?q=1"], ["--peers-file", "full"],
        ["--upstream", "http://a.example/simple", "--upstream", "http://a.example/simple/"],
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_a_sentence_and_2(home: Path, arguments: list[str]) -> None:
    (home / "file").write_text("x")
    (home / "full").mkdir()
    (home / "full" / "something").write_text("of yours")
    usual = [] if "--store" in arguments else ["--store", str(home / "store")]
    run = p2pcdn("serve", "--port", "0", "--peer-port", "0", "--no-mdns", *usual, *arguments, home=home)
    assert_one_sentence(run)


def test_json_logs_are_json_to_the_last_line(home: Path) -> None:
    with serving(home, "--log-format", "json", "--log-level", "debug") as node:
        _, log, _ = node.end()
    lines = [json.loads(line) for line in log.splitlines()]
    assert any(line["message"] == "ready" and line["index"] == node.index_url for line in lines)


def test_a_reader_that_left_does_not_disturb_the_node(home: Path) -> None:
    with serving(home) as node:
        assert node.process.stdout is not None
        node.process.stdout.close()
        assert p2pcdn("status", "--store", str(node.store), home=home).returncode == 0


def test_run_gives_a_command_the_index_and_passes_its_code_on(home: Path) -> None:
    with serving(home) as node:
        store = ["--store", str(node.store)]
        told = p2pcdn("run", *store, "--", "sh", "-c", "echo $PIP_INDEX_URL $UV_DEFAULT_INDEX; exit 7", home=home)
        assert (told.returncode, told.stdout) == (7, f"{node.index_url} {node.index_url}\n")
        assert p2pcdn("run", *store, "no-such-command", home=home).returncode == 127
        assert p2pcdn("run", *store, str(home), home=home).returncode == 126


def test_a_node_without_stdout_and_stderr_runs(home: Path) -> None:
    shell = 'exec "$0" "$@" <&- >&- 2>&-'
    command = ["sh", "-c", shell, *COMMAND, "serve", "--port", "0", "--peer-port", "0", "--peer-host", "127.0.0.1"]
    command += ["--no-mdns", "--store", str(home / "store"), "--upstream", str(home / "wheels"), "--ready-fd", "9"]
    reader, writer = os.pipe()
    ready = subprocess.Popen(
        [sys.executable, "-c", f"import os, sys; os.dup2({writer}, 9); os.execvp(sys.argv[1], sys.argv[1:])", *command],
        env=environment(home),
        pass_fds=[writer],
    )
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as lines:
            assert READY.fullmatch(lines.readline().decode())
        ready.terminate()
        assert ready.wait(TIME_S_MAX) == 0
    finally:
        ready.kill()
        ready.wait()


def test_the_commands_work_on_an_empty_node(home: Path) -> None:
    with serving(home) as node:
        store = ["--store", str(node.store)]
        assert "Freed 0 B" in p2pcdn("gc", *store, home=home).stdout
        assert "0 files checked" in p2pcdn("verify", *store, home=home).stdout
        assert "holds no file yet" in p2pcdn("list", *store, home=home).stderr
        assert json.loads(p2pcdn("list", *store, "--json", home=home).stdout) == {"blobs": []}
        assert "--peer" in p2pcdn("peers", *store, home=home).stderr
        assert p2pcdn("pin", "numpy", *store, home=home).returncode == 1
        assert p2pcdn("export", "all.tar", *store, home=home).returncode == 0
        assert stat.S_IMODE((home / "all.tar").stat().st_mode) == 0o600
        assert "Took in 0 files" in p2pcdn("import", "all.tar", *store, home=home).stdout
        assert p2pcdn("export", "no/such/place.tar", *store, home=home).returncode == 2
        (home / "bad.tar").write_bytes(os.urandom(4096))
        bad = p2pcdn("import", "bad.tar", *store, home=home)
        assert bad.returncode == 1
        assert "Traceback" not in bad.stderr


def test_setup_points_pip_at_the_node_and_its_old_index_stays_our_upstream(home: Path) -> None:
    pip_conf = home / ".config" / "pip" / "pip.conf"
    pip_conf.parent.mkdir(parents=True)
    before = "[global]\nindex-url = http://user:s3cret@127.0.0.1:9/simple/\n"
    pip_conf.write_text(before)
    ours = home / "ours.toml"
    ours.write_text('store-size = "1GB"')
    variables = {"P2PCDN_CONFIG": str(ours), "PIP_CONFIG_FILE": ""}
    with serving(home) as node:
        run = p2pcdn("setup", "pip", "--store", str(node.store), home=home, variables=variables)
        assert run.returncode == 0, run.stderr
        assert node.index_url in pip_conf.read_text()
    assert "http://127.0.0.1:9/simple/ stays the node's upstream" in run.stdout
    assert "s3cret" not in run.stdout + run.stderr
    assert "To undo: p2pcdn setup pip --undo" in run.stdout
    kept = resolve({}, {}, config_file=str(ours))
    assert [upstream.url for upstream in kept.upstream] == ["http://user:s3cret@127.0.0.1:9/simple/"]
    assert (kept.store_size, stat.S_IMODE(ours.stat().st_mode)) == (10**9, 0o600)
    assert p2pcdn("setup", "pip", "--undo", home=home, variables=variables).returncode == 0
    assert pip_conf.read_text() == before


def test_what_uv_knows_of_its_indexes_comes_along(home: Path) -> None:
    uv_toml = home / ".config" / "uv" / "uv.toml"
    uv_toml.parent.mkdir(parents=True)
    uv_toml.write_text(
        '[[index]]\nname = "corp"\nurl = "http://127.0.0.1:9/corp/"\nignore-error-codes = [403, 401]\n\n'
        '[[index]]\nurl = "http://127.0.0.1:9/simple/"\ndefault = true\n'
    )
    ours = home / "ours.toml"
    ours.touch()
    with serving(home) as node:
        run = p2pcdn("setup", "uv", "--store", str(node.store), home=home, variables={"P2PCDN_CONFIG": str(ours)})
    assert run.returncode == 0, run.stderr
    corp, default = resolve({}, {}, config_file=str(ours)).upstream
    assert (corp.name, corp.ignore_error_codes) == ("corp", {401, 403})
    assert (default.name, default.ignore_error_codes) == (None, frozenset())


def test_no_command_puts_a_file_in_the_place_of_a_device(home: Path) -> None:
    (home / "pipe").symlink_to(os.devnull)
    with serving(home) as node:
        assert p2pcdn("export", "pipe", "--store", str(node.store), home=home).returncode == 0
    found = FoundUpstream("https://x.example/", "uv.toml")
    assert own_upstreams.keep(resolve({}, {"P2PCDN_CONFIG": str(home / "pipe")}), [found], {})
    assert Path(os.devnull).is_char_device()


def test_prefetch_fills_the_node_and_list_shows_it(home: Path) -> None:
    for project, requires in (("demo-app", ["demo-lib"]), ("demo-lib", [])):
        wheel = make_wheel(project, requires, {"__init__.py": b""})
        (home / "wheels" / wheel.filename).write_bytes(wheel.content)
    (home / "wanted.txt").write_text("demo-app==1.0\n")
    with serving(home) as node:
        store = ["--store", str(node.store)]
        one = p2pcdn("prefetch", "demo-lib", *store, "--python", sys.executable, home=home)
        fetched = p2pcdn("prefetch", "-r", "wanted.txt", *store, "--python", sys.executable, home=home)
        assert fetched.returncode == 0, fetched.stderr
        again = p2pcdn("prefetch", "demo-app", "--only-binary=:all:", *store, "--python", sys.executable, home=home)
        listed = p2pcdn("list", "demo_lib", *store, home=home)
        unknown = p2pcdn("list", "demo-lib", "dmeo-app", *store, home=home)
        for refusing in (["export", "some.tar", "--project"], ["pin", "demo-app"]):
            misspelled = p2pcdn(*refusing, "dmeo-app", *store, home=home)
            assert misspelled.returncode == 1
            assert misspelled.stderr == "p2pcdn: The store holds no file of dmeo-app.\n"
        assert not (home / "some.tar").exists()
        assert "name /dev/stdout" in p2pcdn("export", "-", *store, home=home).stderr
        missing = p2pcdn("prefetch", "no-such-project", *store, "--python", sys.executable, home=home)
        exported = p2pcdn("export", "all.tar", *store, home=home)
        assert p2pcdn("pin", "demo-app", *store, home=home).stdout == "Pinned 2 files of demo-app.\n"
        assert p2pcdn("gc", "--to", "0", *store, home=home).stdout.endswith("(2 files).\n")
        first = p2pcdn("import", "all.tar", *store, home=home).stdout
        assert "Took in 2 files" in first
        assert "Nothing" not in first
        assert "Nothing in it was new" in p2pcdn("import", "all.tar", *store, home=home).stdout
        assert "all are as they were kept" in p2pcdn("verify", *store, home=home).stdout
    assert "The node now holds 1 file more" in one.stdout
    assert "In all it holds 2 files" in fetched.stdout
    assert "held all 2 files already" in again.stdout
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["project", "demo-lib"]
    assert len(unknown.stdout.splitlines()) == 2
    assert unknown.stderr == "The node holds no file of dmeo-app.\n"
    assert missing.returncode == 1
    assert "The node" not in missing.stdout
    assert exported.returncode == 0


@pytest.mark.parametrize("how", ["flag", "file", "dns"])
def test_a_neighbour_that_was_named_is_met_and_listed(home: Path, how: str) -> None:
    with serving(home) as first:
        told = json.loads(p2pcdn("status", "--store", str(first.store), "--json", home=home).stdout)
        (home / "peers").write_text(f"{told['peer_address']}\n")
        named = {
            "flag": ["--peer", told["peer_address"]],
            "file": ["--peers-file", str(home / "peers")],
            "dns": ["--peer-dns", told["peer_address"].replace("127.0.0.1", "localhost")],
        }
        with serving(home, *named[how], store="second") as second:
            deadline_s = time.monotonic() + TIME_S_MAX
            while time.monotonic() < deadline_s:
                peers = p2pcdn("peers", "--store", str(second.store), home=home)
                if " ago" in peers.stdout:
                    break
            assert told["peer_address"] in peers.stdout, peers
            assert second.end()[0] == 0


def test_an_upstream_that_hangs_does_not_hold_up_the_end(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        url = f"http://127.0.0.1:{upstream.getsockname()[1]}/simple/"
        with serving(home, "--upstream", url, usual_upstream=False) as node, ExitStack() as stack:
            port = int(node.index_url.split(":")[2].split("/")[0])
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(b"GET /simple/x/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
            # The node has begun to ask.
            stack.enter_context(upstream.accept()[0]).recv(1)
            code, log, time_s = node.end()
    assert code == 0, log
    assert time_s < STOP_TIME_S_MAX


def test_on_a_terminal_the_node_says_how_to_use_it(home: Path) -> None:
    outer, inner = pty.openpty()
    command = [*COMMAND, "serve", "--port", "0", "--peer-port", "0", "--peer-host", "127.0.0.1", "--no-mdns"]
    command += ["--store", str(home / "store"), "--upstream", str(home / "wheels")]
    process = subprocess.Popen(command, env=environment(home), stdin=inner, stdout=inner, stderr=subprocess.DEVNULL)
    os.close(inner)
    try:
        said = b""
        while b"Ctrl-C" not in said:
            said += os.read(outer, 4096)
        process.send_signal(signal.SIGHUP)
        assert process.wait(TIME_S_MAX) == 0
    finally:
        process.kill()
        process.wait()
        os.close(outer)
    assert b"pip install --index-url http://127.0.0.1:" in said
    assert b"uv pip install --default-index http://127.0.0.1:" in said


# -- systemd ----------------------------------------------------------------------------------------------------------


@contextmanager
def supervisor(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + address[1:] if address.startswith("@") else address)
        receiver.settimeout(TIME_S_MAX)
        yield receiver


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_that_the_node_is_ready_alive_and_stopping(home: Path, abstract: bool) -> None:
    address = f"@p2pcdn-test-{os.getpid()}" if abstract else str(home / "notify")
    variables = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "100000"}
    with supervisor(address) as receiver, serving(home, variables=variables) as node:
        heard = ""
        while "READY=1" not in heard or heard.count("WATCHDOG=1") < 3:
            heard += receiver.recv(4096).decode() + "\n"
        assert f"STATUS=Serving {node.index_url}" in heard
        assert f"MAINPID={node.process.pid}" in heard
        node.process.terminate()
        while "STOPPING=1" not in heard:
            heard += receiver.recv(4096).decode() + "\n"


def test_without_a_supervisor_nothing_is_said(home: Path) -> None:
    assert not notify("READY=1", environ={})
    assert not notify("READY=1", environ={"NOTIFY_SOCKET": str(home / "gone")})
    assert watchdog_interval_s({"WATCHDOG_USEC": "30000000"}) == 15.0
    assert watchdog_interval_s({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}) is None
    assert watchdog_interval_s({"WATCHDOG_USEC": "0"}) is None


def test_a_socket_of_systemd_is_taken_over(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        port = given.getsockname()[1]
        # As systemd does it: the socket is descriptor 3, and LISTEN_PID is the process that executes the node.
        code = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ.update(LISTEN_PID=str(os.getpid()), "
            "LISTEN_FDS='1', LISTEN_FDNAMES='index'); os.execv(sys.argv[2], sys.argv[2:])"
        )
        command = [sys.executable, "-c", code, str(given.fileno()), *COMMAND, "serve", "--peer-port", "0", "--no-mdns"]
        command += ["--peer-host", "127.0.0.1", "--store", str(home / "store"), "--upstream", str(home / "wheels")]
        process = subprocess.Popen(
            command, env=environment(home), pass_fds=[given.fileno()], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        node = Serving(process, home / "store")
        try:
            assert node.wait_ready() == f"http://127.0.0.1:{port}/simple/"
            assert node.end()[0] == 0
        finally:
            process.kill()
            process.communicate()


def test_as_many_descriptors_as_the_kernel_gives_are_taken(home: Path) -> None:
    def lower() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096))

    with serving(home, preexec_fn=lower) as node:
        limits = Path(f"/proc/{node.process.pid}/limits")
        if not limits.exists():
            pytest.skip(os.strerror(errno.ENOENT))
        assert re.search(r"Max open files +4096 +4096", limits.read_text())
