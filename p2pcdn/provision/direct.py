"""Packages by direct URL (PEP 508, `name @ url`): fetched or read, their metadata, and how a lock names them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from p2pcdn.digest import Sha256
from p2pcdn.envs.model import Directory, LockedFile
from p2pcdn.errors import Refused
from p2pcdn.fetch import Fetch, Metadata, Wanted
from p2pcdn.names import is_file_name
from p2pcdn.provision.building import Builds
from p2pcdn.provision.local import keep_file
from p2pcdn.provision.toolchain import Toolchain
from p2pcdn.resolve import Source
from p2pcdn.simple import File
from p2pcdn.store import Blob, Partial, Store
from p2pcdn.world import Index, Threads


@dataclass(slots=True)
class Direct:
    """Used by one trio loop. What comes by URL is kept as any file is, and never shared: no index vouches for it.

    default: the index whose proxies and rules count for hosts that are nobody's.
    """

    store: Store
    fetch: Fetch
    metadata: Metadata
    builds: Builds
    threads: Threads
    default: Index

    async def of(self, source: Source, toolchain: Toolchain | None) -> tuple[bytes, LockedFile | Directory]:
        """Its METADATA, and what a lock says of it.

        Raises Refused for what cannot be taken (a repository, something to build without a toolchain), NotFound,
        BuildFailed, SandboxUnusable, DigestMismatch, and what fetching raises.
        """
        parts = urlsplit(source.url)
        fragment = parse_qs(parts.fragment)
        subdirectory = fragment.get("subdirectory", [None])[0]
        if parts.scheme not in ("http", "https", "file"):
            raise Refused(
                f"{source.project} comes from {source.url}, and packages are taken from indexes, archives and "
                "directories only; an archive of that repository has a URL, too."
            )
        place = source.url.partition("#")[0]
        path = Path(unquote(parts.path))
        if parts.scheme == "file" and await self.threads.run(path.is_dir):
            where = Directory(str(path), subdirectory=subdirectory)
            return await self.builds.metadata_of_directory(where, _given(toolchain, source)), where
        blob, name = await self._blob(source, place, path, fragment.get("sha256", [None])[0])
        file = LockedFile(
            name, {"sha256": str(blob.sha256)}, place, size_bytes=blob.size_bytes, subdirectory=subdirectory
        )
        wanted = self._wanted(source.project, place, name, blob.sha256)
        if name.endswith(".whl"):
            return await self.metadata.of(wanted), file
        return await self.builds.metadata(wanted, _given(toolchain, source), subdirectory or ""), file

    async def _blob(self, source: Source, place: str, path: Path, sha256: str | None) -> tuple[Blob, str]:
        name = path.name
        if not is_file_name(name):
            raise Refused(f"{source.project} comes from {place}, whose last part is no file name.")
        if place.startswith("file:"):
            return await keep_file(self.store, self.threads, path, source.project), name
        expected = Sha256(sha256.lower()) if sha256 is not None else None
        held = await self.fetch.open(self._wanted(source.project, place, name, expected))
        return (await held.wait_finished() if isinstance(held, Partial) else held), name

    def _wanted(self, project: str, place: str, name: str, sha256: Sha256 | None) -> Wanted:
        file = File(name, place, sha256, None, False, False, None, None, {})
        return Wanted(replace(self.default, share="never"), project, file)


def _given(toolchain: Toolchain | None, source: Source) -> Toolchain:
    if toolchain is None:
        raise Refused(f"{source.project} must be built, and nobody named an interpreter to build it with.")
    return toolchain
