"""Environments that are kept by what is in them: what `zephyr run --with` lays over another one, what a script needs.

    layers/3f…/           an environment; who asks for the same again gets it at once
    layers/3f…/.layer     written when it is whole, and held by whoever runs in it: that one is not swept
    layers/.zephyr/3f.lock   held by whoever makes or removes a layer whose name begins so

What is below a layer stays where it is: a `.pth` file names it, and its scripts are there again for the layer's Python.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from p2pcdn.envs.lock_file import Busy, LockFile, do_not_wait
from p2pcdn.envs.places import OWN, make_ignored, names, state_of
from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.environment import venv
from p2pcdn_shim.zephyr.errors import ZephyrError
from p2pcdn_shim.zephyr.interpreters.probes import Probe
from p2pcdn_shim.zephyr.machine import platforms
from p2pcdn_shim.zephyr.node import asking
from p2pcdn_shim.zephyr.settled import digest
from p2pcdn_shim.zephyr.values import Value

# So many stay; beyond them the one goes that was used the longest ago. Each is links into the node's store.
LAYERS_MAX = 64
# The form of a layer; another number where a former zephyr's would not do.
FORMAT = 1
MARK = ".layer"
# The beginning of a layer's name, by which its lock is called: so there are no more of them than 256.
_TURN_DIGITS = 2
# A layer, and what a killed command left beside it (`venv.create`, `venv.remove`).
_NAME = re.compile(r"\.?([0-9a-f]{32})(?:\.(?:new|gone)-\d+)?")
# The settings that decide what a requirement becomes.
_SETTINGS = ("index_url", "extra_index_url", "index", "sources", "find_links", "no_index", "require_attestations")


class Layer(Value):
    """What is wanted: requirements as typed, for this interpreter, over another environment or over none.

    prompt: what a shell shows in it.
    """

    requirements: tuple[str, ...]
    interpreter: Probe
    below: venv.Environment | None
    prompt: str


def place_of(call: Call, layer: Layer) -> Path:
    """Where a layer is, or will be."""
    return platforms.cache_directory() / "layers" / _key(call, layer)


def may_change(layer: Layer) -> bool:
    """Whether something is named that may be another thing tomorrow under the same words: a file or directory."""
    return any(map(is_place, layer.requirements))


def is_place(requirement: str) -> bool:
    """Whether it names something of this machine: `.`, `./local[extra]`, `../a.whl`, `a @ file:///…`."""
    return requirement.startswith(".") or "file:" in requirement or ("/" in requirement and "://" not in requirement)


def is_whole(place: Path) -> bool:
    """Whether a layer was finished, and its interpreter is not gone."""
    return (place / MARK).exists() and platforms.python_of(place).exists()


def hold(place: Path) -> bool:
    """Keeps a whole layer from being swept, until the last process has ended that inherits this; False for none."""
    mark = place / MARK
    try:
        held = os.open(mark, os.O_RDWR)
    except OSError:
        return False
    if os.name != "nt":  # there, a directory in use cannot be removed
        import fcntl

        fcntl.flock(held, fcntl.LOCK_SH)
        os.set_inheritable(held, True)
    with suppress(OSError):
        os.utime(held if os.utime in os.supports_fd else mark)
        if os.fstat(held).st_nlink and is_whole(place):  # it was not removed while this process waited
            return True
    os.close(held)
    return False


@contextmanager
def turn(place: Path, command: str, wait: Callable[[str], None]) -> Iterator[None]:
    """The right to make or to remove a layer. wait: gets a sentence where somebody else has it."""
    make_ignored(str(place.parent / OWN))
    held = LockFile(str(place.parent / OWN / f"{place.name[:_TURN_DIGITS]}.lock"), command, wait)
    try:
        yield
    finally:
        held.release()


def sweep(directory: Path, kept: int = LAYERS_MAX, *, command: str = "zephyr") -> None:
    """Removes the layers that were used the longest ago, all but so many, and those that nobody finished.

    Those that somebody runs in, or makes, stay.
    """
    marks = [(mark.stat().st_mtime_ns, mark.parent.name) for mark in directory.glob(f"*/{MARK}")]
    whole = [name for _, name in sorted(marks)]
    halves = {found[1] for name in names(str(directory)) if (found := _NAME.fullmatch(name))}.difference(whole)
    for name in (*halves, *whole[: max(0, len(whole) - kept)]):
        place = directory / name
        with suppress(OSError, ZephyrError, Busy), turn(place, command, do_not_wait):
            if name in halves and (place / MARK).exists():
                continue  # somebody was just finishing it
            _remove_unused(place)


def _remove_unused(place: Path) -> None:
    venv.sweep(place)
    with suppress(FileNotFoundError), (place / MARK).open("rb") as held:
        if os.name != "nt":
            import fcntl

            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (place / MARK).unlink()
    remove(place)


def remove(place: Path) -> None:
    """A layer with what was kept beside it. Raises ZephyrError."""
    from shutil import rmtree

    venv.remove(place)
    rmtree(place.parent / OWN / place.name, ignore_errors=True)


def _key(call: Call, layer: Layer) -> str:
    """Names what a layer comes of: the same words elsewhere may mean another directory."""
    config = call.config
    settings = [repr(getattr(config, name)) for name in _SETTINGS]
    here = str(call.directory) if may_change(layer) else ""
    python = layer.interpreter
    return digest(
        f"{FORMAT}", *layer.requirements, "", here, repr(asking.options_of(config)), *settings,
        python.base_executable, python.full_version, *(_state(layer.below) if layer.below is not None else ()),
    )[:32]  # fmt: skip


def _state(below: venv.Environment) -> Iterator[str]:
    """What changes when another distribution is in an environment, whoever put it there."""
    yield str(below.path)
    yield str(state_of(str(below.path)).get("generation", ""))
    for place in (*below.path.glob("lib/*/site-packages"), *below.path.glob("Lib/site-packages")):
        with suppress(OSError):
            yield str(place.stat().st_mtime_ns)
