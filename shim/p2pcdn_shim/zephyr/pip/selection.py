"""Which of the installed packages a command speaks of: --path, --local, --user, --editable, --exclude."""

from __future__ import annotations

from collections.abc import Iterable

from p2pcdn_shim.zephyr.pip.controls import normalize
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.installed import Distribution, Environment
from p2pcdn_shim.zephyr.pip.target import Target
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from p2pcdn_shim.zephyr.pip.voice import PipVoice


def environment_of(target: Target, voice: PipVoice, paths: Iterable[str] | None = None) -> Environment:
    """What is installed, in the directories that were named, else in all that the interpreter sees.

    What is there under a name that no project can have is told.
    """
    environment = Environment(target.path, target.invented) if paths is None else Environment(paths)
    environment.all  # noqa: B018 - it is read now, so that what is invalid is known
    for name, location in environment.invalid:
        voice.warn(f"Ignoring invalid distribution {name} ({location})")
    return environment


def selected(target: Target, voice: PipVoice, options: Any) -> list[Distribution]:
    """Raises PipError for options that contradict each other."""
    if options.path and (options.user or options.local):
        raise PipError("Cannot combine '--path' with '--user' or '--local'")
    found = environment_of(target, voice, options.path).packages()
    if options.local:
        found = [one for one in found if is_local(target, one)]
    if options.user:
        found = [one for one in found if one.is_below(target.user_site)]
    return found


def without(found: list[Distribution], names: Iterable[str] | None) -> list[Distribution]:
    excluded = {normalize(name) for name in names or ()}
    return [one for one in found if one.project not in excluded]


def is_local(target: Target, one: Distribution) -> bool:
    """Whether it is the environment's own, and not one that it only sees."""
    return not one.is_in_memory and (not target.is_environment or one.is_below(target.prefix))


def pinned(one: Distribution) -> str:
    """`name==version`; three signs where the version is none (PEP 440)."""
    return f"{one.name}=={one.version}" if one.version is not None else f"{one.name}==={one.version_text}"
