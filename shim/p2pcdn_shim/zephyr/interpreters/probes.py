"""What zephyr knows of one interpreter: asked once by a small script, then kept until it changes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from p2pcdn import __version__
from p2pcdn_shim.zephyr.errors import ZephyrError
from p2pcdn_shim.zephyr.machine import platforms
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from typing import Any

# A cold interpreter on a loaded machine answers within some seconds; a shim that asks a server is no interpreter.
PROBE_TIME_S = 30
# The name of a file has at most 255 bytes, and one that is being written is longer than this.
NAME_LENGTH_MAX = 200
# Another number where the script or the tags become different ones: what was kept before counts no more.
FORMAT = 1
# A pyvenv.cfg has a dozen lines; a larger file is another one.
CONFIG_SIZE_BYTES_MAX = 64 * 1024
# The paths of sysconfig that an environment has for itself; headers and the standard library are its base's.
_OF_AN_ENVIRONMENT = ("purelib", "platlib", "platstdlib", "scripts", "data")


class Probe(Value):
    """One interpreter. Paths are text, for they go into JSON and questions to the node.

    executable: as it was found, links not followed. base_executable: that of the installation behind an environment.
    version: (3, 12). markers: the environment of PEP 508. tags: every wheel tag that it takes, the best first.
    paths: where its own packages are (sysconfig). scheme: the same for an environment of it, with {base} for its root.
    externally_managed: the message of PEP 668, "" without one, None where packages may be installed.
    """

    executable: str
    base_executable: str
    prefix: str
    base_prefix: str
    version: tuple[int, int]
    markers: Mapping[str, str]
    tags: tuple[str, ...]
    paths: Mapping[str, str]
    scheme: Mapping[str, str]
    cache_tag: str | None
    soabi: str | None
    ext_suffix: str | None
    platform: str
    bits: int
    glibc: str | None
    macos: str
    free_threaded: bool
    debug: bool
    externally_managed: str | None

    @property
    def full_version(self) -> str:
        """Such as "3.12.1"."""
        return self.markers["python_full_version"]

    @property
    def implementation(self) -> str:
        """Such as "cpython"."""
        return self.markers["implementation_name"]

    @property
    def is_environment(self) -> bool:
        """Whether it is that of a virtual environment."""
        return self.prefix != self.base_prefix


def probe(executable: Path, environ: Mapping[str, str] = os.environ) -> Probe:
    """What is known of an interpreter, out of the cache where its file has not changed. Raises ZephyrError."""
    file = Path(os.path.abspath(executable))  # noqa: PTH100 - a link must stay a link
    if (base := _linked_base(file)) is not None:
        return _in_environment(file, probe(base, environ))
    kept = platforms.cache_directory(environ) / "interpreters" / _name(file)
    state = _state(file)
    if (found := _kept(kept, state)) is not None:
        return found
    found = ask(file, environ)
    _keep(kept, {"state": state, "probe": found.as_dict()})
    return found


def ask(file: Path, environ: Mapping[str, str] = os.environ) -> Probe:
    """What an interpreter says of itself now. Raises ZephyrError."""
    said = _ask(file, environ)
    from p2pcdn_shim.zephyr.interpreters.tags import tags_of

    return _made({**said, "executable": str(file), "tags": tags_of(said)})


def _linked_base(file: Path) -> Path | None:
    """The interpreter that an environment's is a link to, so that none has to be started to know the environment's.

    None for any other: an interpreter that is copied into its environment (Windows), or linked past its `home`.
    """
    try:
        with (file.parent.parent / "pyvenv.cfg").open(encoding="utf-8", errors="replace") as opened:
            pairs = (line.partition("=") for line in opened.read(CONFIG_SIZE_BYTES_MAX).splitlines())
        home = {key.strip().lower(): value.strip() for key, _, value in pairs}.get("home")
        base = Path(home or "", os.path.basename(os.readlink(file)))  # noqa: PTH115, PTH119 - its name alone
        if home and base.samefile(file) and not (base.parent.parent / "pyvenv.cfg").exists():
            return base
    except OSError:
        pass
    return None


def _in_environment(file: Path, base: Probe) -> Probe:
    """What the interpreter of an environment would say, which differs from its base in where it stands."""
    prefix = str(file.parent.parent)
    own = {name: base.scheme[name].replace("{base}", prefix) for name in _OF_AN_ENVIRONMENT}
    return base.but(
        executable=str(file),
        prefix=prefix,
        paths={**base.paths, **own},
        externally_managed=None,
    )


def _name(file: Path) -> str:
    # Names that are cut and collide only overwrite each other: the path stands inside, too.
    return f"{quote(os.fsencode(file), safe='')[-NAME_LENGTH_MAX:]}.json"


def _state(file: Path) -> list[Any]:
    """What changes when the interpreter does: its file, and the environment that it belongs to."""
    try:
        status = file.stat()
    except OSError as error:
        raise ZephyrError(f"The interpreter {file} cannot be used: {error.strerror or error}.") from error
    state: list[Any] = [FORMAT, __version__, str(file), status.st_mtime_ns, status.st_size, status.st_ino]
    try:
        state.append((file.parent.parent / "pyvenv.cfg").stat().st_mtime_ns)
    except OSError:
        state.append(None)
    return state


def _kept(file: Path, state: list[Any]) -> Probe | None:
    try:
        record = json.loads(file.read_bytes())
        return _made(record["probe"]) if record["state"] == state else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not asked yet, or written by another version


def _made(said: Mapping[str, Any]) -> Probe:
    known = {**said, "version": tuple(said["version"]), "tags": tuple(said["tags"])}
    return Probe(**{**known, "markers": {**said["markers"], **_of_this_boot(said["markers"])}})


def _of_this_boot(markers: Mapping[str, str]) -> dict[str, str]:
    """The kernel may be another one than when the interpreter was asked."""
    if os.name == "nt" or not hasattr(os, "uname"):
        return {}
    kernel = os.uname()
    return {"platform_release": kernel.release, "platform_version": kernel.version}


def _ask(file: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    import subprocess

    script = Path(__file__).with_name("probe_script.py")
    # -I: neither the user's PYTHONPATH nor the current directory changes what an interpreter is.
    command = [str(file), "-I", "-B", str(script)]
    # Without it, macOS 11 and newer may call themselves 10.16.
    environment = {**environ, "SYSTEM_VERSION_COMPAT": "0"}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_TIME_S, check=False, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise ZephyrError(f"The interpreter {file} did not answer within {PROBE_TIME_S} s.") from error
    except OSError as error:
        raise ZephyrError(f"The interpreter {file} cannot be started: {error.strerror or error}.") from error
    try:
        said = json.loads(done.stdout)
        assert isinstance(said, dict)
    except (ValueError, AssertionError) as error:
        why = done.stderr.decode(errors="replace").strip().splitlines()
        reason = f": {why[-1][:200]}" if why else f" (exit code {done.returncode})"
        raise ZephyrError(f"{file} is no interpreter of Python 3.8 or newer that works{reason}") from error
    return said


def _keep(file: Path, record: dict[str, Any]) -> None:
    """Whole or not at all; a cache that cannot be written costs time and nothing else."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(record), encoding="utf-8")
        beside.replace(file)
    except OSError:
        from contextlib import suppress

        with suppress(OSError):
            beside.unlink()
