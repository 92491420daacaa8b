"""A node started where none runs: for this user, to stay, or a private one that ends with its command."""

from __future__ import annotations

import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL, Popen, TimeoutExpired

from p2pcdn_shim.client import Client, NoNode, find
from p2pcdn_shim.zephyr.errors import ZephyrError
from p2pcdn_shim.zephyr.machine import platforms
from p2pcdn_shim.zephyr.terminal.progress import Progress
from p2pcdn_shim.zephyr.terminal.voice import Voice
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import IO

# A node is ready within a second or two; a large store whose catalog is rebuilt takes longer.
READY_TIME_S = 60.0
# Whose node has the store answers about as soon as ours has found that out; or it listens elsewhere.
OTHERS_READY_TIME_S = 10.0
LOOK_EVERY_S = 0.05
# It ends within five seconds of SIGTERM.
END_TIME_S = 10.0
READY_LINE_BYTES_MAX = 4096
# Who reads the log of a node that did not start wants its last words.
LAST_WORDS_BYTES = 4096


def start(voice: Voice, environ: Mapping[str, str] = os.environ) -> Client:
    """Starts a node for this user, which stays, and says so. Raises ZephyrError."""
    log = platforms.cache_directory(environ) / "node.log"
    with _open_log(log) as opened:
        node, ready = _spawn(["serve", "--leaves-when-replaced", *_free_ports(environ)], environ, opened)
    if _wait_ready(node, ready, voice):
        voice.note(f"Started a node for you (`p2pcdn status`; its log is {log}).")
        return find(environ)
    deadline_s = time.monotonic() + OTHERS_READY_TIME_S
    # Another zephyr was faster, and its node holds the store; else there is something to say.
    is_held = _store_that_nobody_holds(environ) is None
    while True:
        with suppress(NoNode):
            return find(environ)
        if not is_held or time.monotonic() > deadline_s:
            raise ZephyrError(_did_not_start(node, log))
        time.sleep(LOOK_EVERY_S)


def start_again(left: str, voice: Voice, environ: Mapping[str, str] = os.environ) -> Client:
    """The node that comes after one that ends: started here, or by another zephyr meanwhile. Raises ZephyrError.

    left: the socket of the one that ends, or is gone.
    """
    voice.detail("Your node has ended, or ends for p2pcdn was replaced since it was started; another one is asked.")
    deadline_s, was = time.monotonic() + END_TIME_S, _mark(left)
    while _store_that_nobody_holds(environ) is None and time.monotonic() < deadline_s:
        if _mark(left) not in ((), was):
            with suppress(NoNode):
                return find(environ)
        time.sleep(LOOK_EVERY_S)
    return start(voice, environ)


def _mark(socket: str) -> tuple[int, ...]:
    """What another socket under the same name has otherwise; () for none."""
    try:
        status = Path(socket).stat()
    except OSError:
        return ()
    return status.st_ino, status.st_mtime_ns


@contextmanager
def private_node(voice: Voice, environ: Mapping[str, str] = os.environ) -> Iterator[Client]:
    """A node that ends with the block: with the user's store, or a temporary one where a node that runs has that."""
    with tempfile.TemporaryDirectory(prefix="zephyr-") as directory:
        socket = Path(directory) / "control.sock"
        log = Path(directory) / "node.log"
        command = ["serve", "--ephemeral", "--control-socket", str(socket), *_free_ports(environ)]
        store = _store_that_nobody_holds(environ)
        if store is None:
            voice.note("The store belongs to the node that runs; this command works with a temporary one.")
            environ = {name: text for name, text in environ.items() if name != "P2PCDN_STORE"}
        else:
            command += ["--store", str(store)]
        with _open_log(log) as opened:
            node, ready = _spawn(command, environ, opened)
        try:
            if not _wait_ready(node, ready, voice):
                raise ZephyrError(_did_not_start(node, log))
            yield Client(str(socket), temporary=store is None)
        finally:
            _end(node)


