"""What is fuzzed: plain functions of bytes that return, or raise because something is wrong with us.

Each lets the bytes meet the real code behind one door, on virtual time and without sockets, and holds it to what
docs/protocol.md promises: the documented errors and nothing else.
"""

from __future__ import annotations

import logging
import random
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import trio
import trio.testing
from zeroconf import DNSCache, DNSIncoming, DNSPointer, ServiceInfo

from p2pcdn.counters import Counters
from p2pcdn.digest import Sha256
from p2pcdn.errors import RemoteProtocolError, Unavailable
from p2pcdn.group import Claim, Device, GroupKey, Identity
from p2pcdn.group.challenge import Knock, Pairs, Ticket, Welcome, enter
from p2pcdn.http1 import Request, Response, serve_connection
from p2pcdn.lock.certificate import Certificate
from p2pcdn.store import Origin, Store, StoreLimits
from p2pcdn.swarm import Swarm
from p2pcdn.swarm.group.holding import Holding
from p2pcdn.swarm.neighbours.exchange import Exchange, Patience
from p2pcdn.swarm.neighbours.meeting import MEET_PATH, Meeting
from p2pcdn.swarm.neighbours.peer import Address
from p2pcdn.swarm.pieces.manifest import Manifest, Proof
from p2pcdn.swarm.wire import bitfield
from p2pcdn.swarm.wire.advice import Advice, AskCrowd
from p2pcdn.swarm.wire.connection import encode_request
from p2pcdn.swarm.wire.messages import AskHello, Hello, blob_id, decode_have, decode_peers, decode_small, read_target
from p2pcdn.world import Announcement, Sighting
from p2pcdn_daemon.doors.disk import RealDisk
from p2pcdn_daemon.neighbours.discovery import SERVICE, WAITING_MAX, _Session, _Sightings
from p2pcdn_daemon.neighbours.peers_file import read_peers

GROUP = GroupKey.from_seed(bytes(32))
SERVER, CLIENT = (Device.from_seed(bytes([n]) * 32) for n in (1, 2))
CONTENT = random.Random(0).randbytes(600_000)
SMALL = b"Metadata-Version: 2.1\n"
PUBLIC = Origin("thing-1.0-py3-none-any.whl", "thing", "0123456789abcdef", "lan")
# The answers of hello, have, crowd and page are smaller; a small buffer is a fast fuzzer.
ANSWER_SIZE_BYTES_MAX = 16 * 1024


class Fault(AssertionError):
    """The bytes made our code do what it must not."""


# --- the peer port


def peer_port(content: bytes) -> None:
    """Any bytes on the peer port of a node in open mode that holds two files."""
    _on_the_wire(_open_node().answer, content)


def guarded_port(content: bytes) -> None:
    """Any bytes on the peer port of a member: nobody without a proof gets anything but the refusal."""
    seen = _on_the_wire(_member().answer, content)
    if b"HTTP/1.1 200" in seen and b"session" not in seen:
        raise Fault(f"somebody unproven was answered: {seen[:200]!r}")


def member_port(content: bytes) -> None:
    """Any bytes of a member who has proven itself: it may ask for all, and break nothing."""
    _on_the_wire(_member().answer, content, as_member=True)


def _on_the_wire(face: Callable[..., Any], content: bytes, *, as_member: bool = False) -> bytes:
    """The real server answers a connection of these bytes. Raises Fault for an error of ours."""

    async def main() -> bytes:
        ours, theirs = trio.testing.memory_stream_pair()
        seen = b""
        # A parked question waits two seconds, an idle connection 75; the clock is virtual.
        with trio.move_on_after(1000) as patience:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(serve_connection, theirs, face, cross_site=True))
                if as_member:
                    await _prove(ours)
                with suppress(trio.BrokenResourceError):
                    await ours.send_all(content)
                    await ours.send_eof()
                while part := await ours.receive_some():
                    seen += part
        if patience.cancelled_caught:
            raise Fault("the connection does not end")
        return seen

    with _Faults() as faults:
        seen = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    if faults.seen:
        raise Fault(faults.seen[0])
    if b"HTTP/1.1 500" in seen:
        raise Fault("the server failed on a request")
    return seen


async def _prove(stream: trio.abc.Stream) -> None:
    pairs = Pairs(Identity(CLIENT, GROUP))
    knock = Knock.make(pairs, bytes(16), sealed=False)
    await stream.send_all(encode_request(MEET_PATH + knock.encode(), "x"))
    answer = await stream.receive_some()
    session = enter(pairs, knock, Welcome.decode(bytes(answer).partition(b"\r\n\r\n")[2]), sealed=False)
    assert session is not None
    await stream.send_all(encode_request("/v1/hello", "x", session.ticket(1)))
    assert bytes(await stream.receive_some()).startswith(b"HTTP/1.1 200")


