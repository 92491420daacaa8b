"""Virtual environments: made in some milliseconds, whole or not at all, as the standard library's are (PEP 405)."""

from __future__ import annotations

import os
from pathlib import Path

from p2pcdn_shim.zephyr.errors import UsageError, ZephyrError
from p2pcdn_shim.zephyr.interpreters.probes import Probe
from p2pcdn_shim.zephyr.machine import platforms
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIG_NAME = "pyvenv.cfg"
# What a new environment consists of beside that.
_MADE = frozenset({"bin", "Scripts", "lib", "lib64", "Lib", "include", "Include", ".gitignore"})
# A dozen lines; a larger file is another one.
CONFIG_SIZE_BYTES_MAX = 64 * 1024


class Environment(Value):
    """A virtual environment on the disk. settings: its pyvenv.cfg, keys in small letters."""

    path: Path
    settings: dict[str, str]

    @property
    def python(self) -> Path:
        return platforms.python_of(self.path)

    @property
    def version(self) -> str:
        """Such as "3.12.1"; virtualenv and uv write another key than the standard library."""
        return self.settings.get("version") or self.settings.get("version_info") or "?"

    @property
    def is_broken(self) -> bool:
        """Whether its interpreter is gone, or cannot be reached by this user."""
        return bool(self.why_broken)

    @property
    def why_broken(self) -> str:
        """As `platforms.why_unusable` has it; "" where it is not."""
        return platforms.why_unusable(self.python)


def create(
    path: Path,
    interpreter: Probe,
    *,
    prompt: str | None = None,
    clear: bool = False,
    system_site_packages: bool = False,
) -> Environment:
    """Makes an environment at path, beside it first and then in its place.

    prompt: what the shell shows; else the directory's name, or the project's for `.venv`. clear: an environment that is
    there goes. Raises ZephyrError where something else is there, or the directory cannot be written.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - a link must stay a link
    check_place(path, clear=clear)
    sweep(path)
    prompt = prompt or (path.parent.name if path.name == ".venv" else path.name) or "venv"
    new = (path if _is_fixed(path) else path.parent) / f".{path.name}.new-{os.getpid()}"
    above = [one for one in path.parents if not one.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.mkdir()
        _fill(new, path, interpreter, prompt, system_site_packages=system_site_packages)
        _move_into_place(new, path, clear=clear)
    except OSError as error:
        _remove_tree(new, ignore_errors=True)
        _remove_empty(above)
        raise ZephyrError(f"No environment can be made at {path}: {error.strerror or error}.") from error
    return Environment(path, read_settings(path) or {})


def open_environment(path: Path) -> Environment:
    """The environment at path, with an interpreter that is there. Raises ZephyrError, saying what to do."""
    settings = read_settings(path)
    if settings is None:
        if path.exists():
            raise ZephyrError(f"{path} is no virtual environment; `zephyr venv create` makes one in another place.")
        raise ZephyrError(f"The environment {path} does not exist; `zephyr venv create '{path}'` makes it.")
    environment = Environment(path, settings)
    if why := environment.why_broken:
        raise ZephyrError(
            f"The interpreter of the environment {path} {why}: Python {environment.version} in "
            f"{settings.get('home', '?')}. Install it again, or make the environment anew: "
            f"`zephyr venv create --clear {path}`."
        )
    return environment


def read_settings(path: Path) -> dict[str, str] | None:
    """What stands in an environment's pyvenv.cfg; None where there is no such file."""
    try:
        with (path / CONFIG_NAME).open(encoding="utf-8", errors="replace") as opened:
            text = opened.read(CONFIG_SIZE_BYTES_MAX)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ZephyrError(f"{path / CONFIG_NAME} cannot be read: {error.strerror or error}.") from error
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def name_place(path: Path) -> None:
    """Makes the scripts that enter an environment of ours name the place where it lies now. Raises ZephyrError."""
    settings = read_settings(path) or {}
    if "zephyr" not in settings:
        return
    from p2pcdn_shim.zephyr.environment.activation import write_scripts

    try:
        write_scripts(path / platforms.scripts_name(), path, settings.get("prompt", "venv"))
    except OSError as error:
        raise ZephyrError(f"{path} was moved, and its scripts cannot be written: {error.strerror or error}.") from error


