"""Environments that change all at once: a generation is built beside the one in use, and swapped for it."""

from __future__ import annotations

from p2pcdn.envs.install import Source
from p2pcdn.envs.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from p2pcdn.envs.install import Launcher, LinkMode

# Old generations cost directories and names only: their files are links.
KEPT_GENERATIONS = 3


class Outcome:
    """What a change did. generation: its number, 0 where there was nothing to change. told: sentences for the user."""

    __slots__ = ("added", "generation", "phases_s", "removed", "told")

    def __init__(
        self,
        generation: int,
        added: Sequence[str],
        removed: Sequence[str],
        told: Sequence[str],
        phases_s: Mapping[str, float],
    ) -> None:
        self.generation = generation
        self.added = tuple(added)
        self.removed = tuple(removed)
        self.told = tuple(told)
        self.phases_s = dict(phases_s)


class Environment:
    """One environment on this machine: `root` is its directory (`.venv`), which may not be there yet.

    Its lock, history and old generations lie beside it, in `.zephyr/NAME/`. Whoever changes it holds the lock:
        with Environment(root, command="zephyr sync", now_s=…).locked(wait=print) as environment:
            environment.sync(plan, sources, python=…)
    """

    def __init__(self, root: str, *, command: str, now_s: float) -> None:
        raise NotImplementedError

    def locked(self, wait: Callable[[str], None]) -> Environment:
        """Waits for its turn; `wait` gets one sentence that says for whom. Then cleans up what a killed command
        left.
        """
        raise NotImplementedError

    def plan_digest(self) -> str:
        """The digest of the plan that it holds now; "" for none. Needs no lock, reads one small file: `sync` with
        nothing to do.
        """
        raise NotImplementedError

    def sync(
        self,
        plan: Plan,
        sources: Sequence[Source],
        *,
        python: str,
        link_mode: LinkMode = "reflink",
        site_tree: str = "",
        launcher: Launcher | None = None,
        exact: bool = True,
        provenance: Mapping[str, Mapping[str, str]] | None = None,
    ) -> Outcome:
        """Makes it hold what the plan says. Files that zephyr did not put there survive.

        exact: distributions that others installed (pip) go too, as `sync` promises; else only those that the plan
        replaces. provenance: project -> {"index", "file", "sha256", "from"}: goes into the history. Raises
        CannotInstall: then it is as it was.
        """
        raise NotImplementedError

    def rollback(self, generation: int | None = None, *, python: str) -> Outcome:
        """Makes it hold again what that generation held (None: the one before). Needs no network and no store."""
        raise NotImplementedError

    def generations(self) -> list[dict[str, Any]]:
        """Those that can be gone back to, and the one in use, the newest first: "generation", "at_s", "command",
        "current".
        """
        raise NotImplementedError

    def history(self) -> list[dict[str, Any]]:
        """The audit log, the oldest first: every change with the provenance of what it brought."""
        raise NotImplementedError
