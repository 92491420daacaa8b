"""What a run changes beneath the libraries it uses, and changes back: clocks, entropy, threads, the scheduler's dice.

The list is meant to be complete: `Patches.apply` is the only place where simnet touches anything that is not its own.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import cache, lru_cache
from types import ModuleType
from typing import Any, NoReturn, ParamSpec, TypeVar

import trio
import trio._core._run as trio_run
import trio._path as trio_path
import trio._threads as trio_threads
from trio._core._run import CancelScope, Deadlines, Runner

from p2pcdn.group import device
from p2pcdn.http1 import connection
from p2pcdn.http1.lobby import Lobby
from p2pcdn.store import place
from simnet.net.wire import open_wire
from simnet.turns import loop
from simnet.turns.kernel import EPOCH_S, Kernel
from simnet.turns.scopes import closing, entering, leaving, registering

P = ParamSpec("P")
T = TypeVar("T")

# How long a simulated thread works, in seconds: a transaction, a few hundred kilobytes hashed.
THREAD_DELAY_S = (50e-6, 800e-6)
# Each store keeps this much of the disk for itself. A thousand of them would be a gigabyte of memory file system.
BALLAST_SIZE_BYTES = 4096
SIGNATURES_REMEMBERED = 16 * 1024


class Leak(RuntimeError):
    """Something reached for the real world in the middle of a run."""


class Patches:
    """The changes of one run, undone in reverse by `undo`."""

    def __init__(self) -> None:
        self._old: list[tuple[Any, str, Any]] = []
        self._dice_state: Any = None

    def apply(self, kernel: Kernel, seed: str) -> None:
        """Before trio runs. The world outside is closed later, by `close_doors`: trio opens a wakeup socket first."""
        self._dice_state = random.getstate()
        self._set_clocks(kernel)
        entropy = random.Random(f"entropy {seed}")
        self._set(os, "urandom", entropy.randbytes)
        self._set(random, "_urandom", entropy.randbytes)
        random.seed(f"random {seed}")
        self._set_loop(kernel, seed)
        self._set(connection, "open_wire", open_wire)
        self._set(Lobby, "possible", False)  # it waits for descriptors, and no simulated socket has one
        self._remember_signatures()
        self._set(place, "BALLAST_SIZE_BYTES", BALLAST_SIZE_BYTES)
        self._set(place, "file_system_of", lambda directory: "")  # each start of a node reads all mounts of the system
        run_sync = _inline(kernel, random.Random(f"threads {seed}"))
        for module, name in (
            (trio.to_thread, "run_sync"),
            (trio_threads, "to_thread_run_sync"),
            (trio_path, "run_sync"),
        ):
            if hasattr(module, name):
                self._set(module, name, run_sync)

    def close_doors(self) -> None:
        """Within the run: from here on real sockets, threads, processes and waiting raise Leak."""
        self._set(socket, "socket", _raises("a real socket"))
        self._set(threading.Thread, "start", _raises("a thread"))
        self._set(subprocess, "Popen", _raises("a process"))
        self._set(time, "sleep", _raises("time.sleep"))

    def undo(self) -> None:
        while self._old:
            owner, name, value = self._old.pop()
            setattr(owner, name, value)
        if self._dice_state is not None:
            random.setstate(self._dice_state)
            self._dice_state = None

    def _remember_signatures(self) -> None:
        """A crowd checks each signature of a file once a node: the answer is known, and costs 0.12 ms each time."""
        remembered = lru_cache(SIGNATURES_REMEMBERED)(device.verify)
        for module in _verifiers():
            self._set(module, "verify", remembered)

    def _set(self, owner: Any, name: str, value: Any) -> None:
        self._old.append((owner, name, owner.__dict__.get(name, getattr(owner, name))))
        setattr(owner, name, value)

    def _set_clocks(self, kernel: Kernel) -> None:
        for name in ("monotonic", "perf_counter"):
            self._set(time, name, lambda: kernel.now)
            self._set(time, f"{name}_ns", lambda: round(kernel.now * 1e9))
        for module in (trio, trio_run):  # as trio would answer, which first looks for the run and its clock
            self._set(module, "current_time", kernel.clock.current_time)
        self._set(time, "time", kernel.wall_clock)
        self._set(time, "time_ns", lambda: round(kernel.wall_clock() * 1e9))
        # Made at import, with the real clock.
        self._set(logging, "_startTime", EPOCH_S)

    def _set_loop(self, kernel: Kernel, seed: str) -> None:
        self._set(trio_run, "unrolled_run", loop.loop(kernel, random.Random(f"scheduler {seed}")))
        self._set(Runner, "reschedule", loop.reschedule_of)
        checkpoint = loop.checkpoint_of(kernel, trio.lowlevel.cancel_shielded_checkpoint)
        for module in (trio._core, trio.lowlevel):
            self._set(module, "wait_task_rescheduled", loop.wait_task_rescheduled)
            self._set(module, "reschedule", loop.reschedule)
        for module in (trio_run, trio.lowlevel):
            self._set(module, "cancel_shielded_checkpoint", checkpoint)
        self._set(Deadlines, "add", loop.deadlines_in_order())
        self._set(CancelScope, "__enter__", entering(kernel, CancelScope.__enter__))
        self._set(CancelScope, "__exit__", leaving(CancelScope.__exit__))
        self._set(CancelScope, "_close", closing(CancelScope._close))
        self._set(CancelScope, "_might_change_registered_deadline", registering)


@cache
def _verifiers() -> list[ModuleType]:
    """The modules that check signatures. A process looks for them once."""
    ours = [module for name, module in sys.modules.items() if name.startswith("p2pcdn.")]
    return [module for module in ours if getattr(module, "verify", None) is device.verify]


def _inline(kernel: Kernel, dice: random.Random) -> Callable[..., Any]:
    async def run_sync(function: Callable[..., T], *arguments: Any, abandon_on_cancel: bool = False, **_: Any) -> T:
        """trio.to_thread.run_sync without a thread: it takes a little virtual time, and the loop's real time."""
        await trio.lowlevel.checkpoint_if_cancelled()
        with trio.CancelScope(shield=not abandon_on_cancel):
            await kernel.sleep(dice.uniform(*THREAD_DELAY_S))
        return function(*arguments)

    return run_sync


def _raises(what: str) -> Callable[..., NoReturn]:
    def leak(*_: object, **__: object) -> NoReturn:
        raise Leak(f"{what} was asked for in the middle of a simulation")

    return leak
