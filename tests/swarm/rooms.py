"""A room of nodes on virtual time: real stores, real pages, the real face and client between them, wires in memory.

Who is in the room and who is a member is settled here by hand; how nodes find and prove each other is tested elsewhere.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio
import trio.testing

from p2pcdn.counters import Counters
from p2pcdn.digest import Sha256
from p2pcdn.errors import Unavailable
from p2pcdn.group import Device, GroupKey, Identity
from p2pcdn.http1 import Request, Response, serve_connection
from p2pcdn.index import Pages
from p2pcdn.store import Origin, Store
from p2pcdn.swarm.group.claims import Claims
from p2pcdn.swarm.group.holding import OwnHolding
from p2pcdn.swarm.group.nearby import Nearby
from p2pcdn.swarm.group.resolutions import Resolutions
from p2pcdn.swarm.neighbours.exchange import Exchange, Patience
from p2pcdn.swarm.neighbours.meeting import MEET_PATH, Meeting, is_sealed
from p2pcdn.swarm.neighbours.peer import CONFIGURED, Peer
from p2pcdn.swarm.neighbours.peers import Peers
from p2pcdn.swarm.pieces.manifest import cut_of
from p2pcdn.swarm.pieces.tools import Tools
from p2pcdn.swarm.wire.messages import HELLO_SIZE_BYTES_MAX, AskHave, AskHello, Hello, blob_id, encode_have, read_target
from p2pcdn.world import Index, Sighting
from tests.worlds import INDEX, Answer, InlineThreads, Script, ScriptedUpstream, VirtualClock, open_store

PORT, SEALED_PORT = 7273, 7274
GROUP = GroupKey.from_seed(b"g" * 32)
OTHER_GROUP = GroupKey.from_seed(b"o" * 32)
NOWHERE: Script = lambda url, headers: Answer(status=503)  # noqa: E731 - as a script reads best

Handler = Callable[[Request], Response | Awaitable[Response] | None]


def boot_of(name: str) -> str:
    return Sha256.of(name.encode())[:32]


def identity(name: str, group: GroupKey | None = GROUP) -> Identity:
    return Identity(Device.from_seed(Sha256.of(name.encode()).encode()[:32]), group)


@dataclass
class Wires:
    """A network in memory: who listens under which name."""

    nursery: trio.Nursery
    faces: dict[str, Handler] = field(default_factory=dict)
    meetings: dict[str, tuple[bytes, Meeting]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def listen(self, host: str, who: Identity, face: Handler) -> None:
        self.faces[host] = face
        if who.group is not None:
            self.meetings[host] = who.device.public, Meeting(who, random.Random(host))

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        assert port == PORT
        return self._connect(host, sealed=False)

    async def connect_sealed(self, host: str, port: int, device: bytes) -> trio.abc.Stream:
        """As TLS would: who is another device is not talked to."""
        assert port == SEALED_PORT
        if host in self.meetings and self.meetings[host][0] != device:
            raise OSError(f"{host} is another device")
        return self._connect(host, sealed=True)

    def _connect(self, host: str, *, sealed: bool) -> trio.abc.Stream:
        if host not in self.faces:
            raise OSError(f"{host} is not there")
        ours, theirs = trio.testing.memory_stream_pair()

        def answer(request: Request) -> Response | Awaitable[Response]:
            if request.path == "/v1/hello" or request.path.startswith(MEET_PATH):
                return Response(404)  # the two meet, where they can, and that is all
            self.asked.append(f"{host} {request.path}")
            return self.faces[host](request) or Response(404)

        handler: Callable[[Request], Response | Awaitable[Response]] = answer
        if host in self.meetings:
            meeting = self.meetings[host][1]
            handler = (meeting.sealed_door if sealed else meeting.door).guard(answer)
        self.nursery.start_soon(partial(serve_connection, theirs, handler, cross_site=True))
        return ours


@dataclass
class Member:
    """One node of the room."""

    name: str
    identity: Identity
    store: Store
    upstream: ScriptedUpstream
    clock: VirtualClock
    counters: Counters
    peers: Peers
    exchange: Exchange
    claims: Claims
    resolutions: Resolutions
    nearby: Nearby
    holding: OwnHolding
    pages: Pages

    def answer(self, request: Request) -> Response | Awaitable[Response] | None:
        """What the peer face of a node does with a member's question."""
        answer = (
            self.claims.answer(request, sealed=is_sealed(request))
            or self.resolutions.answer(request, sealed=is_sealed(request))
            or self.holding.answer(request)
        )
        if answer is None and request.path.startswith("/v1/have/"):
            ask = read_target(request.path, "")
            assert isinstance(ask, AskHave)
            sizes = {self.id_of(row.sha256): row.size_bytes for row in self.store.rows()}
            return Response(200, (), encode_have([sizes.get(one) for one in ask.ids]))
        return answer

    def id_of(self, sha256: Sha256) -> str:
        return blob_id(self.identity.lookup_key, sha256)

    async def versions(self, project: str = "six", *, insist: bool = False) -> list[str]:
        held = await self.pages.project(project, insist=insist)
        assert held.page is not None
        return [file.filename.split("-")[1] for file in held.page.files]

    async def keep(self, content: bytes, origin: Origin) -> Sha256:
        return (await self.store.keep_small(content, origin, expected=Sha256.of(content))).sha256


