"""Programs in a real sandbox: what they are given, what they are refused, and how they end."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
import trio

from p2pcdn.errors import SandboxUnusable
from p2pcdn.sandbox import run as run_module
from p2pcdn.sandbox.plan import SCRATCH
from p2pcdn.sandbox.run import drive, how_it_ended, open_sandbox, run
from p2pcdn.sandbox.spec import MIB, Bind, Limits, Spec
from p2pcdn_daemon.doors.processes import RealProcesses
from tests.sandbox.programs import ENVIRONMENT, python, spec


async def said(door: RealProcesses, code: str, *binds: Bind, **limits: float) -> str:
    """What a Python program printed; it must have ended well."""
    outcome = await run(door, spec(*binds, **limits), python(code))
    assert outcome.code == 0, outcome.stderr.decode()
    return outcome.stdout.decode().strip()


async def test_it_hears_and_answers_and_its_exit_code_is_told(processes: RealProcesses) -> None:
    outcome = await run(processes, Spec(), ["/bin/sh", "-c", "cat; echo oh >&2; exit 3"], b"hello")
    assert (outcome.stdout, outcome.stderr, outcome.code, outcome.broke) == (b"hello", b"oh\n", 3, None)


async def test_a_signal_that_ends_it_is_told(processes: RealProcesses) -> None:
    for name in ("TERM", "SEGV", "KILL"):
        outcome = await run(processes, Spec(), ["/bin/sh", "-c", f"kill -{name} $$"])
        assert outcome.code == -signal.Signals[f"SIG{name}"]


async def test_a_program_that_is_not_there_is_no_fault_of_the_sandbox(processes: RealProcesses) -> None:
    outcome = await run(processes, Spec(), ["/usr/bin/no-such-program"])
    assert outcome.code == 127
    assert outcome.stderr == b"/usr/bin/no-such-program cannot be started: No such file or directory\n"


async def test_a_program_that_stays_is_talked_with_and_ends_with_its_block(processes: RealProcesses) -> None:
    code = "import sys\nfor line in sys.stdin: print(line.upper(), end='', flush=True)"
    with trio.fail_after(30):
        async with open_sandbox(processes, spec(), python(code)) as (process, _):
            for word in (b"one\n", b"two\n"):
                await process.stdin.send_all(word)
                assert await process.stdout.receive_some(100) == word.upper()
    assert await process.wait() == -signal.SIGKILL


async def test_it_sees_what_it_is_given_and_cannot_change_it(processes: RealProcesses, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "file").write_text("content")
    code = """
        print(open("/shown/file").read())
        for attempt in ("/shown/new", "/shown/file", "/usr/new", "/new", "/etc/passwd"):
            try: open(attempt, "w")
            except OSError as error: print(error.strerror)
    """
    lines = (await said(processes, code, Bind(given, PurePosixPath("/shown")))).splitlines()
    assert lines[0] == "content"
    assert set(lines[1:]) <= {"Read-only file system", "Permission denied"}
    assert len(lines) == 6
    assert (given / "file").read_text() == "content"


async def test_what_is_shown_writable_can_be_written(processes: RealProcesses, tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o777)  # noqa: PTH101
    await said(processes, f"open({str(tmp_path / 'made')!r}, 'w').write('yes')", Bind(tmp_path, writable=True))
    assert os.listdir(tmp_path) == ["made"]  # noqa: PTH208


async def test_secrets_outside_cannot_be_reached_by_any_path(processes: RealProcesses, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o644)
    code = f"""
        import os
        places = [{str(secret)!r}, "/etc/shadow", os.path.expanduser("~/.ssh/id_rsa"), "/proc/1/root{secret}"]
        places += ["{SCRATCH}/../..{secret}", *[f"/proc/self/{{way}}/..{secret}" for way in ("root", "cwd/..")]]
        print([place for place in places if os.path.exists(place)])
    """
    assert await said(processes, code) == "[]"


async def test_nobody_answers_it_on_the_network(processes: RealProcesses) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(name := f"\0p2pcdn-test-{os.getpid()}")
        abstract.listen()
        code = f"""
            import socket
            inet, unix = ("127.0.0.1", {server.getsockname()[1]}), {name!r}
            for family, address in ((socket.AF_INET, inet), (socket.AF_UNIX, unix)):
                try:
                    socket.socket(family).connect(address)
                    print("connected")
                except OSError as error:
                    print(type(error).__name__)
        """
        lines = (await said(processes, code)).splitlines()
    assert "connected" not in lines
    assert len(lines) == 2


async def test_multiprocessing_and_its_unix_sockets_work_inside(processes: RealProcesses) -> None:
    code = """
        import multiprocessing.connection as c, multiprocessing, os
        listener = c.Listener("/scratch/tmp/here")
        if os.fork() == 0:
            c.Client("/scratch/tmp/here").send("hello")
            os._exit(0)
        lock = multiprocessing.Lock()
        with lock: print(listener.accept().recv(), os.listdir("/dev/fd") != [])
    """
    assert await said(processes, code) == "hello True"


async def test_it_has_this_environment_and_these_descriptors_and_no_rights(processes: RealProcesses) -> None:
    os.environ["P2PCDN_SECRET"] = "secret"
    inherited = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    code = """
        import json, os
        status = dict(line.split(":\\t", 1) for line in open("/proc/self/status"))
        rights = [status[name].strip() for name in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp")]
        open_now = [fd for fd in range(64) if os.path.exists(f"/proc/self/fd/{fd}")]
        who = [os.getuid(), os.uname().nodename, os.getsid(0) == os.getpid()]
        print(json.dumps([dict(os.environ), open_now, rights, who]))
    """
    try:
        environment, descriptors, rights, who = json.loads(await said(processes, code))
    finally:
        del os.environ["P2PCDN_SECRET"]
        os.close(inherited)
    assert environment == ENVIRONMENT
    assert descriptors == [0, 1, 2]
    assert rights == ["0" * 16, "0" * 16, "1", "2"]
    assert who == [1000, "sandbox", True]


async def test_a_program_that_runs_forever_is_ended(processes: RealProcesses) -> None:
    limits = Limits(wall_s=0.5)
    outcome = await run(processes, Spec(limits=limits), ["/bin/sh", "-c", "while :; do :; done"])
    assert outcome.broke == "wall_s"
    assert how_it_ended(outcome, limits) == "was ended after 0.5 s, the limit"


async def test_a_program_that_computes_too_long_is_ended(processes: RealProcesses) -> None:
    limits = Limits(cpu_s=1)
    outcome = await run(processes, Spec(limits=limits), ["/bin/sh", "-c", "while :; do :; done"])
    # The soft and the hard limit are one, so that nobody can ignore it: the kernel kills at once.
    assert outcome.code in (-signal.SIGXCPU, -signal.SIGKILL)


async def test_a_flood_of_output_is_cut(processes: RealProcesses) -> None:
    limits = Limits(stdout_bytes=100_000, stderr_bytes=90_000)
    for stream, broke in (("&1", "stdout_bytes"), ("&2", "stderr_bytes")):
        outcome = await run(processes, Spec(limits=limits), ["/bin/sh", "-c", f"yes >{stream}"])
        assert outcome.broke == broke
        assert "was ended because it wrote more than" in how_it_ended(outcome, limits)
        assert len(outcome.stdout) + len(outcome.stderr) <= 100_000


async def test_a_fork_bomb_meets_its_limit(processes: RealProcesses) -> None:
    code = """
        import os, time
        count = 0
        try:
            while count < 1000:
                if os.fork() == 0:
                    time.sleep(1000)
                count += 1
        except BlockingIOError:
            print(count)
    """
    assert int(await said(processes, code, processes=40)) < 40


async def test_a_full_scratch_and_a_long_file_meet_their_limits(processes: RealProcesses) -> None:
    code = """
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            for index in range(100):
                with open(f"{('/tmp', '/dev/shm')[index % 2]}/{index}", "wb") as file: file.write(bytes(1 << 20))
        except OSError as error: print(error.strerror, index)
        try:
            open("/scratch/home/long", "wb").truncate(9 << 20)
        except OSError as error: print(error.strerror)
    """
    lines = (await said(processes, code, scratch_bytes=4 * MIB, file_bytes=8 * MIB)).splitlines()
    assert lines[0].startswith("No space left on device")
    assert int(lines[0].split()[-1]) <= 4
    assert lines[1] == "File too large"


async def test_memory_meets_its_limit(processes: RealProcesses) -> None:
    code = """
        try: bytearray(600 << 20)
        except MemoryError: print("no")
    """
    assert await said(processes, code, address_space_bytes=512 * MIB) == "no"


async def test_the_memory_of_all_processes_together_meets_its_limit(processes: RealProcesses) -> None:
    """Each of them keeps below every limit of its own."""
    code = """
        import os, time
        for _ in range(12):
            if os.fork() == 0:
                taken = b"x" * (16 << 20)
                time.sleep(1000)
        time.sleep(1000)
    """
    limits = Limits(address_space_bytes=512 * MIB, memory_bytes=128 * MIB, wall_s=30)
    outcome = await run(processes, replace(spec(), limits=limits), python(code))
    assert (outcome.code, outcome.broke) == (-signal.SIGKILL, None)
    assert outcome.stderr == b"sandbox: ended, for it took more than 128 MiB of memory\n"


async def test_a_program_whose_complaints_nobody_reads_meets_that_limit_too(processes: RealProcesses) -> None:
    code = """
        import os, time
        if os.fork() == 0:
            while True: os.write(2, b"x" * 4096)
        time.sleep(0.1)
        taken = b"x" * (200 << 20)
        time.sleep(1000)
    """
    with trio.fail_after(20):
        async with open_sandbox(processes, spec(memory_bytes=128 * MIB), python(code)) as (process, _):
            assert await process.wait() == -signal.SIGKILL


async def test_shared_memory_is_counted_once(processes: RealProcesses) -> None:
    code = """
        import os, time
        shared = b"x" * (64 << 20)
        children = [os.fork() or time.sleep(1) or os._exit(0) for _ in range(8)]
        print([os.waitpid(child, 0)[1] for child in children])
    """
    assert await said(processes, code, memory_bytes=200 * MIB) == str([0] * 8)


async def test_nothing_that_it_started_outlives_it(processes: RealProcesses) -> None:
    """A daemon holds our pipe: that the read below ends shows that the daemon did."""
    code = """
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0: time.sleep(1000)
            os._exit(0)
        print("gone")
    """
    with trio.fail_after(20):
        assert await said(processes, code) == "gone"


async def test_a_call_by_the_table_of_32_bits_ends_it(processes: RealProcesses) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("only x86-64 has a second table of 32 bits")
    code = """
        import ctypes, mmap
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3")  # mov eax, 20 (getpid); int 0x80; ret
        print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())
    """
    outcome = await run(processes, spec(), python(code))
    # SIGSEGV where the kernel has no such table at all.
    assert outcome.code in (-signal.SIGSYS, -signal.SIGSEGV)
    assert outcome.stdout == b""


NODE = """
import trio
from p2pcdn.errors import SandboxUnusable
from p2pcdn.sandbox import run as run_module
from p2pcdn.sandbox.run import open_sandbox
from p2pcdn.sandbox.spec import Spec
from p2pcdn_daemon.doors.processes import RealProcesses