def _spawn(arguments: Sequence[str], environ: Mapping[str, str], log: IO[bytes]) -> tuple[Popen[bytes], int]:
    """The process, and the descriptor from which its ready line can be read. A session of its own: Ctrl-C is ours."""
    ready, theirs = os.pipe()
    try:
        node = Popen(
            [sys.executable, "-P", "-m", "p2pcdn_daemon", *arguments, "--ready-fd", str(theirs)],
            stdin=DEVNULL, stdout=DEVNULL, stderr=log, pass_fds=[theirs], start_new_session=True,
            env=_from_anywhere(environ), cwd="/",
        )  # fmt: skip
    except OSError as error:
        os.close(ready)
        raise ZephyrError(f"No node can be started: {error.strerror or error}.") from error
    finally:
        os.close(theirs)
    return node, ready


def _from_anywhere(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process that stands elsewhere: paths in it that begin here are whole ones."""
    from p2pcdn_daemon.configuration.config import SETTINGS
    from p2pcdn_daemon.configuration.kinds import PATH

    whole = dict(environ)
    names = [setting.variable for setting in SETTINGS.values() if setting.kind is PATH]
    for name in (*names, "P2PCDN_CONFIG"):
        if whole.get(name) and not whole[name].startswith("~"):
            whole[name] = str(Path(whole[name]).absolute())
    words = whole.get("P2PCDN_UPSTREAM", "").split()
    if words:
        ours = (str(Path(word).absolute()) if word.startswith(("./", "../")) else word for word in words)
        whole["P2PCDN_UPSTREAM"] = " ".join(ours)
    return whole


def _wait_ready(node: Popen[bytes], ready: int, voice: Voice) -> bool:
    """Whether it said that it is ready, within READY_TIME_S; a node that ended, or is silent, is none."""
    with Progress(voice, "Starting a node", at_once=True):
        if _said(ready).startswith(b"ready "):
            return True
        _end(node)
    return False


def _said(ready: int) -> bytes:
    """The line that came in time, or what there is of one. Closes the pipe."""
    deadline_s = time.monotonic() + READY_TIME_S
    said = b""
    try:
        while not said.endswith(b"\n") and len(said) < READY_LINE_BYTES_MAX:
            wait_s = deadline_s - time.monotonic()
            if wait_s <= 0 or not select.select([ready], [], [], wait_s)[0]:
                break
            piece = os.read(ready, READY_LINE_BYTES_MAX)
            if not piece:
                break
            said += piece
    finally:
        os.close(ready)
    return said


def _end(node: Popen[bytes]) -> None:
    if node.poll() is None:
        node.send_signal(signal.SIGTERM)
    try:
        node.wait(END_TIME_S)
    except TimeoutExpired:
        node.kill()
        node.wait()


def _store_that_nobody_holds(environ: Mapping[str, str]) -> Path | None:
    import fcntl

    from p2pcdn_daemon.configuration.config import ConfigError
    from p2pcdn_daemon.configuration.layers import resolve

    try:
        store = resolve({}, environ).store
    except ConfigError as error:
        raise ZephyrError(str(error)) from error
    try:
        # A node holds this file (docs/store.md), wherever it listens.
        with (store / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    except OSError:
        return store  # nobody was ever there, or the node says what is wrong
    return store


def _free_ports(environ: Mapping[str, str]) -> list[str]:
    """The configured ports, unless another node (the system's, a colleague's) has them: then whatever is free."""
    import socket

    from p2pcdn_daemon.configuration.config import ConfigError
    from p2pcdn_daemon.configuration.layers import resolve

    try:
        config = resolve({}, environ)
    except ConfigError as error:
        raise ZephyrError(str(error)) from error
    flags = []
    for flag, port in (("--port", config.port), ("--peer-port", config.peer_port)):
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                flags += [flag, "0"]
    return flags


def _open_log(log: Path) -> IO[bytes]:
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        return log.open("ab")
    except OSError as error:
        raise ZephyrError(f"The node's log {log} cannot be written: {error.strerror or error}.") from error


def _did_not_start(node: Popen[bytes], log: Path) -> str:
    try:
        words = log.read_bytes()[-LAST_WORDS_BYTES:].decode(errors="replace").strip().splitlines()
    except OSError:
        words = []
    why = words[-1].removeprefix("p2pcdn: ") if words else f"it ended with code {node.returncode}."
    return f"No node runs, and none could be started: {why}"
