"""Repositories of sources in the real world: the user's own git program, which asks nobody anything."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit
from weakref import WeakValueDictionary

import trio

from p2pcdn.errors import NotFound, P2pcdnError, Refused, Unavailable
from p2pcdn.sandbox.run import drive
from p2pcdn.sandbox.spec import Limits
from p2pcdn.world import NO_VARIABLES, Processes, Threads
from p2pcdn_daemon.doors import checkouts

MIB = 1024 * 1024
# Whoever waits for a lock waits for 570 s. A history of a million commits without its files comes in a minute or two.
CHECKOUT_TIME_S_MAX = 480.0
# As much as a source tree may unpack to (`p2pcdn/build/unpack.py`); looked at while it grows. What lay in a checkout
# before (builds, environments, data) is its owner's.
CHECKOUT_SIZE_BYTES_MAX = 2048 * MIB
LOOK_EVERY_S = 0.5
_LIMITS = Limits(wall_s=CHECKOUT_TIME_S_MAX, stdout_bytes=64 * 1024, stderr_bytes=1 * MIB)

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
# What git says in English where nobody can be reached; anything else that fails is for good.
_NOBODY_THERE = re.compile(
    r"could not resolve|connection (?:timed out|refused|reset)|failed to connect|network is unreachable|early eof"
    r"|no route to host|operation timed out|returned error: 5\d\d|remote end hung up|temporary failure",
    re.IGNORECASE,
)
# A repository of this machine may have submodules of this machine; one from elsewhere may not read files here.
_PROTOCOLS = {"file": "file:https:ssh", "https": "https:ssh", "ssh": "https:ssh", "http": "http:https:ssh"}
# These bind git to some other repository, that of the shell from which the node was started.
_OF_ANOTHER_REPOSITORY = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"),
    *("GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_SHALLOW_FILE", "GIT_GRAFT_FILE", "GIT_CEILING_DIRECTORIES"),
)
# Git takes it before the user's setting of the same, which stays where there is one.
_SSH = "ssh -o BatchMode=yes"
# Told to git by its environment, which only this user may read; a command line is for all to see.
_HELPER = '!f() { test "$1" = get && printf \'username=%s\\npassword=%s\\n\' "$P2PCDN_USER" "$P2PCDN_WORD"; }; f'


@dataclass(frozen=True, slots=True)
class GitRepositories:
    """The `p2pcdn.world.Repositories` of the real world. environment: the user's, in which git finds his settings."""

    processes: Processes
    threads: Threads
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    # Two environments of a project share its checkouts.
    _turns: WeakValueDictionary[Path, trio.Lock] = field(default_factory=WeakValueDictionary, repr=False)

    async def check_out(
        self, url: str, revision: str | None, directory: Path, variables: Mapping[str, str] = NO_VARIABLES
    ) -> str:
        """See `p2pcdn.world.Repositories.check_out`."""
        return await self._watched(url, directory, variables, lambda git: git.check_out(revision))

    async def work_on(
        self,
        url: str,
        revision: str | None,
        directory: Path,
        variables: Mapping[str, str] = NO_VARIABLES,
        *,
        commit: str | None = None,
        switch: bool = False,
    ) -> str:
        """See `p2pcdn.world.Repositories.work_on`."""
        async with self._turns.setdefault(directory, trio.Lock()):
            return await self._watched(
                url, directory, variables, lambda git: git.work_on(revision, commit, switch=switch)
            )

    async def _watched(
        self, url: str, directory: Path, variables: Mapping[str, str], work: Callable[[_Git], Awaitable[str]]
    ) -> str:
        """Within the limits of time and size."""
        environment = {**self.environment, **variables}
        program = shutil.which("git", path=environment.get("PATH"))
        if program is None:
            raise Refused(f"{_shown(url)} needs the program git, and this machine has none on its PATH.")
        git = _Git(replace(self, environment=environment), program, url, directory)
        git.before_bytes = await self.threads.run(size_bytes, directory)
        failed: P2pcdnError | None = None
        commit = ""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(git.watch_size, nursery.cancel_scope)
            try:
                with trio.fail_after(CHECKOUT_TIME_S_MAX):
                    commit = await work(git)
            except trio.TooSlowError:
                failed = Unavailable(f"{_shown(url)} was not there within {CHECKOUT_TIME_S_MAX:.0f} s; ask again.")
            except P2pcdnError as error:  # raised below, for a nursery makes a group of it
                failed = error
            nursery.cancel_scope.cancel()
        if failed is not None or git.is_too_large:
            raise failed if failed is not None and not git.is_too_large else git.too_large()
        return commit


