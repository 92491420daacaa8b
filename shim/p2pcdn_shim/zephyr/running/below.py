"""The environment that a command runs in, or that others are laid over: the one named, the project's, the active."""

from __future__ import annotations

import os
from pathlib import Path

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.command_line.flags import SELECTION
from p2pcdn_shim.zephyr.environment import named, venv
from p2pcdn_shim.zephyr.errors import UsageError, ZephyrError


def find_below(call: Call) -> venv.Environment | None:
    """The environment that is named, the project's, or the active one; None where an empty one will do.

    That of the project is synced first, where it is behind.
    """
    config, options = call.config, call.options
    if options.place is not None:
        refuse_selection(call, "--venv names another environment than the project's")
        meant = named.open_meant(options.place, config, call.directory)
        if not _has_the_python(call, meant.path):
            raise ZephyrError(f"{meant.path} has another Python than --python asks for; nothing was run.")
        return meant
    place = named.project_place(config, call.directory)
    if config.project_file is not None:
        place = _of_the_python(call, place, config.project_file)
        _sync_first(call, place, config.project_file)
    active = os.environ.get("VIRTUAL_ENV")
    if venv.read_settings(place) is not None:
        return venv.open_environment(place)
    if active and _has_the_python(call, Path(active)):
        return venv.open_environment(Path(active))
    named.refuse_unmade(config, place)
    return None if options.above or asks_for_a_python(call) else venv.open_environment(place)


def asks_for_a_python(call: Call) -> bool:
    return call.config.origin("python").startswith("flag")


def _has_the_python(call: Call, place: Path) -> bool:
    """Whether an environment has the interpreter that --python asks for, if it asks for one."""
    if not asks_for_a_python(call):
        return True
    from p2pcdn_shim.zephyr.interpreters.finding import is_meant
    from p2pcdn_shim.zephyr.interpreters.probes import probe

    return is_meant(str(call.config.python), probe(venv.open_environment(place).python), call.directory)


def _of_the_python(call: Call, place: Path, project_file: Path) -> Path:
    """The project's environment; where that has another interpreter than --python asks for, one beside it."""
    if venv.read_settings(place) is None or _has_the_python(call, place):
        return place
    from p2pcdn.envs.places import OWN
    from p2pcdn_shim.zephyr.interpreters.finding import find
    from p2pcdn_shim.zephyr.lock import lock_file

    if not lock_file.place_of(project_file).exists():
        raise ZephyrError(
            f"{place} has another Python than --python asks for, and there is no lock by which one with that Python"
            " could be made; `zephyr lock` makes it."
        )
    found = find(call.config.python, project_file, call.directory)
    return project_file.parent / OWN / "pythons" / f"{found.implementation}-{found.full_version}"


def _sync_first(call: Call, place: Path, project_file: Path) -> None:
    if call.options.no_sync:
        refuse_selection(call, "--no-sync takes the environment as it is")
        return
    from p2pcdn_shim.zephyr.lock.behind import is_behind

    if _selection(call) or is_behind(place, project_file):
        from p2pcdn_shim.zephyr.lock.installing import follow

        follow(call, place)


def _selection(call: Call) -> list[str]:
    """Those flags that were given which choose of the project's lock."""
    return [f"--{name.replace('_', '-')}" for name in SELECTION if vars(call.options)[name]]


def refuse_selection(call: Call, why: str) -> None:
    if given := _selection(call):
        raise UsageError(f"{given[0]} chooses of the project's lock, and {why}.")
