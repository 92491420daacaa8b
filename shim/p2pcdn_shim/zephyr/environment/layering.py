"""How a layer is made: its packages chosen and linked, what is below it seen from it, the scripts there repeated."""

from __future__ import annotations

import os
from pathlib import Path

from p2pcdn.envs.scripts import shebang
from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.configuration.urls import without_secrets
from p2pcdn_shim.zephyr.environment import direct_urls, syncing, venv
from p2pcdn_shim.zephyr.environment.installed import installed
from p2pcdn_shim.zephyr.environment.interpreter import interpreter_of, scheme_of
from p2pcdn_shim.zephyr.environment.layers import MARK, Layer, is_whole, remove, sweep, turn
from p2pcdn_shim.zephyr.errors import ZephyrError
from p2pcdn_shim.zephyr.interpreters.probes import probe
from p2pcdn_shim.zephyr.machine import platforms
from p2pcdn_shim.zephyr.node import asking
from p2pcdn_shim.zephyr.project.pyproject import name_of, normalize
from p2pcdn_shim.zephyr.terminal.progress import Progress

# Of a file that is no script, no more than this is read.
HEAD_SIZE_BYTES = 512


def make(call: Call, place: Path, layer: Layer, *, anew: bool, upgrade: bool) -> None:
    """Makes a layer at its place. Raises NodeRefused, ZephyrError.

    anew: one that is there is brought up to date; else it stays, for somebody was faster.
    """
    if call.config.link_mode == "env":  # there, site-packages is a tree of the store, and holds no `.pth` of ours
        call.config = call.config.but(link_mode=None)
    try:
        with turn(place, call.command, call.voice.note):
            if anew or not is_whole(place):
                _make(call, place, layer, upgrade=upgrade)
    except OSError as error:
        raise ZephyrError(f"No environment can be made at {place}: {error.strerror or error}.") from error
    sweep(place.parent, command=call.command)


def _make(call: Call, place: Path, layer: Layer, *, upgrade: bool) -> None:
    settings = venv.read_settings(place)
    if settings is not None and venv.Environment(place, settings).is_broken:
        remove(place)
        settings = None
    try:
        if settings is None:
            _create(place, layer)
        if layer.requirements:
            _fill(call, place, layer, upgrade=upgrade)
        if layer.below is not None:
            _lay_over(place, layer, layer.below)
        (place / MARK).write_text(f"{without_secrets(' '.join(layer.requirements))}\n", encoding="utf-8")
    except BaseException:
        if settings is None and venv.read_settings(place) is not None:
            remove(place)
        raise


def _create(place: Path, layer: Layer) -> None:
    sees_system = layer.below is not None and layer.below.settings.get("include-system-site-packages") == "true"
    venv.create(place, layer.interpreter, prompt=layer.prompt, system_site_packages=sees_system)


def _fill(call: Call, place: Path, layer: Layer, *, upgrade: bool) -> None:
    below = dict(installed(layer.below.path)) if layer.below is not None else {}
    question = {
        **asking.options_of(call.config),
        "requirements": direct_urls.typed(layer.requirements, call),
        "editable": [],
    }
    with call.node() as client:
        here = {**interpreter_of(call, layer.interpreter), "installs": True}
        with Progress(call.voice, "Resolving", at_once=True):
            locked = asking.ask_resolve(client, question, here, [*below.items()], upgrade=upgrade)
        for warning in locked.warnings:
            call.voice.warn(warning)
        requested = tuple(dict.fromkeys(map(name_of, question["requirements"])))
        chosen = syncing.Chosen(locked.text, requested=requested, exact=False)
        syncing.sync(call, client, place, layer.interpreter, chosen)
    for name, version in sorted(installed(place)):
        theirs = {normalize(one): number for one, number in below.items()}.get(normalize(name), version)
        if theirs != version:
            call.voice.note(f"{name} {version} stands in front of {theirs}, for this run.")


def _lay_over(place: Path, layer: Layer, below: venv.Environment) -> None:
    paths = probe(below.python).paths
    seen = dict.fromkeys((paths["purelib"], paths["platlib"]))
    line = "; ".join(["import site", *(f"site.addsitedir({path!r})" for path in seen)])
    scripts = place / platforms.scripts_name()
    try:
        (place / scheme_of(layer.interpreter).purelib / "zephyr_layer.pth").write_text(f"{line}\n", encoding="utf-8")
        for script in (below.path / platforms.scripts_name()).iterdir():
            if (content := _moved(script, below.python, place)) is not None and not (scripts / script.name).exists():
                (scripts / script.name).write_bytes(content)
                (scripts / script.name).chmod(0o755)
    except OSError as error:
        raise ZephyrError(f"{place} cannot be laid over {below.path}: {error.strerror or error}.") from error


def _moved(script: Path, python: Path, place: Path) -> bytes | None:
    """A script of the environment below for the layer's Python: a test runner sees what was laid over it.

    None for what no Python of that environment runs.
    """
    if script.is_symlink() or not script.is_file():
        return None
    old, new = f"{python.parent}{os.sep}python".encode(), str(platforms.python_of(place))
    with script.open("rb") as opened:
        head = opened.read(HEAD_SIZE_BYTES)
        if not head.startswith(b"#!") or old not in head:
            return None
        content = head + opened.read()
    first, _, rest = content.partition(b"\n")
    if first.startswith(b"#!" + old):
        return shebang(new, first.partition(b" ")[2].decode("utf-8", "replace")) + rest
    # A shell that starts the interpreter, for a path that is long or has a blank (`shebang`).
    second, _, rest = rest.partition(b"\n")
    if second.startswith(b"'''exec' ") and old in second:
        return shebang(new) + rest.partition(b"\n")[2]
    return None
