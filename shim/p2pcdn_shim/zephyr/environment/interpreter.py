"""The interpreter of an environment, there or still to be made; and the words in which a node is told of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from p2pcdn.envs.scheme import Scheme
from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.environment import named, venv
from p2pcdn_shim.zephyr.errors import ZephyrError
from p2pcdn_shim.zephyr.interpreters.probes import Probe, probe
from p2pcdn_shim.zephyr.node import asking
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


def interpreter_of(call: Call, found: Probe) -> dict[str, Any]:
    """An interpreter in the words in which the node is asked: what it is, and that it may build."""
    return {
        "markers": dict(found.markers),
        "tags": list(found.tags),
        "scheme": scheme_of(found).as_dict(),
        "build": {"python": found.base_executable, "allow_unsandboxed": call.config.allow_unsandboxed_builds},
        "require_attestations": list(call.config.require_attestations),
        **asking.sources_named(call.config),
    }


def some_interpreter(call: Call, *, is_needed: bool = False) -> dict[str, Any]:
    """The project's interpreter, in the same words; none where there is none, for a lock needs it only to build.

    is_needed: what is locked is installed at once, so that without one nothing has to be begun; raises ZephyrError.
    """
    try:
        return interpreter_of(call, interpreter_at(call, named.project_place(call.config, call.directory)))
    except ZephyrError as error:
        if is_needed:
            raise
        call.voice.note(f"{error} Until then nothing can be built.")
        return asking.sources_named(call.config)


def interpreter_at(call: Call, place: Path) -> Probe:
    """The interpreter of the environment at `place`; where there is none yet, the one that it will have.

    Raises ZephyrError, also where --python means another one than the environment has.
    """
    wanted = call.config.python
    if venv.read_settings(place) is not None:
        found = probe(venv.open_environment(place).python)
        if wanted is not None and call.config.origin("python").startswith("flag"):
            _refuse_another(call, place, found, wanted)
        return found
    from p2pcdn_shim.zephyr.interpreters import finding

    return finding.find(call.config.python, call.config.project_file, call.directory)


def _refuse_another(call: Call, place: Path, found: Probe, wanted: str) -> None:
    from p2pcdn_shim.zephyr.interpreters.finding import is_meant

    if not is_meant(wanted, found, call.directory):
        raise ZephyrError(
            f"{place} has Python {found.full_version}, and --python asks for {wanted}. To make it anew, without its"
            f" packages: `zephyr venv create --clear --python {wanted} {place}`."
        )


def scheme_of(found: Probe) -> Scheme:
    """Where the parts of wheels go in an environment of this interpreter."""
    major, minor = found.version
    number = f"{major}.{minor}{'t' if found.free_threaded else ''}"
    return Scheme.of_venv(number, windows=os.name == "nt", folds_case=sys.platform in ("darwin", "win32"))