@cache
def _open_node() -> Swarm:
    return _swarm(Identity(Device.from_seed(bytes(32)), None))


@cache
def _member() -> Swarm:
    return _swarm(Identity(SERVER, GROUP))


def _swarm(who: Identity) -> Swarm:
    """A node's swarm with a store of two files; it lasts as long as the process."""
    directory = tempfile.mkdtemp(prefix="p2pcdn-fuzz-")

    async def make() -> Swarm:
        dice = random.Random(0)
        threads = _InlineThreads()
        store = await Store.open(
            Path(directory),
            disk=_InlineDisk(),
            threads=threads,
            clock=_Clock(),
            random=dice,
            limits=StoreLimits(1 << 30, None, 1 << 26, 0),
        )
        for content in (CONTENT, SMALL):
            partial_ = await store.grow(Sha256.of(content), len(content), PUBLIC)
            await partial_.write(0, content)
            await partial_.finish()
        swarm = Swarm(
            store=store,
            network=_Wires(b""),
            discoveries=(),
            clock=_Clock(),
            threads=threads,
            random=dice,
            counters=Counters(),
            static_peers=(),
            version="0",
            identity=who,
        )
        for content in (CONTENT, SMALL):
            swarm._kept(Sha256.of(content))
        async with trio.open_nursery() as nursery:
            await nursery.start(swarm._provider.run)
            path = f"/v1/blob/{blob_id(who.lookup_key, Sha256.of(CONTENT))}/manifest"
            made = swarm._provider.answer(Request("GET", b"", path, "", {}))
            assert not isinstance(made, Response)
            assert (await made).status == 200
            nursery.cancel_scope.cancel()
        return swarm

    return trio.run(make, clock=trio.testing.MockClock(autojump_threshold=0))


# --- the answer of a peer


def answer(content: bytes) -> None:
    """Any bytes as a peer's answer: read by the exchange, then by the decoder that the first byte chooses."""
    if not content:
        return
    decode = DECODERS[content[0] % len(DECODERS)]

    async def main() -> None:
        exchange = Exchange(_Wires(content[1:]), Patience())
        try:
            async with exchange.ask(Address("peer", 1), AskHello(), ANSWER_SIZE_BYTES_MAX) as got:
                decode(bytes(got.body))
        except (RemoteProtocolError, Unavailable):
            pass
        await exchange.close()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def meeting(content: bytes) -> None:
    """Any bytes as the answer to our knock: without the keys it is never taken for a member's."""

    async def main() -> None:
        ours = Meeting(Identity(CLIENT, GROUP), random.Random(0))
        try:
            async with Exchange(_Wires(content), Patience(), ours).ask(Address("peer", 1), AskHello(), 1024):
                raise Fault("an answer was taken without a proof")
        except (RemoteProtocolError, Unavailable):
            pass

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def body(content: bytes) -> None:
    """Any bytes for each of the decoders, and for what is a header or a path."""
    for decode in DECODERS:
        with suppress(RemoteProtocolError):
            decode(content)


def _text(content: bytes) -> str:
    return content.decode("latin-1")


DECODERS: tuple[Callable[[bytes], object], ...] = (
    Hello.decode,
    partial(decode_have, asked=3),
    partial(decode_small, asked=3),
    decode_peers,
    Advice.decode,
    partial(Manifest.decode, Sha256.of(CONTENT)),
    Holding.decode,
    Claim.decode,
    Certificate.decode,
    Welcome.decode,
    lambda content: Knock.decode(_text(content)),
    lambda content: Ticket.decode(_text(content)),
    lambda content: Proof.decode(_text(content)),
    lambda content: bitfield.decode(_text(content), 11),
    lambda content: read_target(*_text(content).partition("?")[::2]),
    read_peers,
)


# --- multicast


def multicast(content: bytes) -> None:
    """Any packet on the multicast address: zeroconf reads it, and we read what it made of it."""
    with _Faults():  # zeroconf's own words about a packet are not ours
        incoming = DNSIncoming(content)
        if not incoming.valid:
            return
        records = incoming.answers()
    seen = _Heard()
    session = _Session.__new__(_Session)  # without its sockets
    session._sightings = seen.sightings
    session._unresolved = seen.unresolved
    seen.cache.async_add_records(records)
    names = {record.alias for record in records if isinstance(record, DNSPointer)} | {record.name for record in records}
    for name in names:
        session.add_service(seen, SERVICE, name)  # type: ignore[arg-type]
        session.remove_service(seen, SERVICE, name)  # type: ignore[arg-type]
        with suppress(Exception):  # a name that is none; `_resolve_all` passes over it, too
            session._tell(ServiceInfo(SERVICE, name), name)
    for sighting in seen.sightings._waiting:
        if not (0 < sighting.port < 65536 and sighting.host):
            raise Fault(f"{sighting} is nowhere")


