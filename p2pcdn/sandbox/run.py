"""Runs a program in a sandbox: to its end, or for as long as somebody talks with it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import trio

import p2pcdn
from p2pcdn.errors import SandboxUnusable
from p2pcdn.sandbox.plan import REPORT_SIZE_BYTES_MAX, encode, read_report
from p2pcdn.sandbox.spec import Limits, Spec, outside, plan
from p2pcdn.sizes import format_size
from p2pcdn.world import Process, Processes

if TYPE_CHECKING:
    from p2pcdn.sandbox.plan import Plan

Broken = Literal["wall_s", "stdout_bytes", "stderr_bytes", "left_running"]
Sink = Callable[[bytes], Awaitable[None]]

# Our own modules come last: in a directory of installed packages others may have names of the standard library.
_BOOT = "import sys; sys.path.append(sys.argv[1]); from p2pcdn.sandbox.launcher import main; main()"
_HOME = str(Path(p2pcdn.__file__).parent.parent)
_UID_MAP = Path("/proc/self/uid_map")
# A machine under full load takes a second for what takes it 0.1 s.
LAUNCH_TIMEOUT_S = 30.0
# What a pipe still holds when its writer has ended, 64 KiB, is read in no time, even onto a busy disk.
DRAIN_TIMEOUT_S = 5.0
_READ_SIZE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Layers:
    """Which walls stand that not every machine has. landlock: the version of its interface, 0 for none.

    proc: whether there is a /proc inside. The namespaces, the filter and the limits always stand, else nothing runs.
    """

    landlock: int
    proc: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended.

    code: its exit code, minus the signal that ended it. broke: the limit of ours for which we ended it ourselves;
    "left_running" where it ended, and something else kept its pipes open, which no sandbox lets happen.
    stdout, stderr: what it wrote, as far as no sink took it.
    """

    code: int
    broke: Broken | None
    stdout: bytes
    stderr: bytes
    layers: Layers | None


@asynccontextmanager
async def open_sandbox(processes: Processes, spec: Spec, argv: Sequence[str]) -> AsyncIterator[tuple[Process, Layers]]:
    """A program in its sandbox, its pipes at our end; leaving the block ends it and all that it started.

    argv: the first is an absolute path inside. Raises SandboxUnusable with what is missing, before anything ran.
    """
    async with open_launcher(processes, planned(spec, argv)) as opened:
        yield opened


def planned(spec: Spec, argv: Sequence[str]) -> Plan:
    """The plan of this process on this machine. Raises SandboxUnusable."""
    _check_system()
    machine = os.uname().machine
    try:
        return plan(spec, argv, machine=machine, parent=os.getpid(), user=user_outside(spec))
    except KeyError:
        raise _unusable(f"it is not made for machines of the kind {machine}") from None


def user_outside(spec: Spec) -> tuple[int, int]:
    """The uid and gid that a program of this spec has outside of its sandbox. Raises SandboxUnusable."""
    _check_system()
    try:
        return outside(spec, (os.geteuid(), os.getegid()), _UID_MAP.read_text("ascii"))
    except OSError as error:
        raise _unusable(f"{_UID_MAP} cannot be read ({error.strerror}); it needs /proc") from error


def _check_system() -> None:
    if sys.platform != "linux":
        raise _unusable(f"it is made of what Linux has, and this is {sys.platform}")


@asynccontextmanager
async def open_launcher(processes: Processes, told: Plan) -> AsyncIterator[tuple[Process, Layers]]:
    """Like `open_sandbox`, from a plan that is made."""
    async with AsyncExitStack() as ends:
        try:
            opening = processes.open([sys.executable, "-I", "-S", "-c", _BOOT, _HOME], {})
            process = await ends.enter_async_context(opening)
        except OSError as error:
            raise _unusable(f"its launcher cannot be started ({error})") from error
        with trio.move_on_after(LAUNCH_TIMEOUT_S) as patience:
            layers = await _launched(process, told)
        if patience.cancelled_caught:
            raise _unusable(f"its launcher said nothing for {LAUNCH_TIMEOUT_S:.0f} s")
        yield process, layers


async def run(
    processes: Processes,
    spec: Spec,
    argv: Sequence[str],
    stdin: bytes = b"",
    *,
    stdout: Sink | None = None,
    stderr: Sink | None = None,
) -> Outcome:
    """Runs a program to its end, or to a limit's. Raises SandboxUnusable; what a sink raises ends the program."""
    async with open_sandbox(processes, spec, argv) as (process, layers):
        return await drive(process, spec.limits, stdin, stdout=stdout, stderr=stderr, layers=layers)


