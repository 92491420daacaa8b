"""Shuts the doors of a sandbox one after the other, then becomes the program. A program of its own: stdlib and ctypes.

Three processes: the *keeper* stays outside, watches its parent and mirrors how it ended; the *init* is process 1 of the
sandbox and builds its root; the last one takes the remaining rights off itself and becomes the program. When the
keeper dies, the kernel ends the init, and with it everything that was ever started inside.
"""

from __future__ import annotations

import os
import resource
import select

from p2pcdn.sandbox import kernel, landlock, memory, obstacles, root
from p2pcdn.sandbox.plan import SCRATCH, read_plan, write_missing, write_ready

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from p2pcdn.sandbox.plan import Plan

# Who the program is inside. Not root: much software behaves otherwise, or badly, as root.
INSIDE_ID = 1000
# The launcher's own exit codes, after sysexits.h and the shell: no sandbox; the program could not be started.
EXIT_MISSING, EXIT_NO_PROGRAM = 70, 127

_NAMESPACES = (
    kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWCGROUP
)  # fmt: skip
_STDIN, _STDOUT, _STDERR = 0, 1, 2
_STATUS_SIZE_BYTES = 4


def main() -> NoReturn:
    plan = read_plan(_STDIN)
    _guard(lambda: _keep(plan))


def _keep(plan: Plan) -> NoReturn:
    os.closerange(3, 1 << 20)
    obstacles.check_kernel()
    parent = _watch_parent(plan["parent"])
    keeper = os.pidfd_open(os.getpid())
    _enter_namespaces(plan)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    told, tell = os.pipe()
    init = os.fork()
    if init == 0:
        _guard(lambda: _init(plan, keeper, tell))
    os.close(tell)
    # Only the program holds its pipes: when it is gone, whoever reads them sees their end.
    _let_go_of_streams()
    _wait_for(init, parent)
    status = os.read(told, _STATUS_SIZE_BYTES)
    _mirror(int.from_bytes(status, "big") if status else kernel.SIGKILL)


def _watch_parent(parent: int) -> int:
    """A descriptor that becomes readable when the parent has ended.

    PR_SET_PDEATHSIG would follow the *thread* that started us, and trio starts programs in threads that come and go.
    """
    watched = os.pidfd_open(parent)
    if os.getppid() != parent:
        os._exit(EXIT_MISSING)  # it died before we looked, and nobody listens
    return watched


def _enter_namespaces(plan: Plan) -> None:
    """New namespaces, in which the plan's user is INSIDE_ID. Root's maps must be written from outside, so all are."""
    _leave_groups()
    ready, go = os.pipe()
    ourselves = os.getpid()
    writer = os.fork()
    if writer == 0:
        os.close(go)
        _guard(lambda: _write_maps(ourselves, plan, ready))
    os.close(ready)
    try:
        kernel.unshare(_NAMESPACES)
    except OSError as error:
        raise obstacles.no_namespaces(error) from error
    os.write(go, b"!")
    os.close(go)
    if os.waitpid(writer, 0)[1] != 0:
        raise obstacles.Missing(f"user {plan['user']} cannot be shown in a user namespace of this container")


def _leave_groups() -> None:
    """Only root can; and not in a container without the right, where the groups are those of an ordinary user."""
    try:
        os.setgroups([])
    except PermissionError:
        pass


def _write_maps(process: int, plan: Plan, ready: int) -> None:
    if os.read(ready, 1) != b"!":
        os._exit(1)
    lines = {
        "setgroups": "deny",
        "uid_map": f"{INSIDE_ID} {plan['user']} 1",
        "gid_map": f"{INSIDE_ID} {plan['group']} 1",
    }
    try:
        for name, line in lines.items():
            with open(f"/proc/{process}/{name}", "w", encoding="utf-8") as file:
                file.write(line)
    except OSError:
        os._exit(1)
    os._exit(0)


def _init(plan: Plan, keeper: int, tell: int) -> None:
    """Process 1: builds the root, starts the program, buries the orphans, and ends with the program."""
    kernel.set_signal(kernel.SIGINT, ignored=True)
    try:
        kernel.mount("", "/", kernel.MS_REC | kernel.MS_PRIVATE)
        trees = root.Trees(plan)
        os.setresgid(INSIDE_ID, INSIDE_ID, INSIDE_ID)
        os.setresuid(INSIDE_ID, INSIDE_ID, INSIDE_ID)
        proc = root.enter(plan, trees)
    except OSError as error:
        raise obstacles.no_mounts(error) from error
    _die_with(keeper)
    kernel.syscall("sethostname", {"x86_64": 170, "aarch64": 161}[os.uname().machine], b"sandbox", 7)
    program = os.fork()
    if program == 0:
        _guard(lambda: _become(plan, proc))
    complain = os.dup(_STDERR)
    _let_go_of_streams()
    status = _watch_over(program, plan["memory_bytes"] if proc else None, complain)
    os.write(tell, status.to_bytes(_STATUS_SIZE_BYTES, "big"))
    os._exit(0)