async def main():
    async with open_sandbox(RealProcesses(), Spec(), ["/bin/sh", "-c", "sleep 1000 & sleep 1000"]):
        print("running", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def test_the_sandbox_ends_with_the_node(processes: RealProcesses) -> None:
    """A node that is killed cannot tidy up: the keeper sees it end."""
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", NODE], env=environment, stdout=subprocess.PIPE) as node:
        assert node.stdout is not None
        assert node.stdout.readline() == b"running\n"
        inside = [os.pidfd_open(one) for one in _descendants(node.pid)]
        assert len(inside) >= 3
        node.kill()
    for one in inside:
        assert select.select([one], [], [], 20)[0]
        os.close(one)


def _descendants(parent: int) -> list[int]:
    """By number; the keeper, the init, the program and what it started."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [parent]
    for one in found:
        found += [child for child, its in parents.items() if its == one]
    return found[1:]


async def test_many_run_at_once_and_know_nothing_of_each_other(processes: RealProcesses) -> None:
    outcomes: list[bytes] = []

    async def one(number: int) -> None:
        code = f"import os; open('/scratch/mine', 'x').write('{number}'); print(os.listdir('/scratch'), os.getpid())"
        outcomes.append((await run(processes, spec(), python(code))).stdout)

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(one, number)
    assert len(set(outcomes)) == 1
    assert b"'mine'" in outcomes[0]


async def test_a_sink_takes_what_is_written_as_it_comes(processes: RealProcesses) -> None:
    parts: list[bytes] = []

    async def take(part: bytes) -> None:
        parts.append(part)

    outcome = await run(processes, Spec(), ["/bin/sh", "-c", "echo one; echo two >&2"], stdout=take)
    assert (b"".join(parts), outcome.stdout, outcome.stderr) == (b"one\n", b"", b"two\n")


async def test_a_program_outside_of_a_sandbox_has_the_same_limits_of_time_and_output(processes: RealProcesses) -> None:
    async with processes.open(["/bin/sh", "-c", "sleep 1000"], {}) as process:
        assert (await drive(process, Limits(wall_s=0.3))).broke == "wall_s"


async def test_a_daemon_of_a_program_outside_of_a_sandbox_is_told_and_not_waited_for(
    processes: RealProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It left the group, so nobody of us ends it; it lets go of its own accord when the test is over."""
    monkeypatch.setattr(run_module, "DRAIN_TIMEOUT_S", 0.5)
    code = (
        "import os, time\nchild = os.fork()\nif child == 0:\n os.setsid()\n"
        " if os.fork() == 0: time.sleep(12)\n os._exit(0)\n"
        "os.waitpid(child, 0)"  # whoever has not left the group yet is ended with it
    )
    async with processes.open(python(code), {}) as process:
        outcome = await drive(process, Limits(wall_s=100))
    assert (outcome.code, outcome.broke) == (0, "left_running")
    assert how_it_ended(outcome, Limits()) == "left something running that holds its output open"


async def test_a_launcher_that_cannot_be_started_is_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(SandboxUnusable, match="its launcher cannot be started"):
        await run(RealProcesses(), Spec(), ["/bin/true"])


async def test_a_launcher_that_dies_is_no_sandbox_and_its_last_words_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "_BOOT", "raise SystemExit('no ctypes here')")
    with pytest.raises(SandboxUnusable, match="its launcher ended: no ctypes here"):
        await run(RealProcesses(), Spec(), ["/bin/true"])


async def test_another_system_than_linux_has_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SandboxUnusable, match="it is made of what Linux has, and this is darwin"):
        await run(RealProcesses(), Spec(), ["/bin/true"])
