"""Changes an environment file by file, where its directory cannot be swapped: a system's prefix, a mount point.

A kill in the middle leaves some files old and some new until the next command: then it goes on from the journal. All
files are linked before the first is moved, so a full disk cannot stop it half-way but for the space of names.
"""

from __future__ import annotations

import json
import os

from p2pcdn.envs.carried import told_of
from p2pcdn.envs.errors import CannotInstall
from p2pcdn.envs.link import write_all
from p2pcdn.envs.places import OF_A_GENERATION, OWN, plan_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Any

    from p2pcdn.envs.places import Places
    from p2pcdn.envs.plan import Plan


def apply(places: Places, new: str, dropped: Collection[str]) -> list[str]:
    """Puts a built generation into place; what it replaces is kept as a generation. Returns sentences for the user.

    Raises CannotInstall and OSError, before anything was moved; what goes wrong later is CannotInstall, and says so.
    """
    before, after = plan_of(places.root), plan_of(new)
    ours = set(before.paths()) if before else set()
    wanted = set(after.paths()) if after else set()
    _check_ways(places.root, after)
    hidden = [path for path in sorted(wanted - ours - set(dropped)) if os.path.lexists(f"{places.root}/{path}")]
    _keep(places, [*sorted(ours | set(dropped)), *hidden])
    gone = [path for path in sorted(ours | set(dropped)) if not os.path.lexists(f"{new}/{path}")]
    _write_journal(places.applying, {"new": new, "gone": gone})
    try:
        finish_apply(places)
    except OSError as error:
        raise CannotInstall(
            f"{places.root} was changed half-way, and no further: {error}. The next command goes on from there."
        ) from error
    return told_of(hidden)


def finish_apply(places: Places) -> None:
    """Carries out what the journal says, however much of it was done already. Raises OSError."""
    try:
        with open(places.applying, "rb") as file:
            job = json.loads(file.read())
    except ValueError:
        # One that was never finished: nothing was moved before it was.
        _unlink(places.applying)
        return
    new, own = job["new"], f"{places.root}/{OWN}"
    if os.path.lexists(new):
        _put(new, places.root)
        _take_away(places.root, job["gone"])
        os.makedirs(own, exist_ok=True)
        for name in OF_A_GENERATION:
            if os.path.lexists(f"{new}/{OWN}/{name}"):
                os.replace(f"{new}/{OWN}/{name}", f"{own}/{name}")
        places.trash(new)
    _unlink(places.applying)


def _write_journal(path: str, job: dict[str, Any]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        write_all(descriptor, json.dumps(job).encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_ways(root: str, after: Plan | None) -> None:
    """Everything that could stand in the way is found before anything is moved."""
    for path in after.directories if after else ():
        if os.path.lexists(f"{root}/{path}") and not os.path.isdir(f"{root}/{path}"):
            raise CannotInstall(f"{root}/{path} is no directory, and packages need one there. Nothing was changed.")
    for path in after.paths() if after else ():
        if os.path.isdir(f"{root}/{path}") and not os.path.islink(f"{root}/{path}"):
            raise CannotInstall(f"{root}/{path} is a directory, and a package has a file there. Nothing was changed.")


def _keep(places: Places, paths: Sequence[str]) -> None:
    """Links all that will go or be replaced, with what the old generation says of itself."""
    kept = places.generation(places.current())
    if os.path.lexists(kept):
        return
    unfinished = places.next(0)
    if os.path.lexists(unfinished):
        places.trash(unfinished)
    os.makedirs(f"{unfinished}/{OWN}")
    own = [f"{OWN}/{name}" for name in OF_A_GENERATION]
    for path in [*own, *paths]:
        if os.path.lexists(f"{places.root}/{path}"):
            os.makedirs(os.path.dirname(f"{unfinished}/{path}"), exist_ok=True)
            os.link(f"{places.root}/{path}", f"{unfinished}/{path}", follow_symlinks=False)
    os.rename(unfinished, kept)


def _put(new: str, root: str) -> None:
    """Moves every file that is still in `new`; those that are not were moved before the kill."""
    ahead = [""]
    while ahead:
        directory = ahead.pop()
        with os.scandir(f"{new}/{directory}") as entries:
            found = list(entries)
        if directory and found and not os.path.isdir(f"{root}/{directory}"):
            os.mkdir(f"{root}/{directory}")
        for entry in found:
            path = f"{directory}/{entry.name}" if directory else entry.name
            if not entry.is_dir(follow_symlinks=False):
                os.replace(entry.path, f"{root}/{path}")
            elif path != OWN:
                ahead.append(path)


def _take_away(root: str, gone: Collection[str]) -> None:
    directories = set()
    for path in gone:
        _unlink(f"{root}/{path}")
        below = os.path.dirname(path)
        if path.endswith(".py"):
            _take_bytecode_away(f"{root}/{below}", os.path.basename(path)[:-3])
            directories.add(f"{below}/__pycache__".lstrip("/"))
        while below:
            directories.add(below)
            below = os.path.dirname(below)
    for directory in sorted(directories, key=len, reverse=True):
        try:
            os.rmdir(f"{root}/{directory}")
        except OSError:
            continue  # not empty, or gone already


def _take_bytecode_away(directory: str, module: str) -> None:
    try:
        found = os.listdir(f"{directory}/__pycache__")
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in found:
        if name.partition(".")[0] == module:
            _unlink(f"{directory}/__pycache__/{name}")


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        return
