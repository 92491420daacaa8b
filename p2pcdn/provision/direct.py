"""Packages by direct URL (PEP 508, `name @ url`): fetched or read, their metadata, and how a lock names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qs, unquote, urljoin, urlsplit

from p2pcdn.digest import Sha256
from p2pcdn.envs.model import Directory, LockedFile, LockedPackage, Vcs
from p2pcdn.envs.places import make_ignored
from p2pcdn.envs.pylock_text import without_credentials
from p2pcdn.errors import Refused, Unavailable
from p2pcdn.fetch import Fetch, Metadata, Wanted
from p2pcdn.names import is_file_name
from p2pcdn.provision.asked import Wheel
from p2pcdn.provision.building import Builds
from p2pcdn.provision.local import keep_file
from p2pcdn.provision.promised import Promise, check, promises
from p2pcdn.provision.repositories import (
    Commits,
    Pinned,
    archive_name,
    check_readable,
    is_repository,
    parse_place,
    refuse_plain_http,
)
from p2pcdn.provision.toolchain import Toolchain
from p2pcdn.resolve import Source
from p2pcdn.simple import File
from p2pcdn.store import Blob, Store
from p2pcdn.world import Index, MoreIndexes, Threads


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms something comes by URL. toolchain: builds it, where it must be built; None: then it is refused.

    trusted_hosts: may be asked over plain http. pinned: commits of a former lock, which stay. variables: for git, as
    `Repositories.check_out` takes them.
    """

    toolchain: Toolchain | None = None
    trusted_hosts: tuple[str, ...] = ()
    pinned: Pinned = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(slots=True)
class Direct:
    """Used by one trio loop. What comes by URL is kept as any file is, and never shared: no index vouches for it.

    default: the index whose proxies and rules count for hosts that are nobody's. more_indexes: takes the hosts
    that users name, and the passwords that stand in URLs.
    """

    store: Store
    fetch: Fetch
    metadata: Metadata
    builds: Builds
    commits: Commits
    threads: Threads
    default: Index
    more_indexes: MoreIndexes | None = None

    async def of(self, source: Source, terms: Terms) -> tuple[bytes, LockedFile | Directory | Vcs]:
        """Its METADATA, and what a lock says of it.

        Raises Refused for what cannot be taken (a repository that is not git's, plain http, something to build without
        a toolchain), NotFound, BuildFailed, SandboxUnusable, DigestMismatch, and what fetching and git raise.
        """
        check_readable(source.project, source.url)
        if is_repository(source.url):
            return await self._of_repository(source, terms)
        parts = urlsplit(source.url)
        subdirectory = parse_qs(parts.fragment).get("subdirectory", [None])[0]
        if parts.scheme not in ("http", "https", "file"):
            raise Refused(
                f"{source.project} comes from a URL of the kind {parts.scheme[:20]!r}, and packages are taken from "
                "https, file and git+ URLs only."
            )
        refuse_plain_http(source.project, source.url, terms.trusted_hosts)
        place = without_credentials(source.url)
        path = Path(unquote(parts.path))
        if parts.scheme == "file" and await self.threads.run(path.is_dir):
            where = Directory(str(path), subdirectory=subdirectory)
            return await self.builds.metadata_of_directory(where, _given(terms, source.project)), where
        blob, name = await self._blob(source, path, promises(source.project, parts.fragment))
        file = LockedFile(
            name, {"sha256": str(blob.sha256)}, place, size_bytes=blob.size_bytes, subdirectory=subdirectory
        )
        wanted = self._wanted(source.project, place, name, blob.sha256)
        if name.endswith(".whl"):
            return await self.metadata.of(wanted), file
        return await self.builds.metadata(wanted, _given(terms, source.project), subdirectory or ""), file

    async def _of_repository(self, source: Source, terms: Terms) -> tuple[bytes, Vcs]:
        place = parse_place(source.project, source.url, terms.trusted_hosts)
        toolchain = _given(terms, source.project)
        vcs, sha256 = await self.commits.find(source.project, place, terms.pinned, terms.variables)
        archive = self._wanted(source.project, "", archive_name(source.project, vcs), sha256)
        return await self.builds.metadata(archive, toolchain, vcs.subdirectory or ""), vcs

    async def commit(self, package: LockedPackage, terms: Terms) -> Wheel:
        """The wheel of a commit that a lock names; a blob of the store then. Raises as `of` does."""
        assert package.vcs is not None
        toolchain = _given(terms, package.name)
        sha256 = await self.commits.archive(package.name, package.vcs, terms.trusted_hosts, terms.variables)
        archive = self._wanted(package.name, "", archive_name(package.name, package.vcs), sha256)
        return await self.builds.wheel(archive, toolchain, package.vcs.subdirectory or "")

    async def checked_out(self, package: LockedPackage, checkouts: str, terms: Terms) -> tuple[Directory, str, str]:
        """A checkout of a commit that a lock names, for its user to work in; where it is at; a sentence for him.

        checkouts: where it goes, under the project's name. Raises as `Repositories.work_on` does, and Refused.
        """
        assert package.vcs is not None
        directory, locked = Path(checkouts, package.name), package.vcs.commit_id
        is_new = not await self.threads.run(directory.exists)
        if not await self.threads.run(directory.parent.exists):
            await self.threads.run(make_ignored, checkouts)
        commit = await self.commits.work_on(package.name, package.vcs, directory, terms.trusted_hosts, terms.variables)
        told = f"{package.name} is checked out in {directory}, where you may work on it." if is_new else ""
        if commit != locked:
            told = f"{package.name} is at commit {commit[:12]} in {directory}, on top of the locked {locked[:12]}."
        return Directory(str(directory), editable=True, subdirectory=package.vcs.subdirectory), commit, told

    async def _blob(self, source: Source, path: Path, promised: Sequence[Promise]) -> tuple[Blob, str]:
        place, name = without_credentials(source.url), path.name
        if not is_file_name(name):
            raise Refused(f"{source.project} comes from {place}, whose last part is no file name.")
        if place.startswith("file:"):
            blob = await keep_file(self.store, self.threads, path, source.project)
        else:
            expected = next((Sha256(digest) for algorithm, digest in promised if algorithm == "sha256"), None)
            blob = await self._fetched(source, place, name, expected)
        await check(name, blob, promised, self.threads)
        return blob, name

    async def _fetched(self, source: Source, place: str, name: str, expected: Sha256 | None) -> Blob:
        wanted = self._wanted(source.project, place, name, expected)
        if self.more_indexes is not None:
            # The user named this host, so it may be one of his own network; and he may have given a password.
            parts = urlsplit(source.url)
            username, password = (unquote(one) if one is not None else None for one in (parts.username, parts.password))
            named = self.more_indexes.index(urljoin(place, ".").partition("?")[0], username, password)
            wanted = replace(wanted, index=replace(named, share="never"))
        try:
            return await self.fetch.whole(wanted)
        except Unavailable as error:
            error.add_note(f"This was for {source.project}, which comes from {place}.")
            raise

    def _wanted(self, project: str, place: str, name: str, sha256: Sha256 | None) -> Wanted:
        file = File(name, place, sha256, None, False, False, None, None, {})
        # No index vouches for it, and whether its host may be asked without TLS was decided before.
        return Wanted(replace(self.default, share="never", url=urljoin(place, "/")), project, file)


def _given(terms: Terms, project: str) -> Toolchain:
    if terms.toolchain is None:
        raise Refused(f"{project} must be built, and there is no interpreter here to build it with.")
    return terms.toolchain