def _watch_over(program: int, memory_bytes: int | None, complain: int) -> int:
    """Buries orphans, and ends the program when all together take too much memory. The program's status."""
    ended = select.poll()
    ended.register(os.pidfd_open(program), select.POLLIN)
    while True:
        ended.poll(memory.LOOK_INTERVAL_S * 1000)
        process, status = os.waitpid(-1, os.WNOHANG)
        while process not in (0, program):
            process, status = os.waitpid(-1, os.WNOHANG)
        if process == program:
            return status
        if memory_bytes is not None and memory.is_over(memory_bytes):
            _end_all(complain, f"sandbox: ended, for it took more than {memory_bytes >> 20:,} MiB of memory\n")
            return kernel.SIGKILL


def _end_all(complain: int, why: str) -> None:
    """First all but ourselves, then the word: into a pipe that they had filled it would never get."""
    os.kill(-1, kernel.SIGKILL)
    if select.select([], [complain], [], 0)[1]:
        os.write(complain, why.encode())


def _die_with(keeper: int) -> None:
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, kernel.SIGKILL)
    if select.select([keeper], [], [], 0)[0]:
        os._exit(EXIT_MISSING)
    os.close(keeper)


def _become(plan: Plan, proc: bool) -> None:
    os.setsid()
    os.closerange(3, 1 << 20)
    os.umask(0o022)
    kernel.set_signal(kernel.SIGINT, ignored=False)
    kernel.set_signal(kernel.SIGPIPE, ignored=False)
    for name, value in plan["limits"]:
        _limit(getattr(resource, name), value)
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    abi = _restrict_paths(plan, proc) if plan["landlock"] else 0
    os.chdir(plan["directory"])
    kernel.load_filter(plan["filter"])
    write_ready(_STDOUT, abi, proc)
    try:
        os.execve(plan["argv"][0], plan["argv"], plan["environment"])
    except OSError as error:
        os.write(_STDERR, f"{plan['argv'][0]} cannot be started: {error.strerror}\n".encode())
        os._exit(EXIT_NO_PROGRAM)


def _limit(kind: int, value: int) -> None:
    """Sets both halves of a limit; where the node itself may have less, that stays."""
    hard = resource.getrlimit(kind)[1]
    lower = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (lower, lower))


def _restrict_paths(plan: Plan, proc: bool) -> int:
    abi = landlock.version()
    if abi:
        shown = [path for path in plan["system"] if os.path.exists(path)]
        shown += [target for _, target, writable in plan["binds"] if not writable]
        shown += [path for path, _ in plan["files"]] + (["/proc"] if proc else [])
        written = [SCRATCH, "/tmp", "/dev/shm", *filter(os.path.exists, plan["devices"])]
        written += [target for _, target, writable in plan["binds"] if writable]
        landlock.restrict(abi, shown, written)
    return abi


def _guard(step: Callable[[], None]) -> NoReturn:
    """A forked process never returns into its parent's code; what could not be done, the report says."""
    try:
        step()
    except obstacles.Missing as missing:
        write_missing(_STDOUT, str(missing))
    except OSError as error:
        write_missing(_STDOUT, f"{error.filename or 'a system call'}: {error.strerror}")
    except Exception as error:  # a bug of ours, and nobody above to tell it to
        write_missing(_STDOUT, f"{type(error).__name__}: {error}")
    finally:
        os._exit(EXIT_MISSING)


def _let_go_of_streams() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (_STDIN, _STDOUT, _STDERR):
        os.dup2(nothing, stream)
    os.close(nothing)


def _wait_for(init: int, parent: int) -> None:
    """Until the init has ended; ends it if the parent ends first."""
    ended = os.pidfd_open(init)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(parent, select.POLLIN)
    if any(descriptor == parent for descriptor, _ in poll.poll()):
        os.kill(init, kernel.SIGKILL)
    os.waitpid(init, 0)


def _mirror(status: int) -> NoReturn:
    """Ends as the program ended, so that whoever waits for us learns it."""
    if os.WIFSIGNALED(status):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        number = os.WTERMSIG(status)
        kernel.set_signal(number, ignored=False)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))
