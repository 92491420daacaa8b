"""Source distributions that try to get out while they are built: each does what malware does, for real."""

from __future__ import annotations

import json
import os
import socket
import textwrap
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from p2pcdn.build import BUILD_LIMITS
from p2pcdn.errors import BuildFailed, Refused, SandboxUnusable
from p2pcdn.sandbox.spec import MIB, Limits
from p2pcdn_daemon.doors.processes import RealProcesses
from tests.build.conftest import PYTHON, Yard
from tests.build.makers import sdist


async def built_report(yard: Yard, code: str, limits: Limits = BUILD_LIMITS) -> list[object]:
    """What a build.py put into the list `report`, out of the wheel that it became."""
    prologue = "import json, os, socket, sys, time, signal\nreport = []\n"
    epilogue = "\nopen('src/report.json', 'w').write(json.dumps(report))\n"
    source = sdist(yard.place, {"build.py": prologue + textwrap.dedent(code) + epilogue})
    built = await yard.builder(limits).wheel(source, PYTHON)
    report: list[object] = json.loads(zipfile.ZipFile(built.wheel).read("report.json"))
    return report


async def test_it_cannot_write_into_the_home_directory_of_whoever_builds(yard: Yard) -> None:
    home = Path.home()
    mark = home / f".p2pcdn-escape-{os.getpid()}"
    report = await built_report(
        yard,
        f"""
        for path in ({str(mark)!r}, "/scratch/../escape", "/tmp/../../escape", "/etc/cron.d/escape"):
            try: open(path, "w").write("x")
            except OSError as error: report.append(error.errno)
        """,
    )
    assert len(report) == 4
    assert not mark.exists()


async def test_it_cannot_read_secrets(yard: Yard) -> None:
    secret = yard.place / "secret"
    secret.write_text("secret")
    report = await built_report(
        yard,
        f"""
        for path in ("/etc/shadow", {str(secret)!r}, "/proc/1/environ", {str(Path.home() / ".ssh")!r}, "/var", "/home"):
            report.append(os.path.exists(path))
        report.append("SSH_AUTH_SOCK" in os.environ)
        """,
    )
    assert report == [False] * 7


async def test_it_reaches_nobody_on_the_network(yard: Yard) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        report = await built_report(
            yard,
            f"""
            for attempt in (
                lambda: socket.create_connection(("127.0.0.1", {server.getsockname()[1]}), 1),
                lambda: socket.create_connection(("192.0.2.1", 80), 1),
                lambda: socket.getaddrinfo("index.example", 443),
                lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 53)),
            ):
                try:
                    attempt()
                    report.append("reached")
                except OSError as error: report.append(type(error).__name__)
            """,
        )
    assert len(report) == 4
    assert "reached" not in report


async def test_it_cannot_change_the_sources_or_the_requirements_for_the_next_build(yard: Yard) -> None:
    report = await built_report(
        yard,
        """
        import tiny
        for path in ("/input/name.txt", tiny.__file__, sys.prefix + "/pyvenv.cfg"):
            for attempt in (lambda: open(path, "a"), lambda: os.chmod(path, 0o777), lambda: os.unlink(path)):
                try:
                    attempt()
                    report.append(path)
                except OSError: pass
        """,
    )
    assert report == []


async def test_a_fork_bomb_is_held(yard: Yard) -> None:
    report = await built_report(
        yard,
        """
        try:
            for index in range(2000):
                if os.fork() == 0: time.sleep(1000)
        except BlockingIOError: report.append(index)
        """,
        replace(BUILD_LIMITS, processes=60),
    )
    assert isinstance(report[0], int)
    assert report[0] < 60


async def test_a_disk_is_not_filled(yard: Yard) -> None:
    report = await built_report(
        yard,
        """
        import shutil
        os.mkdir("/tmp/fill")
        try:
            for index in range(2000):
                with open(f"/tmp/fill/{index}", "wb") as file: file.write(bytes(1 << 20))
        except OSError as error:
            report += [index, error.strerror]
            shutil.rmtree("/tmp/fill")
        """,
        replace(BUILD_LIMITS, scratch_bytes=32 * MIB),
    )
    assert report[1] == "No space left on device"
    assert report[0] in range(20, 33)


async def test_a_build_that_runs_forever_is_ended_and_told(yard: Yard) -> None:
    source = sdist(yard.place, {"build.py": "import signal, time\nsignal.signal(15, signal.SIG_IGN)\ntime.sleep(1000)"})
    with pytest.raises(BuildFailed, match="was ended after 3 s, the limit"):
        await yard.builder(replace(BUILD_LIMITS, wall_s=3)).wheel(source, PYTHON)
    assert yard.left_behind() == []


async def test_a_daemon_does_not_outlive_the_build(yard: Yard) -> None:
    """It would hold the build's pipes: that the build ends shows that it did."""
    code = """
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0: time.sleep(1000)
            os._exit(0)
        report.append("gone")
    """
    with trio.fail_after(30):
        assert await built_report(yard, code) == ["gone"]


