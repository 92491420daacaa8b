"""Checkouts of git that their users work in: what they did there is never lost, nor written over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from p2pcdn.errors import NotFound, Refused

# Runs git in the checkout, and gives what it says. Raises NotFound and Unavailable.
Git = Callable[..., Awaitable[str]]

# What we put there last: a commit by its id, or that of some other ref, belongs to no branch.
GIVEN = "refs/p2pcdn/given"
# What the repository has, as far as the checkout knows. Tags may be the user's, too: what they mark is not lost, but
# no branch is moved away from there.
_THEIRS = ("--not", "--remotes", "--glob=refs/p2pcdn/*")
_THEIRS_OR_MARKED = (*_THEIRS, "--tags")


async def check_whose(git: Git, directory: Path, shown: str | None) -> None:
    """Raises Refused for what is no checkout of this repository. shown: its URL, without a password; None: any."""
    with suppress(NotFound):
        url = await git("config", "--local", "--get", "remote.origin.url")
        if shown is None or _same(url, shown):
            return
        raise Refused(
            f"{directory} is a checkout of another repository than {shown}; it was left as it is. Move it away first."
        )
    raise Refused(f"{directory} is there and is no clone of a repository; it was left as it is. Move it away first.")


async def contains(git: Git, commit: str) -> bool:
    """Whether it stands on this commit, perhaps with others of its user's on top."""
    try:
        await git("merge-base", "--is-ancestor", commit, "HEAD")
    except NotFound:
        return False
    return commit == (await git("rev-parse", "HEAD")).strip() or await _has_own(git, "HEAD")


async def check_unchanged(git: Git, directory: Path) -> None:
    """Raises Refused where something would be lost: files that were changed, commits that nobody else has."""
    # Whatever a user's settings, or the repository's, leave out.
    if (await git("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=none")).strip():
        raise Refused(
            f"{directory} has changes that are not committed; nothing of it was touched. Commit or stash them, and try"
            " again."
        )
    if await _has_own(git, "HEAD"):
        raise Refused(
            f"{directory} has commits that its repository does not have; nothing of it was touched. Push them, or put"
            " them on a branch and check out another one, and try again."
        )


async def put_on_branch(git: Git, revision: str | None, commit: str) -> None:
    """On the branch that was named, or the repository's own, where that stands at this commit; else beside all."""
    with suppress(NotFound):  # a tag or a commit; or nobody says which branch it is
        branch = revision or (await git("rev-parse", "--abbrev-ref", "origin/HEAD")).strip().removeprefix("origin/")
        # A branch may be called as a commit is.
        stands_there = (await git("rev-parse", f"refs/remotes/origin/{branch}")).strip() == commit
        if stands_there and not await _has_own(git, f"refs/heads/{branch}", theirs=_THEIRS):
            await git("checkout", "--quiet", "-B", branch, "--track", f"origin/{branch}")


async def _has_own(git: Git, ref: str, *, theirs: tuple[str, ...] = _THEIRS_OR_MARKED) -> bool:
    try:
        return bool((await git("rev-list", "--max-count=1", ref, *theirs)).strip())
    except NotFound:
        return False  # there is no such branch, or no commit yet


def _same(one: str, other: str) -> bool:
    """Whether two URLs name one repository, whoever asks for it there."""
    return _bare(one) == _bare(other)


def _bare(url: str) -> str:
    parts = urlsplit(url.strip())
    whole = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return whole.rstrip("/").removesuffix(".git")
