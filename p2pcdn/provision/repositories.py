"""Commits of repositories (`name @ git+https://…@revision`): a tree is checked out once and kept as an archive."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import tarfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from p2pcdn import frames
from p2pcdn.digest import Sha256
from p2pcdn.envs.model import Vcs
from p2pcdn.envs.pylock_text import without_credentials
from p2pcdn.errors import Refused
from p2pcdn.provision.local import keep_file
from p2pcdn.store import Store
from p2pcdn.trust import is_trusted
from p2pcdn.world import NO_VARIABLES, Repositories, Threads

# Other programs that pip knows; git is the one that all of PyPI's direct references use.
OTHER_KINDS = ("hg", "svn", "bzr")
_SCHEMES = ("https", "ssh", "file", "http")
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")

# Which commit a former lock has for the URL of a repository (without credentials) and a revision, "" for none.
Pinned = Mapping[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class Place:
    """What a requirement says of a repository. url: as git takes it, perhaps with a password: never print it."""

    url: str = field(repr=False)
    revision: str | None = None
    subdirectory: str | None = None

    @property
    def shown(self) -> str:
        return without_credentials(self.url)


def is_repository(url: str) -> bool:
    """Whether a direct URL names a repository, of whatever kind."""
    return "+" in url.partition(":")[0]


def parse_place(project: str, url: str, trusted_hosts: Collection[str] = ()) -> Place:
    """Reads `git+SCHEME://…[@REVISION][#subdirectory=…]` (pip's VCS support; PEP 610). Raises Refused, one sentence."""
    check_readable(project, url)
    kind, _, plain = url.partition("+")
    if kind != "git":
        known = f"a {kind} repository" if kind in OTHER_KINDS else f"{kind[:20]!r}, which is no kind of repository"
        raise Refused(f"{project} comes from {known}, and only git's are taken; an archive of it has a URL, too.")
    parts = urlsplit(plain)
    # As pip reads it: a revision may have slashes (refs/pull/7/head), so a path may have no @.
    path, at, revision = parts.path.rpartition("@") if "@" in parts.path else (parts.path, "", "")
    if at and not revision:
        raise Refused(f"{project} names no revision after the @ of {without_credentials(plain)}.")
    bare = urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
    place = Place(bare, revision or None, parse_qs(parts.fragment).get("subdirectory", [None])[0])
    check_place(project, place, trusted_hosts)
    return place


def check_place(project: str, place: Place, trusted_hosts: Collection[str]) -> None:
    """Raises Refused for what must not reach git: another scheme, plain http, words that look like options."""
    check_readable(project, place.url)
    parts = urlsplit(place.url)
    if parts.scheme not in _SCHEMES or not (parts.hostname or parts.scheme == "file") or not parts.path:
        raise Refused(f"{project} comes from {place.shown}; a git repository is at an https, ssh or file URL.")
    if parts.scheme == "http":
        refuse_plain_http(project, place.url, trusted_hosts)
    words = (place.revision or "", place.subdirectory or "", unquote(parts.hostname or ""), parts.username or "")
    if any(word.startswith("-") or not word.isprintable() for word in words) or ".." in (place.subdirectory or ""):
        raise Refused(f"{project} comes from {place.shown}, with a revision or directory that none can have.")


def check_readable(project: str, url: str) -> None:
    """Raises Refused for what only looks like a URL: a port that is no number, half an IPv6 address."""
    try:
        _ = urlsplit(url).port
    except ValueError as error:
        # Not what stands there: what is no port may be half a password.
        raise Refused(f"{project} comes from a URL that cannot be read: its host and port are none.") from error


def refuse_plain_http(project: str, url: str, trusted_hosts: Collection[str]) -> None:
    """Raises Refused for a direct URL that anybody on the way could answer, unless its host is trusted by name."""
    check_readable(project, url)
    if urlsplit(url).scheme == "http" and not is_trusted(url, trusted_hosts):
        host = urlsplit(url).netloc.rpartition("@")[2]
        raise Refused(
            f"{project} comes from {without_credentials(url)} over plain http, where anybody on the way can change it. "
            f"Use https, or trust the host by name: trusted-host = [{host!r}]."
        )


@dataclass(slots=True)
class Commits:
    """Used by one trio loop. Each commit is an archive of the store, never shared: no index vouches for it."""

    store: Store
    threads: Threads
    repositories: Repositories | None

    async def find(
        self, project: str, place: Place, pinned: Pinned, variables: Mapping[str, str] = NO_VARIABLES
    ) -> tuple[Vcs, Sha256]:
        """The commit that a place means: as a former lock has it, else as the repository says now; and its archive.

        variables: as for `Repositories.check_out`. Raises what that raises, and Refused in a node without one.
        """
        wanted = pinned.get((place.shown, place.revision or ""), place.revision)
        commit, sha256 = await self._archive(project, place.url, wanted, variables)
        return Vcs("git", commit, place.shown, None, place.revision, place.subdirectory), sha256

    async def archive(
        self,
        project: str,
        vcs: Vcs,
        trusted_hosts: Collection[str],
        variables: Mapping[str, str] = NO_VARIABLES,
    ) -> Sha256:
        """The archive of a commit that a lock names. Raises as `find` does."""
        place = _locked_place(project, vcs, trusted_hosts)
        commit, sha256 = await self._archive(project, place.url, vcs.commit_id, variables)
        if commit != vcs.commit_id:
            raise Refused(f"{project} is locked to commit {vcs.commit_id}, and {place.shown} gave {commit}.")
        return sha256

    async def work_on(
        self,
        project: str,
        vcs: Vcs,
        directory: Path,
        trusted_hosts: Collection[str],
        variables: Mapping[str, str] = NO_VARIABLES,
    ) -> str:
        """A checkout of that commit in which its user works. Raises as `Repositories.work_on` does, and Refused."""
        place = _locked_place(project, vcs, trusted_hosts)
        asked, revision = self._asked(project, place.shown), vcs.requested_revision
        return await asked.work_on(place.url, revision, directory, variables, commit=vcs.commit_id)

    async def _archive(
        self, project: str, url: str, revision: str | None, variables: Mapping[str, str] = NO_VARIABLES
    ) -> tuple[str, Sha256]:
        shown = without_credentials(url)
        if revision is not None and _COMMIT.fullmatch(revision) and (held := self._held(shown, revision)) is not None:
            return revision, held
        asked = self._asked(project, shown)
        workplace = self.store.workshop / f"work-{secrets.token_hex(4)}"
        await self.threads.run(_make_private, workplace)
        try:
            tree = workplace / "tree"
            commit = await asked.check_out(url, revision, tree, variables)
            file = workplace / "tree.tar"
            await self.threads.run(_pack, tree, file)
            sha256 = (await keep_file(self.store, self.threads, file, project)).sha256
        finally:
            await self.threads.run(shutil.rmtree, workplace, ignore_errors=True)
        await self.store.change(values={("environments", _key(shown, commit)): frames.encode(sha256)})
        return commit, sha256

    def _asked(self, project: str, shown: str) -> Repositories:
        """Raises Refused in a node that has none to ask."""
        if self.repositories is None:
            raise Refused(f"{project} comes from {shown}, and this node asks no repositories.")
        return self.repositories

    def _held(self, shown: str, commit: str) -> Sha256 | None:
        octets = self.store.value("environments", _key(shown, commit))
        sha256 = Sha256(frames.decode(octets)) if octets is not None else None
        return sha256 if sha256 is not None and self.store.blob(sha256) is not None else None


def _locked_place(project: str, vcs: Vcs, trusted_hosts: Collection[str]) -> Place:
    """Raises Refused for what a lock should not say."""
    if vcs.type != "git":
        raise Refused(f"{project} comes from a repository of the kind {vcs.type[:20]!r}, and only git's are taken.")
    if not _COMMIT.fullmatch(vcs.commit_id):
        raise Refused(f"{project} is locked to {vcs.commit_id[:60]!r}, which is no commit; lock it again.")
    place = Place(vcs.url or vcs.path or "", vcs.requested_revision or vcs.commit_id, vcs.subdirectory)
    check_place(project, place, trusted_hosts)
    return place


def archive_name(project: str, vcs: Vcs) -> str:
    """What the archive of a commit is called where it is built."""
    return f"{project}-{vcs.commit_id[:12]}.tar"


def _key(shown: str, commit: str) -> str:
    return f"commit/{hashlib.sha256(f'{shown} {commit}'.encode()).hexdigest()}"


def _make_private(directory: Path) -> None:
    directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.mkdir(mode=0o700)


def _pack(tree: Path, file: Path) -> None:
    """All of a tree at the top of an archive: beside `.git` nothing there can pass for an sdist's PKG-INFO. Blocks."""
    with tarfile.open(file, "x", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(tree.iterdir()):
            archive.add(path, path.name)