class _Git:
    """One check-out. Used by one task, and watched by another."""

    def __init__(self, real: GitRepositories, program: str, url: str, directory: Path) -> None:
        parts = urlsplit(url)
        self._real = real
        self._program = program
        self._shown = _shown(url)
        self._directory = directory
        self._url = self._shown  # it stands on a command line, and in the tree's own settings
        self._secrets = tuple(filter(None, (parts.password, unquote(parts.password or ""))))
        # Where the directory is no checkout, the one that it lies in is not meant.
        self._environment = {**environment_of(url, real.environment), "GIT_CEILING_DIRECTORIES": str(directory.parent)}
        self.before_bytes = 0
        self.is_too_large = False

    async def check_out(self, revision: str | None) -> str:
        await self._leave_the_users_ssh()
        if await self._real.threads.run((self._directory / ".git").exists):
            await self._run("config", "--local", "remote.origin.url", self._url)
            await self._run("fetch", "--quiet", "--tags", "--force", "origin")
        else:
            # Without the files of former commits, where the server can do that; setuptools-scm wants the history.
            await self._run("clone", "--quiet", "--no-checkout", "--filter=blob:none", "--", self._url, self._directory)
        commit = await self._commit(revision)
        await self._run("checkout", "--quiet", "--detach", "--no-overwrite-ignore", commit)
        if await self._real.threads.run((self._directory / ".gitmodules").is_file):
            await self._run("submodule", "--quiet", "update", "--init", "--recursive")
        return commit

    async def work_on(self, revision: str | None, commit: str | None, *, switch: bool) -> str:
        directory, run = self._directory, self._run
        if await self._real.threads.run(_has_something, directory):
            await checkouts.check_whose(run, directory, None if switch else self._shown)
            index = directory / (await run("rev-parse", "--git-path", "index")).strip()
            if await self._real.threads.run(index.exists):  # else it was cloned, and ended before it was filled
                if commit is not None and await checkouts.contains(run, commit):
                    return (await run("rev-parse", "HEAD")).strip()
                await checkouts.check_unchanged(run, directory)
        found = await self.check_out(commit or revision)
        await run("update-ref", checkouts.GIVEN, found)
        await checkouts.put_on_branch(run, revision, found)
        return found

    async def _leave_the_users_ssh(self) -> None:
        """Who has a setting for it names his key there, perhaps."""
        if self._environment.get("GIT_SSH_COMMAND") == _SSH:
            with suppress(NotFound):  # it has none
                await self._run("config", "--global", "--includes", "--get", "core.sshCommand")
                del self._environment["GIT_SSH_COMMAND"]

    async def _commit(self, revision: str | None) -> str:
        """As pip reads a revision: a branch, else a tag or what else git knows, else what the server gives for it."""
        if revision is not None and revision.startswith("-"):
            raise NotFound(f"{self._shown} has no revision {revision!r}: git would read it as an option.")
        for name in _names(revision):
            if (known := await self._known(name)) is not None and _is_meant(known, revision):
                return known
        if revision is not None:
            try:
                await self._run("fetch", "--quiet", "--", "origin", revision)
            except NotFound as error:
                raise NotFound(f"{self._shown} has no branch, tag or commit {revision!r}.") from error
            if (known := await self._known("FETCH_HEAD")) is not None and _is_meant(known, revision):
                return known
            raise NotFound(f"{self._shown} has no commit {revision!r}.")
        raise NotFound(f"{self._shown} has no commit yet.")

    async def _known(self, name: str) -> str | None:
        try:
            said = await self._run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        except NotFound:
            return None
        return said.strip() if _COMMIT.fullmatch(said.strip()) else None

    async def _run(self, *words: str | Path) -> str:
        """What git answers. Raises NotFound and Unavailable, with its last words."""
        inside = ["-C", str(self._directory)] if words[0] != "clone" and "--global" not in words else []
        argv = [self._program, *inside, "-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false"]
        try:
            async with self._real.processes.open([*argv, *map(str, words)], self._environment) as process:
                outcome = await drive(process, _LIMITS)
        except OSError as error:
            raise Refused(f"{self._program} cannot be started: {error.strerror or error}.") from error
        if outcome.code == 0 and outcome.broke is None:
            return outcome.stdout.decode("utf-8", "replace")
        raise self._failed(outcome.stderr.decode("utf-8", "replace"))

    def _failed(self, said: str) -> P2pcdnError:
        for secret in self._secrets:
            said = said.replace(secret, "****")
        lines = [line.strip() for line in said.splitlines() if not line.startswith(("hint:", "warning:", "Aborting"))]
        why = _without_secrets("; ".join(list(filter(None, lines))[-3:]))[:500] or "it gives no reason"
        kind = Unavailable if _NOBODY_THERE.search(said) else NotFound
        return kind(f"git cannot get {self._shown}: {why.rstrip('.')}.")

    async def watch_size(self, scope: trio.CancelScope) -> None:
        while True:
            await trio.sleep(LOOK_EVERY_S)
            grown_bytes = await self._real.threads.run(size_bytes, self._directory) - self.before_bytes
            if grown_bytes > CHECKOUT_SIZE_BYTES_MAX:
                self.is_too_large = True
                scope.cancel()

    def too_large(self) -> Refused:
        return Refused(f"{self._shown} has more than {CHECKOUT_SIZE_BYTES_MAX // MIB:,} MiB; nothing of it was kept.")


