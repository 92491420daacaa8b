"""`zephyr install`: packages into an environment, beside any project and its lock."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path

from p2pcdn.envs.generations import Environment
from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.command_line.flags import add_install_flags, add_requirements
from p2pcdn_shim.zephyr.environment import direct_urls, named, syncing
from p2pcdn_shim.zephyr.environment.interpreter import interpreter_at, interpreter_of, scheme_of
from p2pcdn_shim.zephyr.errors import ChangedMeanwhile
from p2pcdn_shim.zephyr.node import asking
from p2pcdn_shim.zephyr.project.pyproject import name_of
from p2pcdn_shim.zephyr.terminal.progress import Progress
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from p2pcdn.envs.plan import Plan

DESCRIPTION = """Installs packages into the environment (.venv, made where it is missing; --venv names another), with
all that they need. What is there already keeps its version where that still fits. pyproject.toml and pylock.toml are
left alone: `zephyr add` is for those."""


def arguments(parser: ArgumentParser) -> None:
    add_requirements(parser, "django, or 'fastapi>=0.100'")
    parser.add_argument("--upgrade", action="store_true", help="Takes the newest versions that fit, of all packages.")
    add_install_flags(parser)


def run(call: Call) -> int:
    typed, editables = direct_urls.typed_with_editables(call)
    place = named.project_place(call.config, call.directory)
    new = {name_of(text) for text in typed}

    def install(held: Held) -> None:
        wanted = [*typed, *(text for name, text in requested_of(call, place, held.plan).items() if name not in new)]
        stay = [name for name in editables_of(held.plan) if name not in new]
        upgrade = call.options.upgrade
        resolve_and_sync(call, place, wanted, versions_of(held.plan), [*editables, *stay], held, upgrade=upgrade)

    change_held(place, install)
    return 0


class Held(Value):
    """What an environment holds, and the digest of that."""

    plan: Plan | None
    digest: str


def change_held(place: Path, change: Callable[[Held], None]) -> None:
    """A change that depends on what the environment holds: made anew, as often as another command was faster."""
    while True:
        environment = Environment(str(place), command="", now_s=0.0)
        held = Held(digest=environment.plan_digest(), plan=environment.plan())
        try:
            return change(held)
        except ChangedMeanwhile:
            continue


def resolve_and_sync(
    call: Call,
    place: Path,
    wanted: Sequence[str],
    keep: Sequence[tuple[str, str]],
    editables: Sequence[str],
    held: Held,
    *,
    upgrade: bool = False,
) -> None:
    """Makes the environment hold what these requirements need.

    keep: versions that stay where they fit, unless what is new is wanted (upgrade). editables: the projects whose
    sources stay in use. held: what all of that was chosen for. Raises ChangedMeanwhile.
    """
    from p2pcdn_shim.client import NodeRefused

    interpreter = interpreter_at(call, place)
    question = {**asking.options_of(call.config), "requirements": list(wanted)}
    question["editable"] += editables
    with call.node() as client:
        here = {**interpreter_of(call, interpreter), "installs": True}
        try:
            with Progress(call.voice, "Resolving", at_once=True):
                locked = asking.ask_resolve(client, question, here, keep, upgrade=upgrade)
        except NodeRefused as error:
            from p2pcdn_shim.zephyr.lock.blaming import with_its_place

            raise with_its_place(call.config, error) from error
        for warning in locked.warnings:
            call.voice.warn(warning)
        requested = tuple(dict.fromkeys(map(name_of, wanted)))
        chosen = syncing.Chosen(locked.text, requested=requested, exact=False, on_top_of=held.digest)
        syncing.tell(call, place, syncing.sync(call, client, place, interpreter, chosen))


def requested_of(call: Call, place: Path, plan: Plan | None) -> dict[str, str]:
    """The projects that a user asked for by name, and what asks for them again: the name with the extras that they had,
    and whence it came.
    """
    if plan is None:
        return {}
    from p2pcdn_shim.zephyr.environment.extras import extras_held  # reads metadata, by the parser of mail

    names = [name_of(wheel.project) for wheel in plan.wheels if wheel.requested]
    interpreter = interpreter_at(call, place)
    site = place / scheme_of(interpreter).purelib
    extras = extras_held(site, interpreter.markers, [name for name, _ in versions_of(plan)], names)
    by_url = direct_urls.remembered(plan)
    return {name: _with_extras(by_url.get(name, name), name, extras.get(name, ())) for name in names}


def _with_extras(requirement: str, name: str, extras: Sequence[str]) -> str:
    return f"{name}[{','.join(extras)}]{requirement.removeprefix(name)}" if extras else requirement


def editables_of(plan: Plan | None) -> list[str]:
    return direct_urls.remembered_editables(plan) if plan is not None else []


def versions_of(plan: Plan | None) -> list[tuple[str, str]]:
    return [(name_of(wheel.project), wheel.version) for wheel in plan.wheels] if plan is not None else []