def remove(path: Path) -> None:
    """Takes an environment away: out of its place at once, then file by file. Raises ZephyrError for anything else."""
    if read_settings(path) is None:
        what = "is no virtual environment; nothing was removed" if path.exists() else "does not exist"
        raise ZephyrError(f"{path} {what}.")
    try:
        if path.is_symlink():
            path.unlink()
            return
        if _is_fixed(path):
            from p2pcdn_shim.zephyr.environment.fixed import empty

            empty(path, first=CONFIG_NAME)
            return
        gone = path.with_name(f".{path.name}.gone-{os.getpid()}")
        path.rename(gone)
        _remove_tree(gone)
    except OSError as error:
        raise ZephyrError(f"{path} cannot be removed: {error.strerror or error}.") from error


def sweep(path: Path) -> None:
    """Takes away what killed commands left beside an environment: half a new one, half of one that was removed."""
    places = (path.parent, path) if _is_fixed(path) else (path.parent,)
    for left in (one for place in places if place.is_dir() for one in place.iterdir()):
        if _is_left(left.name, path):
            _remove_tree(left, ignore_errors=True)


def _is_left(name: str, path: Path) -> bool:
    """Whether it is the name of what a killed command left of making or removing the environment at path."""
    beginning = f".{path.name}."
    kind, _, pid = name.removeprefix(beginning).partition("-")
    return (
        name.startswith(beginning)
        and kind in ("new", "gone")
        and pid.isdecimal()
        and not platforms.process_lives(int(pid))
    )


def check_place(path: Path, *, clear: bool = False) -> None:
    """Whether an environment can be made at path. Raises UsageError where something is there, ZephyrError where nobody
    can say.
    """
    # The PATH cannot name its commands: another Python would run in its place, in silence.
    if os.pathsep in str(path):
        raise UsageError(
            f"No environment can be made at {path}: {os.pathsep!r} separates the places in PATH. "
            "Rename the directory, or name another place with --venv."
        )
    try:
        is_there = path.is_symlink() or path.exists()
        is_free = is_there and path.is_dir() and _is_free(path)
    except OSError as error:
        raise ZephyrError(f"{path} cannot be looked at: {error.strerror or error}.") from error
    if not is_there or (is_free and not path.is_symlink()):
        return
    if path.is_symlink() and not path.exists():
        raise UsageError(
            f"{path} is a link to {path.readlink()}, which is not there; nothing was changed. Remove the link, or"
            " bring back what it led to."
        )
    if read_settings(path) is None:
        raise UsageError(
            f"{path} is there and is no virtual environment; it was left as it is. Move it away, or name another place."
        )
    if not clear:
        raise UsageError(f"{path} is an environment already; `--clear` makes it anew, without its packages.")


def _is_fixed(path: Path) -> bool:
    if not path.is_dir():
        return False
    from p2pcdn_shim.zephyr.environment.fixed import is_fixed  # nearly all are made where nothing is

    return is_fixed(path)


def _is_free(path: Path) -> bool:
    """Whether nothing is in a directory but what zephyr itself keeps or left there."""
    from p2pcdn.envs.places import OWN

    others = [one.name for one in path.iterdir() if one.name != OWN]
    is_half_made = any(_is_left(name, path) for name in others)
    return not others or (is_half_made and all(name in _MADE or _is_left(name, path) for name in others))


def _fill(new: Path, path: Path, interpreter: Probe, prompt: str, *, system_site_packages: bool) -> None:
    scripts = new / platforms.scripts_name()
    scripts.mkdir()
    for name in ("purelib", "include"):
        Path(interpreter.scheme[name].replace("{base}", str(new))).mkdir(parents=True, exist_ok=True)
    if os.name == "nt":
        _copy_launchers(scripts, interpreter)
    else:
        _link_interpreter(new, scripts, interpreter)
    (new / CONFIG_NAME).write_text(
        _settings(path, interpreter, prompt, system_site_packages=system_site_packages), encoding="utf-8"
    )
    # Nobody wants an environment in a repository.
    (new / ".gitignore").write_text("*\n", encoding="utf-8")
    from p2pcdn_shim.zephyr.environment.activation import write_scripts  # most commands make no environment

    write_scripts(scripts, path, prompt)


