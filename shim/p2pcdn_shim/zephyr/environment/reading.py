"""An environment read for the commands that only look: what is installed there, whoever put it there."""

from __future__ import annotations

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.environment import named, venv
from p2pcdn_shim.zephyr.environment.recovering import recover
from p2pcdn_shim.zephyr.errors import ZephyrError
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.installed import Environment
from p2pcdn_shim.zephyr.pip.target import Target


def read_environment(call: Call) -> tuple[Target, Environment]:
    """The project's environment, or that of --venv. Raises ZephyrError."""
    place = named.project_place(call.config, call.directory)
    if call.options.venv is None:
        named.refuse_unmade(call.config, place)
    recover(call, place)
    try:
        target = Target(venv.open_environment(place).python)
    except PipError as error:
        raise ZephyrError(str(error)) from error
    environment = Environment(target.path, target.invented)
    environment.all  # noqa: B018 - it is read now, so that what is invalid is known
    for name, location in environment.invalid:
        call.voice.warn(f"{location} holds {name!r}, which is no project's name; it is left out.")
    return target, environment
