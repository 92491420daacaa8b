"""One change of an environment: build the next generation, carry over what is others', swap, put the old one away."""

from __future__ import annotations

import errno
import os
import stat
from time import perf_counter

from p2pcdn.envs import history
from p2pcdn.envs.carried import carry, told_of
from p2pcdn.envs.errors import CannotInstall
from p2pcdn.envs.install import sentence
from p2pcdn.envs.places import carried_of, names, number_of, state_of, write_own
from p2pcdn.envs.swap import finish_swap, swap, write_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

    from p2pcdn.envs.install import Installed
    from p2pcdn.envs.places import Places
    from p2pcdn.envs.plan import Plan


class Change:
    """What is to happen. build: fills an empty directory. entry: the line of the history.

    dropped: others' files that go. sealed: as `carry` has it. durable: the new one is on the disk before the swap.
    root: what its scripts name, "" for the environment's place.
    """

    __slots__ = ("after", "before", "build", "dropped", "durable", "entry", "root", "sealed")

    def __init__(
        self,
        build: Callable[[str], Installed],
        before: Plan | None,
        after: Plan | None,
        entry: dict[str, Any],
        *,
        dropped: Collection[str],
        sealed: str,
        durable: bool = False,
        root: str = "",
    ) -> None:
        self.build = build
        self.before = before
        self.after = after
        self.entry = entry
        self.dropped = dropped
        self.sealed = sealed
        self.durable = durable
        self.root = root


def carry_out(change: Change, places: Places) -> Installed:
    """Whoever calls holds the lock. Raises CannotInstall; then the environment is as it was.

    Also an interruption goes through: then it is as it was, or the change was done already.
    """
    new = places.next(change.entry["generation"])
    try:
        done = _built(change, places, new)
        began_s = perf_counter()
        done.told += _put_in_place(change, places, new)
        done.phases_s["swap"] = perf_counter() - began_s
    except BaseException as error:
        if not _is_needed(places, change.entry["generation"]):
            remove(new)
        if isinstance(error, OSError):
            raise CannotInstall(sentence(error, places.root)) from error
        raise
    done.told += _finish(places)
    return done


def recover(places: Places) -> None:
    """Cleans up after a command that was killed. Whoever calls holds the lock. Raises OSError."""
    if os.path.lexists(places.applying):
        from p2pcdn.envs.piecewise import finish_apply

        finish_apply(places)
    finish_swap(places.root, places.journal)
    for name in names(places.state):
        if name.startswith("next-") and name != f"next-{places.current()}":
            places.trash(f"{places.state}/{name}")
    _put_away(places)


def remove(tree: str) -> None:
    """Removes a tree that nobody uses; what cannot be removed goes with the next `sweep`."""
    import shutil

    shutil.rmtree(tree, ignore_errors=True)


def _is_needed(places: Places, number: int) -> bool:
    """Whether next-N is what a journal names, or what was swapped out already: then the next command goes on from
    it.
    """
    journals = (places.applying, places.journal)
    return places.current() == number or any(os.path.lexists(path) for path in journals)


def _put_in_place(change: Change, places: Places, new: str) -> list[str]:
    if places.whole:
        try:
            swap(new, places.root, places.journal)
        except OSError as error:
            # Of an overlay the lower layer's directories cannot be renamed (EXDEV); a mount point is busy.
            if error.errno not in (errno.EXDEV, errno.EBUSY):
                raise
        else:
            return []
    if change.sealed:
        raise CannotInstall(
            f"{places.root} cannot be swapped as a whole, and link mode env needs that. Nothing was changed;"
            " use --link-mode hardlink."
        )
    from p2pcdn.envs.piecewise import apply

    return apply(places, new, change.dropped)


def _built(change: Change, places: Places, new: str) -> Installed:
    os.mkdir(new)
    done = change.build(new)
    began_s = perf_counter()
    if places.whole and os.path.isdir(places.root):
        os.chmod(new, stat.S_IMODE(os.stat(places.root).st_mode) | stat.S_IRWXU)
        carried = carry(
            places.root,
            new,
            before=change.before,
            after=change.after,
            dropped=change.dropped,
            sealed=change.sealed,
        )
        done.told += told_of(carried.hidden)
        paths = carried.paths
    else:
        paths = []
    digest, content = (change.after.digest(), change.after.content()) if change.after else ("", "")
    state = {
        "generation": change.entry["generation"],
        "plan": digest,
        "content": content,
        "distributions": change.after.distributions() if change.after else [],
        "entry": change.entry,
        "root": change.root or places.root,
    }
    write_own(new, change.after, paths, state)
    done.phases_s["carry"] = perf_counter() - began_s
    if change.durable:
        write_out(new)
    return done


def _finish(places: Places) -> list[str]:
    """The change is done; what comes now may fail without undoing it."""
    try:
        _put_away(places)
    except OSError as error:
        return [f"The environment is changed; cleaning up is left to the next command ({error})."]
    return []


def _put_away(places: Places) -> None:
    """What generation N replaced lies at next-N: it becomes a kept generation, without what N took over from it."""
    number = places.current()
    if number > history.last_generation(places.history):
        history.append(places.history, state_of(places.root)["entry"])
    old = places.next(number)
    if not os.path.lexists(old):
        return
    for path in carried_of(places.root):
        try:
            os.unlink(f"{old}/{path}")
        except (FileNotFoundError, NotADirectoryError):
            continue
    kept = places.generation(number_of(old))
    if os.path.lexists(kept):
        places.trash(kept)
    os.rename(old, kept)