async def drive(
    process: Process,
    limits: Limits,
    stdin: bytes = b"",
    *,
    stdout: Sink | None = None,
    stderr: Sink | None = None,
    layers: Layers | None = None,
) -> Outcome:
    """Feeds a program that was opened and takes what it writes, within wall_s and the limits of both streams."""
    out, err = _Stream(limits.stdout_bytes, stdout), _Stream(limits.stderr_bytes, stderr)
    code: int | None = None
    with trio.move_on_after(limits.wall_s) as patience:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_feed, process, stdin)
            nursery.start_soon(out.drain, process.stdout, process)
            nursery.start_soon(err.drain, process.stderr, process)
            code = await process.wait()
            # A program outside of a sandbox may leave others behind; most end with its group.
            process.kill()
            patience.deadline = min(patience.deadline, trio.current_time() + DRAIN_TIMEOUT_S)
    process.kill()
    for stream in (out, err):
        if stream.error is not None:
            raise stream.error
    broke: Broken | None = "stdout_bytes" if out.full else "stderr_bytes" if err.full else None
    if patience.cancelled_caught:
        broke = "wall_s" if code is None else "left_running"
    return Outcome(-signal.SIGKILL if code is None else code, broke, bytes(out.kept), bytes(err.kept), layers)


def how_it_ended(outcome: Outcome, limits: Limits) -> str:
    """The second half of a sentence whose subject is the program."""
    if outcome.broke == "wall_s":
        return f"was ended after {limits.wall_s:g} s, the limit"
    if outcome.broke == "left_running":
        return "left something running that holds its output open"
    if outcome.broke:
        size_bytes = {"stdout_bytes": limits.stdout_bytes, "stderr_bytes": limits.stderr_bytes}[outcome.broke]
        return f"was ended because it wrote more than {format_size(size_bytes)} of output"
    sentences = {
        -signal.SIGXCPU: f"used more than {limits.cpu_s} s of processor time",
        -signal.SIGXFSZ: f"wrote a file of more than {format_size(limits.file_bytes)}",
        -signal.SIGSYS: "made a system call of another machine's",
        -signal.SIGKILL: "was killed (by the kernel, where memory ran out)",
    }
    if outcome.code < 0:
        return sentences.get(outcome.code, f"was ended by {signal.Signals(-outcome.code).name}")
    return f"ended with exit code {outcome.code}"


class _Stream:
    """One stream of a program, up to its limit."""

    def __init__(self, size_bytes_max: int, sink: Sink | None) -> None:
        self.kept = bytearray()
        self.full = False
        self.error: Exception | None = None
        self._left = size_bytes_max
        self._sink = sink or self._keep

    async def drain(self, stream: trio.abc.ReceiveStream, process: Process) -> None:
        while part := await stream.receive_some(_READ_SIZE_BYTES):
            self._left -= len(part)
            self.full = self._left < 0
            try:
                if not self.full:
                    await self._sink(bytes(part))
            except Exception as error:  # raised by `drive`, where it is no group of one
                self.error = error
            if self.full or self.error is not None:
                process.kill()
                return

    async def _keep(self, part: bytes) -> None:
        self.kept += part


async def _feed(process: Process, stdin: bytes) -> None:
    try:
        await process.stdin.send_all(stdin)
        await process.stdin.aclose()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # it ended, or did not want to hear all


async def _launched(process: Process, told: Plan) -> Layers:
    try:
        await process.stdin.send_all(encode(told))
    except trio.BrokenResourceError:
        pass  # why, it says on its stdout
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < REPORT_SIZE_BYTES_MAX:
        byte = await process.stdout.receive_some(1)
        if not byte:
            raise _unusable(f"its launcher ended: {await _last_words(process)}")
        line += byte
    report = read_report(bytes(line))
    if isinstance(report, str):
        raise _unusable(report)
    return Layers(*report)


async def _last_words(process: Process) -> str:
    words = bytes(await process.stderr.receive_some(_READ_SIZE_BYTES)).decode("utf-8", "replace").strip()
    return words.splitlines()[-1] if words else f"exit code {await process.wait()}"


def _unusable(why: str) -> SandboxUnusable:
    return SandboxUnusable(f"There is no sandbox on this machine: {why}. Nothing was run.")