async def test_a_flood_of_output_is_cut_and_a_small_log_is_kept(yard: Yard) -> None:
    source = sdist(yard.place, {"build.py": "while True: print('x' * 1000)"})
    with pytest.raises(BuildFailed, match="wrote more than 200 kB of output") as caught:
        await yard.builder(replace(BUILD_LIMITS, stderr_bytes=200_000)).wheel(source, PYTHON)
    assert caught.value.log is not None
    assert caught.value.log.stat().st_size <= 200_000
    assert len(caught.value.output) < 10_000


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("b'[]' + bytes([10])", "ended with exit code 0"),
        ("b'{}' + bytes([10])", "gave an answer that is none"),
        ("b'x' * (2 << 20)", "more than 1.0 MB of JSON"),
        ("""b'{"name": "../../x-1-py3-none-any.whl", "size": 0}' + bytes([10])""", "an answer that is none"),
        ("""b'{"name": "demo-1.0-py3-none-any.whl", "size": 5}' + bytes([10]) + b"abc\"""", "an answer that is none"),
        ("""b'{"name": "demo-1.0-py3-none-any.whl", "size": 3}' + bytes([10]) + b"abc\"""", "is no wheel"),
        ("b'[' * 100000 + bytes([10])", "ended with exit code 0"),
    ],
)
async def test_a_forged_answer_is_no_wheel(yard: Yard, said: str, sentence: str) -> None:
    """The hook's own stdout is ours; a hostile build finds it all the same."""
    code = f"""
        for descriptor in range(3, 20):
            try: os.write(descriptor, b"")
            except OSError: continue
            for at in range(0, len({said}), 65536): os.write(descriptor, ({said})[at : at + 65536])
            os._exit(0)
    """
    source = sdist(yard.place, {"build.py": "import os\n" + textwrap.dedent(code)})
    with pytest.raises(BuildFailed, match=sentence):
        await yard.builder().wheel(source, PYTHON)
    assert yard.left_behind() == []


async def test_a_hostile_archive_is_refused_before_anything_runs(yard: Yard) -> None:
    source = sdist(yard.place, {"../../../escape": "x"})
    with pytest.raises(Refused, match="would be written outside"):
        await yard.builder().wheel(source, PYTHON)
    assert yard.environments.asked == []
    assert yard.left_behind() == []


class Holed(RealProcesses):
    """A machine whose sandbox has a hole: what should run in it runs as it is, after a launcher's good word."""

    def open(self, argv, environment, directory=None):  # type: ignore[no-untyped-def]
        if "p2pcdn.sandbox.launcher" in " ".join(argv):
            argv = [*argv[:4], _HOLED_LAUNCHER, *argv[5:]]
        return super().open(argv, environment, directory)


_HOLED_LAUNCHER = (
    "import sys, os; sys.path.append(sys.argv[1])\n"
    "from p2pcdn.sandbox.plan import read_plan, write_ready\n"
    "plan = read_plan(0); write_ready(1, 7, True)\n"
    "os.execve(plan['argv'][0], plan['argv'], {})\n"
)


async def test_nothing_is_built_where_a_probe_gets_out(yard: Yard) -> None:
    yard.processes = Holed()
    marker = yard.place / "built"
    source = sdist(yard.place, {"build.py": f"open({str(marker)!r}, 'w')"})
    with pytest.raises(SandboxUnusable, match=r"it reads a file outside .*Nothing was run"):
        await yard.builder().wheel(source, PYTHON)
    assert not marker.exists()


class Without(RealProcesses):
    """A machine that has no sandbox."""

    def open(self, argv, environment, directory=None):  # type: ignore[no-untyped-def]
        if "p2pcdn.sandbox.launcher" in " ".join(argv):
            argv = [*argv[:4], _NO_LAUNCHER]
        return super().open(argv, environment, directory)


_NO_LAUNCHER = "print('missing user namespaces are switched off')"


async def test_without_a_sandbox_nothing_is_built_unless_the_user_allows_it(bare_yard: Yard) -> None:
    bare_yard.processes = Without()
    builder, source = bare_yard.builder(), sdist(bare_yard.place, {})
    with pytest.raises(SandboxUnusable, match=r"user namespaces are switched off\. Nothing was run"):
        await builder.wheel(source, PYTHON)
    built = await builder.wheel(source, PYTHON, allow_unsandboxed=True)
    assert (built.layers, built.kept) == (None, False)
    assert built.bare_because is not None
    assert "user namespaces are switched off" in built.bare_because
    assert b"outside of a sandbox, as allowed" in built.log.read_bytes()
    assert bare_yard.left_behind() == []


async def test_a_build_that_needs_what_no_sandbox_gives_runs_outside_if_the_user_allows_it(yard: Yard) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5).close()"
        source = sdist(yard.place, {"build.py": code})
        with pytest.raises(BuildFailed, match="PermissionError"):
            await yard.builder().wheel(source, PYTHON)
        built = await yard.builder().wheel(source, PYTHON, allow_unsandboxed=True)
    assert built.layers is None
    assert built.bare_because is not None
    assert "build_wheel of its backend tiny failed: PermissionError" in built.bare_because


async def test_a_wheel_from_outside_of_a_sandbox_is_not_given_to_who_wants_one_from_inside(yard: Yard) -> None:
    sandboxed = yard.processes
    source = sdist(yard.place, {})
    yard.processes = Without()
    bare = await yard.builder().wheel(source, PYTHON, allow_unsandboxed=True)
    yard.processes = sandboxed
    built = await yard.builder().wheel(source, PYTHON, allow_unsandboxed=True)
    assert built.bare_because is None
    assert built.key != bare.key
    assert not built.kept


async def test_what_an_unsandboxed_build_leaves_running_is_ended_with_it(bare_yard: Yard) -> None:
    bare_yard.processes = Without()
    code = "import os, time\nif os.fork() == 0: time.sleep(1000)"
    started = time.monotonic()
    await bare_yard.builder().wheel(sdist(bare_yard.place, {"build.py": code}), PYTHON, allow_unsandboxed=True)
    assert time.monotonic() - started < 100
