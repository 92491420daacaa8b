"""An environment brought to what a lock says: asked of the node, and linked out of its store in one swap."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from p2pcdn.envs.held import held_plan
from p2pcdn.envs.places import Places
from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.environment import named, venv
from p2pcdn_shim.zephyr.environment.interpreter import interpreter_of, scheme_of
from p2pcdn_shim.zephyr.environment.recovering import recover
from p2pcdn_shim.zephyr.errors import UsageError, ZephyrError
from p2pcdn_shim.zephyr.interpreters.probes import Probe
from p2pcdn_shim.zephyr.node.answers import long_answer
from p2pcdn_shim.zephyr.terminal.voice import packages
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any

    from p2pcdn.envs.generations import Outcome
    from p2pcdn.envs.install import LinkMode
    from p2pcdn_shim.client import Client

_LINK_MODES: tuple[LinkMode, ...] = ("reflink", "hardlink", "copy", "env")


class Chosen(Value):
    """What of a lock an environment gets. groups: None for the lock's own default. requested: named by the user.

    on_top_of: the digest of the plan of the environment that this was chosen for; None: it does not matter.
    exact: what others installed goes, too. project: the directory of the user's own project, installed so that its
    sources stay in use; None: it is not. project_said: names what its build says of it, so that it is installed anew
    where that changes; "" where nobody asked. base: the directory of the lock, where paths in it begin. only: these
    projects with what they need, and nothing else of the lock; None: all of it.
    """

    lock: str
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] | None = None
    requested: tuple[str, ...] = ()
    exact: bool = True
    project: str | None = None
    project_said: str = ""
    base: str | None = None
    on_top_of: str | None = None
    only: tuple[str, ...] | None = None


class Synced(Value):
    """What came of it. outcome: None where there was nothing to do. packages: of the plan. others: how many more are
    there, looked for where something was done.

    settled: the node would say so again whenever it is asked the same: no byte code is still to come, and nothing
    stands in a directory of the user's, whose sources may change.
    """

    outcome: Outcome | None
    packages: int
    notes: tuple[str, ...]
    settled: bool
    others: int = 0


def sync(
    call: Call,
    client: Client,
    place: Path,
    interpreter: Probe,
    chosen: Chosen,
    before_change: AbstractContextManager[None] | None = None,
) -> Synced:
    """Makes the environment at `place` hold what is chosen; one that is not there is made, with this interpreter.

    before_change: entered where there is something to do, before it is done. Raises NodeRefused, ZephyrError, and of
    these ChangedMeanwhile; then the environment is as it was.
    """
    mode = _link_mode(call)
    if mode == "env" and client.temporary:
        raise ZephyrError(
            "--link-mode env makes the packages a link into the store of the node, and with --no-node that is a"
            " temporary one while your own node runs. Leave --no-node or the link mode out. Nothing was installed."
        )
    site = scheme_of(interpreter).purelib
    held = _held(place, site, mode, exact=chosen.exact)
    question = _question(call, interpreter, chosen, held)
    if mode == "env":
        question["site"] = str(place)
    # The plan as it was encoded; None where the environment holds it already.
    ready, encoded = long_answer(
        client,
        call.voice,
        "/v1/environment",
        question,
        "Fetching",
        "environment",
        unbuilt="Nothing was installed.",
        meanwhile=(lambda: _load(mode)) if not held["have"] else None,
    )
    wheels = ready["wheels"]
    notes = tuple(ready["notes"])
    outcome = None
    if encoded is not None:
        from p2pcdn_shim.zephyr.environment.swapping import swap

        with before_change or nullcontext():
            outcome = swap(
                call,
                place,
                interpreter,
                encoded,
                ready,
                link_mode=mode,
                exact=chosen.exact,
                on_top_of=chosen.on_top_of,
                held=lambda: _held(place, site, mode, exact=chosen.exact)["have"],
            )
    compiled = question["bytecode"] is None or all(one["bytecode"] for one in wheels)
    fixed = chosen.project is None and not any(word in chosen.lock for word in ("directory", "editable"))
    others = len(list((place / site).glob("*.dist-info"))) - len(wheels) if outcome is not None else 0
    return Synced(outcome, len(wheels), notes, outcome is None and not notes and compiled and fixed, others)


def _load(mode: LinkMode) -> None:
    """What carries a plan out, loaded while the node looks for it. It swaps by a call that only ctypes can make."""
    import ctypes  # noqa: F401

    import p2pcdn_shim.zephyr.environment.swapping  # noqa: F401

    if mode != "env":
        import p2pcdn.envs.record  # noqa: F401 - scripts are hashed, by OpenSSL


def stood_on(place: Path) -> list[str]:
    """The files of an environment that say what it holds, and the directory in which a killed command leaves something.
    None of them where something is left there now: the same call has to look again.
    """
    beside = Places(str(place))
    if beside.is_littered() or beside.trashed():
        return []
    sites = (*place.glob("lib/*/site-packages"), *place.glob("Lib/site-packages"))
    own = (venv.CONFIG_NAME, ".zephyr/generation.json")
    return [
        beside.state,
        *(f"{place}/{name}" for name in own),
        *map(str, sites),
        str(venv.open_environment(place).python),
    ]


def _held(place: Path, site: str, mode: LinkMode, *, exact: bool) -> dict[str, str]:
    """The plan that the environment holds in this way of linking, by its digest and its content; "" for none, and
    where others have changed that.

    Nobody waits for that: it is looked up without the environment's lock, and again within it.
    """
    packages = place / site
    linked = packages.is_dir() and packages.is_symlink() == (mode == "env")
    whole = linked and venv.read_settings(place) is not None
    digest, content = held_plan(str(place), site, exact=exact) if whole else ("", "")
    return {"have": digest, "have_content": content}


def _question(call: Call, interpreter: Probe, chosen: Chosen, held: dict[str, str]) -> dict[str, Any]:
    wait = call.config.compile_bytecode
    compiled = {"interpreter": interpreter.executable, "cache_tag": interpreter.cache_tag, "wait": wait is True}
    return {
        **interpreter_of(call, interpreter),
        "lock": chosen.lock,
        "extras": list(chosen.extras),
        "groups": None if chosen.groups is None else list(chosen.groups),
        "requested": list(chosen.requested),
        "project": chosen.project,
        "base": chosen.base,
        "checkouts": str(named.beside_project(call.config, call.directory, call.config.checkouts)),
        "bytecode": compiled if wait is not False and interpreter.cache_tag else None,
        **held,
        **({"project_said": chosen.project_said} if chosen.project_said else {}),
        **({"only": list(chosen.only)} if chosen.only is not None else {}),
    }


def _link_mode(call: Call) -> LinkMode:
    for mode in _LINK_MODES:
        if call.config.link_mode == mode:
            return mode
    if call.config.link_mode is not None:
        raise UsageError(f"The link mode {call.config.link_mode!r} is not one of {', '.join(_LINK_MODES)}.")
    return "reflink"


def tell(call: Call, place: Path, synced: Synced, *, by_the_way: bool = False) -> None:
    """Says what a sync did; then what it made superfluous may go.

    by_the_way: it was not asked for, so nothing goes to stdout, and what was not changed is not spoken of.
    """
    outcome = synced.outcome
    for note in (*synced.notes, *(outcome.told if outcome is not None else ())):
        call.voice.note(note)
    value = {
        "environment": str(place),
        "packages": synced.packages,
        "generation": outcome.generation if outcome is not None else None,
        "added": list(outcome.added) if outcome is not None else [],
        "removed": list(outcome.removed) if outcome is not None else [],
    }
    if outcome is None:
        recover(call, place)
        if by_the_way:
            return
        call.voice.did(f"{place} holds its {packages(synced.packages)} already.", value)
        return
    phases = ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in outcome.phases_s.items())
    call.voice.detail(f"{phases}; {outcome.how}")
    if not call.voice.as_json:
        for sign, names in (("-", outcome.removed), ("+", outcome.added)):
            for name in names:
                call.voice.note(f"{sign} {name}") if by_the_way else call.voice.row(f"{sign} {name}")
    more = f", and {synced.others} more that pip or others installed" if synced.others > 0 else ""
    did = f"{place} holds {packages(synced.packages)} now (generation {outcome.generation}){more}."
    call.voice.note(did) if by_the_way else call.voice.did(did, value)
    from p2pcdn_shim.zephyr.environment import sweeping

    sweeping.start(place, call.config.generations)
