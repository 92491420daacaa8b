"""What a build must know of an interpreter: who it is, and which directories it needs to run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from p2pcdn.build.failure import Unbuilt
from p2pcdn.sandbox.run import drive
from p2pcdn.sandbox.spec import Limits
from p2pcdn.world import Processes, Threads

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
# What lies in somebody's home directory, and in no interpreter's. A Python may have been installed with such a prefix,
# or with "/": then only these parts of it are shown.
_SIGNS_OF_A_HOME = (".bashrc", ".profile", ".ssh", ".config", ".cache", ".local")
_PARTS = ("bin", "include", "lib", "lib64")


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


async def describe(processes: Processes, threads: Threads, python: Path) -> Interpreter:
    """Asks the interpreter itself. It is the user's own and runs as such. Raises Unbuilt where it does not run."""
    try:
        async with processes.open([str(python), "-I", "-S", "-c", _PROGRAM], {}) as process:
            outcome = await drive(process, _LIMITS)
        paths, base, identity, platform = json.loads(outcome.stdout)
    except (OSError, ValueError) as error:
        raise Unbuilt(f"the interpreter {python} does not run ({error})") from error
    return Interpreter(python, Path(base), await threads.run(_outermost, paths), identity, platform)


def _outermost(paths: list[str]) -> tuple[Path, ...]:
    """Each tree once, without those that lie in another; of one that holds more than an interpreter, its parts."""
    trees = {tree for path in paths if path for tree in _shown(Path(path)) if tree.is_dir()}
    return tuple(sorted(tree for tree in trees if not any(other in tree.parents for other in trees)))


def _shown(prefix: Path) -> list[Path]:
    wide = len(prefix.parts) < 3 and prefix != Path("/usr")
    if wide or any((prefix / sign).exists() for sign in _SIGNS_OF_A_HOME):
        return [prefix / part for part in _PARTS]
    return [prefix]
