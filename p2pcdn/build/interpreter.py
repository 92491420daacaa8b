"""What a build must know of an interpreter: who it is, and which directories it needs to run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from p2pcdn.errors import BuildFailed
from p2pcdn.sandbox.run import drive
from p2pcdn.sandbox.spec import Limits
from p2pcdn.world import Processes

# Python 3.8 and newer. Prefixes of the base: an environment's own directory is shown as such.
_PROGRAM = """
import json, os, sys, sysconfig
base = os.path.realpath(sys.executable)
paths = [sys.base_prefix, sys.base_exec_prefix, os.path.dirname(base), sysconfig.get_config_var("LIBDIR") or ""]
paths += [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "include", "platinclude")]
who = [sys.implementation.name, sys.version.split()[0], sysconfig.get_config_var("SOABI") or ""]
print(json.dumps([paths, base, " ".join(who), sysconfig.get_platform()]))
"""
_LIMITS = Limits(wall_s=30.0, stdout_bytes=64 * 1024, stderr_bytes=64 * 1024)
# A prefix of "/" would show the whole machine; these hold other people's things beside an interpreter.
_TOO_WIDE = frozenset({"/", "/home", "/root", "/opt", "/var", "/etc", "/srv", "/mnt", "/tmp"})


@dataclass(frozen=True, slots=True)
class Interpreter:
    """python: as it was named. base: the real file behind it. trees: what must be shown for it to run.

    identity: implementation, version and ABI, such as "cpython 3.12.1 cpython-312-x86_64-linux-gnu".
    platform: such as "linux-x86_64".
    """

    python: Path
    base: Path
    trees: tuple[Path, ...]
    identity: str
    platform: str


async def describe(processes: Processes, python: Path) -> Interpreter:
    """Asks the interpreter itself. It is the user's own and runs as such. Raises BuildFailed where it does not run."""
    try:
        async with processes.open([str(python), "-I", "-S", "-c", _PROGRAM], {}) as process:
            outcome = await drive(process, _LIMITS)
        paths, base, identity, platform = json.loads(outcome.stdout)
    except (OSError, ValueError) as error:
        raise BuildFailed(f"the interpreter {python} does not run ({error})") from error
    return Interpreter(python, Path(base), _outermost(paths, Path(base).parent), identity, platform)


def _outermost(paths: list[str], binaries: Path) -> tuple[Path, ...]:
    """Each tree once, without those that lie in another, nor those that are too wide to show."""
    trees = {Path(path) for path in paths if path and path not in _TOO_WIDE and Path(path).is_dir()}
    return tuple(sorted(tree for tree in trees if not any(other in tree.parents for other in trees)))
