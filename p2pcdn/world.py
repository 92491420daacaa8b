"""The doors through which a node meets the world. The daemon hangs the real world behind them, simnet a simulated one.

Time that is waited for is `trio.current_time()` and needs no door: a simulation gives trio another clock.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple, ParamSpec, Protocol, TypeVar

import trio

from p2pcdn.digest import Sha256

P = ParamSpec("P")
T = TypeVar("T")

Share = Literal["never", "group", "lan"]


@dataclass(frozen=True, slots=True)
class Index:
    """One upstream index, as the user configured it.

    url: the root of its Simple API, with a slash at the end and without credentials; `file:///…/` too.
    key: names it in the catalog and in our URLs; 16 hexadecimal digits that depend on the url alone.
    position: 0 is the default index, whose files keep their paths. Which index is asked first, the node's settings say.
    share: to whom its files may be given. private: it was configured with credentials.
    flat: one heap for all projects (pip's find-links): a directory, whose URL ends with a slash, or a page of links.
    absent: statuses by which it says that it has no such project, beside 404 and 410 (storage without a listing: 403).
    """

    url: str
    key: str
    position: int
    share: Share
    private: bool
    flat: bool = False
    absent: frozenset[int] = frozenset()

    @property
    def label(self) -> str:
        """What it is called where everybody on this machine reads: what a private one is called at home is secret."""
        return self.key if self.private else self.url

    def page_url(self, project: str) -> str:
        """Where a normalized project's page is (PEP 503); of one page of links, that page."""
        is_page = self.flat and not (self.url.startswith("file:") and self.url.endswith("/"))
        return self.url if is_page else f"{self.url}{project}/"


@dataclass(frozen=True, slots=True)
class UpstreamResponse:
    """The last answer of a chain of redirects. Header names are in lower case.

    body: the bytes as they come, still in their content coding for `identity` requests; raises Unavailable when the
    connection breaks, or when nothing came for 30 s.
    """

    status: int
    headers: Mapping[str, str]
    url: str
    body: AsyncIterator[bytes]


class Upstream(Protocol):
    """Asks an index, or the file host that its pages name. One attempt; patience is the caller's."""

    def get(
        self, index: Index, url: str, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[UpstreamResponse]:
        """GETs a URL with the credentials, proxies and certificates that the user gave this index.

        Every status comes back as it is; redirects are followed hop by hop.
        Raises Unavailable (no connection, no answer in time) and Refused (the rules of `docs/index.md` for addresses).
        """
        ...


class MoreIndexes(Protocol):
    """Indexes beside those that a node is configured with: a user of it named them for one command of his."""

    def index(self, url: str, username: str | None, password: str | None, *, flat: bool = False) -> Index:
        """The index of this URL (or the heap of files), which `Upstream.get` knows from now on, with these credentials.

        A configured one stays as it was configured. Raises Refused for what is no URL of an index.
        """
        ...


class Network(Protocol):
    """Connections to peers."""

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        """A TCP connection. Raises OSError."""
        ...

    async def connect_sealed(self, host: str, port: int, device: bytes) -> trio.abc.Stream:
        """TLS 1.3, whose certificate carries exactly this device key (Ed25519, 32 bytes). Raises OSError."""
        ...


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a node says of itself by multicast: no package, no user, no stable name."""

    instance: str
    port: int
    group_tag: str
    version: str


class Sighting(NamedTuple):
    """A hint that a peer may be there; believed only after it answered. `instance` is None for configured peers.

    gone: whoever configured it (a file, the DNS) no longer names it; it stays for as long as it answers by itself.
    """

    host: str
    port: int
    instance: str | None = None
    gone: bool = False


class Discovery(Protocol):
    """Finds neighbours and lets them find us."""

    async def run(self, announcement: Announcement, found: trio.MemorySendChannel[Sighting]) -> None:
        """Announces and watches until it is cancelled, then says goodbye. A fault of it is logged, never raised."""
        ...


class DiskFile(Protocol):
    """An open file of the store. Positions are given, never remembered, so that readers do not disturb each other."""

    def fileno(self) -> int:
        """The descriptor for sendfile, or -1 in a world that has none."""
        ...

    async def pread(self, size_bytes: int, offset: int) -> bytes: ...
    async def pread_into(self, space: memoryview, offset: int) -> int:
        """Fills space; returns how many bytes came, fewer at the end of the file only."""
        ...

    async def pwrite(self, content: bytes | bytearray | memoryview, offset: int) -> None:
        """Writes all of content."""
        ...

    async def fsync(self) -> None: ...
    async def truncate(self, size_bytes: int) -> None: ...
    def size_bytes(self) -> int: ...
    def close(self) -> None: ...


class Disk(Protocol):
    """The file system under the store's blobs. All raise OSError. Every call is one system call, one crash point."""

    async def open(self, path: Path) -> DiskFile:
        """For reading; does not follow a link at the last component."""
        ...

    async def create(self, path: Path) -> DiskFile:
        """For reading and writing; mode 0600; the file must not exist."""
        ...

    async def reopen(self, path: Path) -> DiskFile:
        """For reading and writing a file that is there."""
        ...

    async def make_directory(self, path: Path) -> None:
        """Mode 0700; nothing happens where it exists."""
        ...

    async def rename(self, old: Path, new: Path) -> None: ...
    async def unlink(self, path: Path) -> None: ...
    async def sync_directory(self, path: Path) -> None: ...
    async def sync_file_system(self, path: Path) -> None:
        """All that was written to the file system of `path` so far is durable: many small files cost one wait."""
        ...

    async def list(self, path: Path) -> Sequence[str]: ...
    async def free_bytes(self, path: Path) -> int: ...


class Threads(Protocol):
    """Where work goes that would stop the loop: hashing, the catalog's transactions, compression."""

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs it to its end even when the caller is cancelled, so that a transaction is never torn."""
        ...


class Process(Protocol):
    """A program that runs, and its pipes. It belongs to whoever opened it."""

    @property
    def stdin(self) -> trio.abc.SendStream: ...
    @property
    def stdout(self) -> trio.abc.ReceiveStream: ...
    @property
    def stderr(self) -> trio.abc.ReceiveStream: ...

    async def wait(self) -> int:
        """Its exit code; minus the number of the signal that ended it."""
        ...

    def kill(self) -> None:
        """Ends it at once, and what it started in its own group; nothing happens when it has ended."""
        ...


class Processes(Protocol):
    """Other programs. A sandbox is not made here: `p2pcdn/sandbox/run.py` starts its launcher through this door."""

    def open(
        self, argv: Sequence[str], environment: Mapping[str, str], directory: Path | None = None
    ) -> AbstractAsyncContextManager[Process]:
        """Starts a program by its path, with exactly this environment and no descriptor but its three pipes.

        Leaving the block ends it and waits for it. Raises OSError where it cannot be started.
        """
        ...


NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


class Repositories(Protocol):
    """Repositories of sources that users name (`git+https://…`), asked with the user's own git, keys and passwords."""

    async def check_out(
        self, url: str, revision: str | None, directory: Path, variables: Mapping[str, str] = NO_VARIABLES
    ) -> str:
        """Puts the tree of a revision into a new directory, with submodules and `.git`, and gives its commit id.

        variables: of whoever asks, in the place of the node's own: his agent of ssh, his proxies, his settings of git.
        url: https, ssh or file, and http where the caller trusts the host. What it has of user and password is used,
        and stands in no message, no log, no process list, and not in the directory.
        revision: a branch, a tag, any ref or a commit id; None: what the repository itself has checked out.
        The commit id: 40 or 64 hexadecimal digits. Raises NotFound (no such repository or revision, or not for us),
        Unavailable (nobody answers, or not in time), Refused (no git here, more than a limit allows).
        """
        ...

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
        """The same in a directory that its user works in: a new clone, or a checkout that is brought to the revision.

        It keeps its branches, and is on that of the revision where it can be. commit: it is enough to stand on it; then
        nobody is asked, whatever was changed or committed there since. switch: it may be a checkout of another
        repository. Gives the commit that it is at. Raises Refused, too, for what is no checkout of this repository,
        and where changes or commits of the user's would go.
        """
        ...


@dataclass(frozen=True, slots=True)
class Statement:
    """What an index says of who published a file: the bytes of its provenance object (PEP 740)."""

    filename: str
    sha256: Sha256
    provenance: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """publishers: in words, such as "GitHub pallets/flask publish.yml". why: "", or half a sentence why it is wrong.

    unknown: kinds of it that the verifier does not know, in words; they speak neither for the file nor against it.
    """

    publishers: tuple[str, ...]
    why: str
    unknown: tuple[str, ...] = ()


class Attestations(Protocol):
    """Who published files."""

    @property
    def can_verify(self) -> bool:
        """Whether there is a verifier here at all."""
        ...

    async def verify(self, statements: Sequence[Statement]) -> Sequence[Verdict]:
        """A verdict for each: whether every attestation holds, by its signature, its publisher's certificate and the
        transparency log, for exactly this file. Raises Refused where there is no verifier, or it fails.
        """
        ...


class Installed(Protocol):
    """The p2pcdn that this node was started from, where it lies."""

    def check(self) -> None:
        """Raises Replaced where another one lies there now: programs that the node starts are of that one."""
        ...


class Clock(Protocol):
    """The wall clock: for ages, expiry and log lines; never for waiting."""

    def now(self) -> float:
        """Seconds since 1970, UTC. May jump."""
        ...


@dataclass(frozen=True, slots=True)
class World:
    """All doors of one node. processes: None in a world without other programs: such a node solves nothing.

    repositories: None: sources come as archives only. attestations: None: nobody can say who published a file.
    installed: None where nobody can replace it.
    """

    upstream: Upstream
    network: Network
    discoveries: Sequence[Discovery]
    disk: Disk
    threads: Threads
    clock: Clock
    random: random.Random
    processes: Processes | None = None
    more_indexes: MoreIndexes | None = None
    repositories: Repositories | None = None
    attestations: Attestations | None = None
    installed: Installed | None = None