def _link_interpreter(new: Path, scripts: Path, interpreter: Probe) -> None:
    (scripts / "python").symlink_to(_installed(interpreter))
    minor = interpreter.version[1]
    names = ["python3", f"python3.{minor}"]
    if interpreter.free_threaded:
        names.append(f"python3.{minor}t")
    if interpreter.implementation != "cpython":
        names += [interpreter.implementation, f"{interpreter.implementation}3"]
    for name in names:
        (scripts / name).symlink_to("python")
    # Some distributions have their 64-bit extension modules there.
    if interpreter.bits == 64 and interpreter.markers["sys_platform"] == "linux":
        (new / "lib64").symlink_to("lib")


def _installed(interpreter: Probe) -> Path:
    """The interpreter inside its installation, where it finds its own library: a link elsewhere may lead to it.

    Not the end of all links: that may have a patch version in its path, which is gone after the next upgrade.
    """
    found = Path(interpreter.base_executable)
    inside = Path(interpreter.base_prefix) / platforms.scripts_name()
    if os.name == "nt" or found.parent == inside:
        return found
    names = (f"python3.{interpreter.version[1]}", "python3", "python", found.name)
    return next((inside / name for name in names if _is_same(inside / name, found)), found)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _copy_launchers(scripts: Path, interpreter: Probe) -> None:
    """Windows finds an environment by a small program that starts the real interpreter; the standard library has it."""
    from shutil import copyfile

    source = Path(interpreter.base_prefix) / "Lib" / "venv" / "scripts" / "nt"
    for target, names in (("python.exe", ("venvlauncher.exe", "python.exe")),
                          ("pythonw.exe", ("venvwlauncher.exe", "pythonw.exe"))):  # fmt: skip
        launcher = next((source / name for name in names if (source / name).exists()), None)
        if launcher is None:
            raise ZephyrError(f"{interpreter.base_executable} has no launcher for environments in {source}.")
        copyfile(launcher, scripts / target)


def _settings(path: Path, interpreter: Probe, prompt: str, *, system_site_packages: bool) -> str:
    """The keys of the standard library's, which editors read, and who made it."""
    from p2pcdn import __version__

    rows = {
        "home": str(_installed(interpreter).parent),
        "include-system-site-packages": "true" if system_site_packages else "false",
        "version": interpreter.full_version,
        "executable": os.path.realpath(interpreter.base_executable),
        "implementation": interpreter.markers["platform_python_implementation"],
        "prompt": "".join(sign for sign in prompt if sign.isprintable()),
        "zephyr": __version__,
    }
    return "".join(f"{key} = {value}\n" for key, value in rows.items())


def _move_into_place(new: Path, path: Path, *, clear: bool) -> None:
    """An environment that somebody else has made meanwhile stays: the last step fails, as no directory is replaced."""
    if new.parent == path:
        from p2pcdn_shim.zephyr.environment.fixed import put_in_place

        put_in_place(new, path, CONFIG_NAME)
        return
    if clear and (path.is_symlink() or read_settings(path) is not None):
        old = path.with_name(f".{path.name}.gone-{os.getpid()}")
        path.rename(old)
        new.rename(path)
        old.unlink() if old.is_symlink() else _remove_tree(old, ignore_errors=True)
        return
    if os.name == "nt" and path.is_dir():
        path.rmdir()  # only an empty one; elsewhere the new one takes its place
    new.rename(path)


def _remove_empty(directories: Sequence[Path]) -> None:
    """The innermost first; one that something was put into meanwhile stays, with all above it."""
    for one in directories:
        try:
            one.rmdir()
        except OSError:
            return


def _remove_tree(path: Path, *, ignore_errors: bool = False) -> None:
    from shutil import rmtree  # bz2, lzma and more come with it

    rmtree(path, ignore_errors=ignore_errors)