def _names(revision: str | None) -> list[str]:
    """What git may call it. A branch can have the name of a commit: whoever names a commit means no branch."""
    if revision is None:
        # Of a checkout that was there, HEAD is where it stands; of a clone whose server is on no branch, all there is.
        return ["refs/remotes/origin/HEAD", "HEAD"]
    return [revision] if _COMMIT.fullmatch(revision) else [f"refs/remotes/origin/{revision}", revision]


def _is_meant(commit: str, revision: str | None) -> bool:
    """Whether this may be the answer: a commit that was named is that one and no other."""
    return revision is None or not _COMMIT.fullmatch(revision) or commit == revision


def environment_of(url: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for git: the user's own settings, but nobody is asked for a password, and few protocols are."""
    parts = urlsplit(url)
    whole = {name: value for name, value in environment.items() if name not in _OF_ANOTHER_REPOSITORY}
    whole |= {
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS_REQUIRE": "never",
        "GIT_ALLOW_PROTOCOL": _PROTOCOLS.get(parts.scheme, "https:ssh"),
    }
    if "GIT_SSH" not in whole:
        whole.setdefault("GIT_SSH_COMMAND", _SSH)
    if parts.scheme in ("https", "http") and parts.username:
        told = whole.get("GIT_CONFIG_COUNT", "")
        count = int(told) if re.fullmatch("[0-9]{1,4}", told) else 0
        # For this host alone: a submodule may be anybody's, and so may be where a redirect leads to.
        key = f"credential.{parts.scheme}://{parts.netloc.rpartition('@')[2]}.helper"
        # An empty one first: no helper of the user's is to keep what stands in a requirement.
        for number, helper in enumerate(("", _HELPER), count):
            whole |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": helper}
        whole |= {"GIT_CONFIG_COUNT": str(count + 2), "P2PCDN_USER": unquote(parts.username)}
        whole |= {"P2PCDN_WORD": unquote(parts.password or "")}
    return whole


def _has_something(directory: Path) -> bool:
    return directory.exists() and any(directory.iterdir())


def size_bytes(directory: Path) -> int:
    """Of all files in it, as far as they are there while somebody writes. Blocks."""
    whole = 0
    for place, _, names in os.walk(directory):
        for name in names:
            try:
                whole += (Path(place) / name).lstat().st_size
            except OSError:
                continue  # git has renamed it meanwhile
    return whole


def _shown(url: str) -> str:
    """The URL as it may be said: without a password, and without a user but that of ssh."""
    parts = urlsplit(url)
    netloc = parts.netloc.rpartition("@")[2]
    if parts.scheme == "ssh" and parts.username:
        netloc = f"{parts.username}@{netloc}"
    return urlunsplit((parts.scheme, netloc, parts.path, "", ""))


def _without_secrets(text: str) -> str:
    return re.sub(r"(https?://)[^/@\s']+@", r"\1", text)
