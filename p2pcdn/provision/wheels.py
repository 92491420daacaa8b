"""A file that a lock names becomes a tree of the store: fetched if need be, verified, unpacked once."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

import trio

from p2pcdn.bounded import forget_oldest
from p2pcdn.digest import Sha256
from p2pcdn.envs.errors import BadLock
from p2pcdn.envs.listing import Listing
from p2pcdn.envs.model import LockedFile, LockedPackage
from p2pcdn.envs.record import urlsafe
from p2pcdn.errors import DigestMismatch, NotFound, P2pcdnError
from p2pcdn.fetch import Fetch, Wanted
from p2pcdn.flight import Flights
from p2pcdn.index import Pages
from p2pcdn.index.held import HeldPage
from p2pcdn.provision.local import keep_file
from p2pcdn.provision.promised import check, promises_of
from p2pcdn.provision.unpacking import Unpackers
from p2pcdn.simple import File
from p2pcdn.store import Made, Store, Tree
from p2pcdn.world import Index, Threads

# More connections at once bring less (see `p2pcdn/lock/feed.py`), and some are refused.
FETCHES_MAX = 16
# Guesses that nobody has asked for yet; wrong ones are forgotten, the oldest first.
AHEAD_REMEMBERED_MAX = 1024


@dataclass(slots=True)
class Wheels:
    """Used by one trio loop. Whoever wants the same wheel at the same time waits for one fetching and one unpacking."""

    store: Store
    pages: Pages
    fetch: Fetch
    threads: Threads
    unpackers: Unpackers
    nursery: trio.Nursery
    _flights: Flights[Sha256, Tree] = field(init=False)
    # What was fetched on a guess, until somebody asks for it: to him it is fetched, and not what the store had.
    _ahead: dict[Sha256, bool] = field(default_factory=dict)
    _fetches: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(FETCHES_MAX))

    def __post_init__(self) -> None:
        self._flights = Flights(self.nursery)

    async def tree(self, package: LockedPackage, file: LockedFile) -> tuple[Tree, str]:
        """The tree of a wheel, and whence its bytes came, in words.

        Raises DigestMismatch (which names the file), BadWheel, BadLock (which may be `check`'s), NotFound, Unavailable,
        Refused, StoreStopped.
        """
        sha256 = sha256_of(file)
        guessed = self._ahead.pop(sha256, False)
        was_here = self.store.holds(sha256) and not guessed
        tree = self.store.tree(sha256)
        if tree is None:
            fetch = partial(self._fetch, package, file, sha256)
            tree = await self._flights.join(sha256, partial(self._fetch_and_unpack, fetch, file.name, sha256))
        await self.check(package, file)
        return tree, self.whence(sha256, was_here=was_here)

    async def check(self, package: LockedPackage, file: LockedFile) -> None:
        """Holds a file to all that the lock says of it, its size and every hash (PEP 751, "Installation").

        Raises BadLock where its sha256 is right and something else is not, and what fetching raises.
        """
        sha256, promised = sha256_of(file), promises_of(file)
        blob = self.store.blob(sha256)
        if blob is None and promised:  # what was built of it was here still
            await self._fetch(package, file, sha256)
            blob = self.store.blob(sha256)
        if blob is None:
            return
        try:
            await check(file.name, blob, promised, self.threads)
        except DigestMismatch as error:
            algorithm = error.expected.partition(":")[0]
            raise BadLock(
                f"The lock contradicts itself: {file.name} has the sha256 that it names, and not the {algorithm}. "
                "Nothing was installed; lock it again."
            ) from error
        if file.size_bytes not in (None, blob.size_bytes) and not await self._says_index(package, file):
            raise BadLock(
                f"The lock contradicts itself: {file.name} has the sha256 that it names, and {blob.size_bytes} bytes, "
                f"not {file.size_bytes}. Nothing was installed; lock it again, or take this `size` out."
            )

    async def _says_index(self, package: LockedPackage, file: LockedFile) -> bool:
        """Whether a size is the index's word, which is a hint (docs/index.md), and stands in the lock as it came."""
        _, listed = await self._listed(package, sha256_of(file))
        return listed is not None and listed.size_bytes == file.size_bytes

    async def ahead(self, wanted: Wanted) -> None:
        """Fetches and unpacks a wheel that will probably be asked for; whoever asks meanwhile joins, or begins anew."""
        sha256 = wanted.file.sha256
        assert sha256 is not None, "what has no hash is not guessed"
        if self.store.holds(sha256) or sha256 in self._flights:
            return
        self._ahead[sha256] = True
        forget_oldest(self._ahead, AHEAD_REMEMBERED_MAX)
        fetch = partial(self._open, wanted)
        with suppress(P2pcdnError):
            await self._flights.join(sha256, partial(self._fetch_and_unpack, fetch, wanted.file.filename, sha256))

    def whence(self, sha256: Sha256, *, was_here: bool) -> str:
        """Who gave the bytes of a blob, now or when it came here: an upstream, peers, this machine; for a history."""
        blob = self.store.blob(sha256)
        came = blob.origin.came if blob is not None else ""
        if was_here:
            return f"store, once from {came}" if came else "store"
        return f"fetched from {came}" if came else "fetched"

    async def unpacked(self, sha256: Sha256, filename: str) -> Tree:
        """The tree of a wheel that the store holds. Raises as `tree` does."""
        tree = self.store.tree(sha256)
        return tree or await self._flights.join(sha256, partial(self._unpack, sha256, filename))

    async def _fetch_and_unpack(self, fetch: Callable[[], Awaitable[None]], filename: str, sha256: Sha256) -> Tree:
        if not self.store.holds(sha256):
            async with self._fetches:
                await fetch()
        return await self._unpack(sha256, filename)

    async def _unpack(self, sha256: Sha256, filename: str) -> Tree:
        async def make(wheel: Path, directory: Path) -> Made:
            # The next ones go on while this one becomes durable, with others of its kind.
            return await self.unpackers.unpack(wheel, filename, directory)

        return await self.store.keep_tree(sha256, make)

    async def _fetch(self, package: LockedPackage, file: LockedFile, sha256: Sha256) -> None:
        if file.url is not None and file.url.startswith("file:") and package.index is None:
            path = Path(unquote(urlsplit(file.url).path))
            held = await keep_file(self.store, self.threads, path, package.name)
            if held.sha256 != sha256:
                raise DigestMismatch(file.name, expected=f"sha256:{sha256}", got=f"sha256:{held.sha256}")
            return
        await self._open(await self.wanted(package, file, sha256))

    async def _open(self, wanted: Wanted) -> None:
        await self.fetch.whole(wanted)

    def is_of_an_index(self, package: LockedPackage) -> bool:
        """Whether the lock names an index that is asked here: its user trusts it."""
        return _named_index(self.pages.all_indexes, package.index) is not None

    async def fetch_all(self, files: Iterable[Wanted]) -> None:
        """Files whose index gives no hash: each is here then, and known by what came. Raises what fetching raises."""
        failed: list[P2pcdnError] = []

        async def one(wanted: Wanted) -> None:
            try:
                async with self._fetches:
                    blob = await self.fetch.whole(wanted)
                # The download notes it too, a moment after its file is whole.
                await self.store.change(values={("trusted", wanted.key): blob.sha256.encode()})
            except P2pcdnError as error:  # raised below, for a nursery makes a group of it
                failed.append(error)
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for wanted in files:
                nursery.start_soon(one, wanted)
        if failed:
            raise failed[0]

    async def wanted(self, package: LockedPackage, file: LockedFile, sha256: Sha256) -> Wanted:
        """Where the bytes are: as the lock says, where its index is ours; else as a page of ours says; else as it says.

        Only what our own index lists is offered to neighbours.
        """
        named = _named_index(self.pages.all_indexes, package.index)
        described = _described(file, sha256)
        if named is not None and described is not None:
            return Wanted(named, package.name, described)
        held, listed = await self._listed(package, sha256)
        if held is not None and listed is not None:
            return Wanted(held.index, package.name, listed)
        if described is None:
            raise NotFound(f"{file.name} stands in the lock without a URL, and no configured index lists it.")
        return Wanted(replace(self.pages.default, share="never"), package.name, described)

    async def _listed(self, package: LockedPackage, sha256: Sha256) -> tuple[HeldPage | None, File | None]:
        """A locked file as a page of ours lists it, and that page."""
        try:
            held = await self.pages.project(package.name)
        except P2pcdnError:
            return None, None
        files = held.page.files if held.page is not None else ()
        return held, next((one for one in files if one.sha256 == sha256), None)


def is_whole(tree: Tree) -> bool:
    """Whether each file of an unpacked wheel is what its RECORD says. Blocks.

    Its files are hard links: who writes into an environment as root, or lifts their protection, writes here.
    """
    try:
        for entry in Listing.decode(tree.listing).entries:
            with (tree.path / entry.path).open("rb") as file:
                if urlsafe(hashlib.file_digest(file, "sha256").digest()) != entry.sha256:
                    return False
    except (OSError, ValueError):
        return False
    return True


def sha256_of(file: LockedFile) -> Sha256:
    """Raises BadLock for a file that the lock names by other hashes only."""
    if "sha256" not in file.hashes:
        raise BadLock(f"The lock names {file.name} by no sha256; lock it again.")
    return Sha256(file.hashes["sha256"])


def _named_index(indexes: tuple[Index, ...], url: str | None) -> Index | None:
    return next((one for one in indexes if url is not None and one.url.rstrip("/") == url.rstrip("/")), None)


def _described(file: LockedFile, sha256: Sha256) -> File | None:
    if file.url is None:
        return None
    return File(
        filename=file.name,
        url=file.url,
        sha256=sha256,
        size_bytes=file.size_bytes,
        core_metadata=False,
        yanked=False,
        requires_python=None,
        upload_time=None,
        raw={},
    )
