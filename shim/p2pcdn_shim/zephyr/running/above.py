"""What is laid over an environment for one run (`--with`), and the environment of a script that says what it needs."""

from __future__ import annotations

from itertools import chain

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.configuration.config import resolve
from p2pcdn_shim.zephyr.environment import layers, venv
from p2pcdn_shim.zephyr.errors import UsageError, ZephyrError
from p2pcdn_shim.zephyr.interpreters.finding import find
from p2pcdn_shim.zephyr.interpreters.probes import Probe, probe
from p2pcdn_shim.zephyr.interpreters.versions import satisfies
from p2pcdn_shim.zephyr.project.inline_metadata import Script
from p2pcdn_shim.zephyr.project.requirement_list import split
from p2pcdn_shim.zephyr.running.below import asks_for_a_python, refuse_selection


def find_above(call: Call, below: venv.Environment | None, script: Script | None) -> venv.Environment:
    """An environment with what --with and the script ask for, over the one below, if there is one.

    Raises NodeRefused, ZephyrError.
    """
    if script is not None:
        _take_settings_of(call, script)
    if call.options.upgrade and not (call.options.above or script is not None):
        raise UsageError("--upgrade takes the newest of what --with or a script asks for; neither does.")
    asked = [split(text) for text in call.options.above]
    if not all(asked):
        raise UsageError("--with names no package: give a requirement, such as --with rich.")
    requirements = (*(script.dependencies if script is not None else ()), *chain(*asked))
    interpreter = probe(below.python) if below is not None else _interpreter(call, script)
    prompt = below.settings.get("prompt") if below is not None else None
    prompt = prompt or (script.file.stem if script is not None else "zephyr")
    layer = layers.Layer(requirements, interpreter, below, prompt)
    return _environment_of(call, layer, upgrade=call.options.upgrade)


def _environment_of(call: Call, layer: layers.Layer, *, upgrade: bool) -> venv.Environment:
    """Made where it is not there yet, and held for as long as this process lives, or what it becomes."""
    place = layers.place_of(call, layer)
    anew = upgrade or layers.may_change(layer)
    if anew or not layers.hold(place):
        from p2pcdn_shim.zephyr.environment.layering import make

        make(call, place, layer, anew=anew, upgrade=upgrade)
        if not layers.hold(place):
            raise ZephyrError(f"{place} was removed while it was made; try again.")
    return venv.open_environment(place)


def _interpreter(call: Call, script: Script | None) -> Probe:
    """The one that is asked for, as far as the script allows it; else one that the script allows."""
    wanted = call.config.python
    needed = script.requires_python if script is not None else None
    if script is None or not needed:
        return find(wanted, call.config.project_file, call.directory)
    try:
        satisfies("3.12.0", needed)
    except ValueError as error:
        raise UsageError(f"{script.file}: requires-python: {error}") from error
    if wanted is not None:
        found = find(wanted, None, call.directory)
        if satisfies(found.full_version, needed):
            return found
        if asks_for_a_python(call):
            raise UsageError(
                f"{script.file} needs Python {needed}, and --python asks for {wanted}, which is {found.full_version}."
            )
    return find(needed, None, call.directory)


def _take_settings_of(call: Call, script: Script) -> None:
    """The script stands in the project's place."""
    if call.options.place is not None:
        raise UsageError(f"{script.file} says itself what it needs, so that --venv cannot name its environment.")
    refuse_selection(call, f"{script.file} says itself what it needs")
    settings = script.file, script.toml
    call.config = resolve(vars(call.options), call.directory, config_file=call.options.config_file, script=settings)