class Room:
    """Nodes that all know each other. Used by one test."""

    def __init__(self, directory: Path, nursery: trio.Nursery, stack: AsyncExitStack) -> None:
        self.wires = Wires(nursery)
        self.members: list[Member] = []
        self._strangers: list[str] = []
        self._directory = directory
        self._nursery = nursery
        self._stack = stack

    async def member(
        self,
        name: str,
        script: Script = NOWHERE,
        *,
        offline: bool = False,
        group: GroupKey | None = GROUP,
        indexes: Sequence[Index] = (INDEX,),
        clock: VirtualClock | None = None,
    ) -> Member:
        """A new node; `script` is its upstream. The same name again is the same store."""
        store = await self._stack.enter_async_context(open_store(self._directory / name))
        counters, dice, clock, threads = Counters(), random.Random(name), clock or VirtualClock(), InlineThreads()
        peers = Peers(boot_of(name), dice)
        who = identity(name, group)
        meeting = Meeting(who, dice) if group is not None else None
        tools = Tools(Exchange(self.wires, Patience(), meeting), peers, counters, threads, dice, who, cut_of)

        def whom() -> list[Peer]:
            return peers.to_ask(trio.current_time(), 1024)

        claims, resolutions = Claims(tools, whom, who, clock), Resolutions(tools, whom, who, clock)
        grouped = group is not None
        nearby = Nearby(tools, whom, id_of=lambda sha256: blob_id(who.lookup_key, sha256), grouped=grouped)
        holding = OwnHolding(
            store,
            id_of=lambda sha256: blob_id(who.lookup_key, sha256),
            gives=lambda origin: origin.share != "never",
            grouped=grouped,
            pages=claims.count,
        )
        upstream = ScriptedUpstream(script)
        pages = Pages(
            indexes,
            store=store,
            upstream=upstream,
            threads=threads,
            clock=clock,
            counters=counters,
            nursery=self._nursery,
            offline=offline,
            claims=claims,
        )
        exchange = tools.exchange
        one = Member(
            name, who, store, upstream, clock, counters, peers, exchange, claims, resolutions, nearby, holding, pages
        )
        self.wires.listen(name, who, one.answer)
        for other in self.members:
            await self._introduce(one, other.name)
            await self._introduce(other, name)
        for stranger in self._strangers:
            await self._introduce(one, stranger)
        self.members.append(one)
        return one

    async def stranger(self, name: str, answer: Handler, group: GroupKey | None = GROUP) -> None:
        """A neighbour that follows a script: a member that lies."""
        self.wires.listen(name, identity(name, group), answer)
        self._strangers.append(name)
        for member in self.members:
            await self._introduce(member, name)

    def leaves(self, member: Member) -> None:
        """It is switched off."""
        del self.wires.faces[member.name]
        self.members.remove(member)

    async def _introduce(self, one: Member, name: str) -> None:
        now = trio.current_time()
        peer = one.peers.sight(Sighting(name, PORT), CONFIGURED, now)
        assert peer is not None
        with suppress(Unavailable):  # of another group, or of none
            async with one.exchange.ask(peer.address, AskHello(), HELLO_SIZE_BYTES_MAX):
                pass
        one.peers.answered(peer, Hello(name, boot_of(name), "0", sealed_port=SEALED_PORT), 0.001, now)


@asynccontextmanager
async def room_in(directory: Path) -> AsyncIterator[Room]:
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        yield Room(directory, nursery, stack)
        nursery.cancel_scope.cancel()