class _Heard:
    """What a session needs: the packet's records as zeroconf keeps them, and where sightings go."""

    def __init__(self) -> None:
        import queue

        self.cache = DNSCache()
        self.unresolved: queue.Queue[str | None] = queue.Queue(64)
        own = Announcement("0" * 32, 7273, "", "0")
        found = trio.open_memory_channel[Sighting](WAITING_MAX)[0]
        self.sightings = _Sightings(own, _NoLoop(), found)  # type: ignore[arg-type]


class _NoLoop:
    def run_sync_soon(self, *_: object, **__: object) -> None:
        raise trio.RunFinishedError


# --- the world


class _InlineThreads:
    async def run(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return function(*args, **kwargs)


class _InlineDisk(RealDisk):
    def __init__(self) -> None:
        self._run = _inline


async def _inline(call: Callable[..., Any], *arguments: object, **_: object) -> Any:
    await trio.lowlevel.checkpoint()
    return call(*arguments)


class _Clock:
    def now(self) -> float:
        return 1_800_000_000.0


class _Wires:
    """A network of one peer that says the same to everything, and hangs up."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.send_all(self._content)
        await theirs.send_eof()
        return ours

    async def connect_sealed(self, host: str, port: int, device: bytes) -> trio.abc.Stream:
        raise OSError("no TLS here")


class _Faults(logging.Handler):
    """What our code logs as an error while it is open: the server's way to say that something flew out of a face."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        why = record.exc_info[1] if record.exc_info else None
        self.seen.append(f"{record.getMessage()} {why!r}")

    def __enter__(self) -> _Faults:
        logging.getLogger("p2pcdn").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("p2pcdn").removeHandler(self)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "peer-port": peer_port,
    "guarded-port": guarded_port,
    "member-port": member_port,
    "answer": answer,
    "meeting": meeting,
    "body": body,
    "multicast": multicast,
}


def seeds(name: str) -> list[bytes]:
    """Inputs that are right, or nearly, from which a fuzzer begins."""
    who = {"peer-port": bytes(32)}.get(name, GROUP.lookup_key)
    ids = [blob_id(who, Sha256.of(content)) for content in (CONTENT, SMALL)]
    if name.endswith("port"):
        paths = [
            "/v1/hello",
            f"/v1/hello?port=7273&boot={'a' * 32}",
            f"/v1/have/{','.join(ids)}",
            f"/v1/small/{','.join(ids)}",
            f"/v1/blob/{ids[0]}/manifest",
            *(f"/v1/blob/{ids[0]}/piece?want={want}&wait=1000&knows=1" for want in ("Bw", "AA")),
            f"/v1/blob/{ids[0]}/piece?want=Ag&wait=0&knows=0",
            AskCrowd(ids[0], "b" * 32, 1, bytes(32), 600_000, 3, "AA").target(),
            "/v1/peers",
            "/v1/room",
            "/v1/room/names",
            f"/v1/page/{ids[0]}",
            f"/v1/page/{ids[0]}/{'0' * 64}",
            f"/v1/resolution/{ids[0]}",
            MEET_PATH + Knock.make(Pairs(Identity(CLIENT, GROUP)), bytes(16), sealed=False).encode(),
        ]
        return [encode_request(path, "x") for path in paths]
    if name == "multicast":
        from zeroconf import DNSOutgoing
        from zeroconf.const import _FLAGS_AA, _FLAGS_QR_RESPONSE

        out = DNSOutgoing(_FLAGS_QR_RESPONSE | _FLAGS_AA)
        info = ServiceInfo(
            SERVICE,
            f"{'d' * 32}.{SERVICE}",
            port=7273,
            parsed_addresses=["10.0.0.1"],
            server=f"{'d' * 32}.local.",
            properties={"v": "1", "g": "", "b": "d" * 32},
        )
        for record in (info.dns_pointer(), info.dns_service(), info.dns_text(), *info.dns_addresses()):
            out.add_answer_at_time(record, 0)
        return list(out.packets())
    bodies = [
        Hello("n" * 16, "a" * 32, "1").encode(),
        Advice().encode(),
        Holding(1, 2, 3, bytes(8)).encode(),
        Claim.make(Identity(CLIENT, GROUP), "page", b"s", b"b", 1.5).encode(),
        Certificate(((("six", "1.0"),),), {"six": ("https://x.example/", "0")}, bytes(16)).encode(),
        Welcome(bytes(32), bytes(16), bytes(8), bytes(16)).encode(),
        b"\x83\x01\xf6\x02",
        b"/v1/hello?port=1",
        b"10.0.0.1:7273\n# x\n",
    ]
    if name == "body":
        return bodies
    whole = [b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(one), one) for one in bodies]
    return whole if name == "meeting" else [bytes([n]) + one for n, one in enumerate(whole)]
