"""Carries a plan out: makes directories, links files, writes the few that differ from environment to environment."""

from __future__ import annotations

from p2pcdn.envs.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Literal

    LinkMode = Literal["reflink", "hardlink", "copy", "env"]
    # Gives the launcher that Windows scripts begin with ("console" or "gui").
    Launcher = Callable[[str], bytes]


class Source:
    """Where a wheel of the plan is on this machine: its tree, and the byte code compiled for it ("" for none)."""

    __slots__ = ("bytecode", "tree")

    def __init__(self, tree: str, bytecode: str = "") -> None:
        self.tree = tree
        self.bytecode = bytecode


class Installed:
    """What was done. how: links made, by kind ("hardlink": 7562). told: sentences for the user (a fallback to
    copies).
    """

    __slots__ = ("how", "phases_s", "told")

    def __init__(self, how: dict[str, int], told: list[str], phases_s: dict[str, float]) -> None:
        self.how = how
        self.told = told
        self.phases_s = phases_s


def install(
    plan: Plan,
    sources: Sequence[Source],
    root: str,
    *,
    python: str,
    link_mode: LinkMode = "reflink",
    site_tree: str = "",
    launcher: Launcher | None = None,
) -> Installed:
    """Makes all that the plan says below `root`, an existing directory in which nothing of it exists yet.

    sources: one for each of `plan.wheels`, in their order. python: the absolute path that scripts will name as
    interpreter. link_mode "reflink" means reflink, else hardlink, else copy; "hardlink" means hardlink, else copy.
    "env": the site-packages become one symlink to `site_tree`, which `install_site` made. Raises CannotInstall; what
    it made until then stays, so that `root` must be somewhere beside the environment (`generations` does that).
    """
    raise NotImplementedError


def install_site(plan: Plan, sources: Sequence[Source], tree: str, *, link_mode: LinkMode = "hardlink") -> Installed:
    """Makes the tree that link mode `env` points to: the plan's site-packages, read-only, there afterwards or not at
    all.

    Its RECORDs list scripts without hashes, for scripts are written in each environment.
    """
    raise NotImplementedError
