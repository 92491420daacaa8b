"""Meetings over real connections: members get their answers, everybody else one and the same refusal."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial as bind

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcdn.errors import RemoteProtocolError, Unanswered, Unavailable
from p2pcdn.group import Device, GroupKey, Identity
from p2pcdn.group.challenge import Knock, Pairs, Session, Welcome, enter
from p2pcdn.http1 import Refusal, Request, Response, serve, serve_connection
from p2pcdn.swarm.neighbours import meeting as meeting_room
from p2pcdn.swarm.neighbours.exchange import Exchange, Patience
from p2pcdn.swarm.neighbours.meeting import MEET_PATH, Meeting, is_sealed, member_of
from p2pcdn.swarm.neighbours.peer import Address
from p2pcdn.swarm.wire.connection import encode_request
from p2pcdn.swarm.wire.messages import AskHello
from p2pcdn_daemon.doors.network import TcpNetwork
from tests.swarm.nodes import HANG_S, SHORT, ok

GROUP, OTHERS = (GroupKey.from_seed(bytes([n]) * 32) for n in (1, 2))
SERVER, CLIENT, THIRD = (Device.from_seed(bytes([n]) * 32) for n in (11, 12, 13))


def meeting(device: Device, group: GroupKey = GROUP, seed: int = 0) -> Meeting:
    return Meeting(Identity(device, group), random.Random(seed))


@dataclass
class Member:
    """A server of the group, and what reached its face."""

    address: Address
    meeting: Meeting
    asked: list[tuple[str, bytes | None, bool]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    connections: list[object] = field(default_factory=list)


@asynccontextmanager
async def member(device: Device = SERVER, group: GroupKey = GROUP, *, sealed: bool = False) -> AsyncIterator[Member]:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    it = Member(Address("127.0.0.1", listeners[0].socket.getsockname()[1]), meeting(device, group, 1))

    def face(request: Request) -> Response:
        it.asked.append((request.path, member_of(request), is_sealed(request)))
        it.connections.append(request.connection)
        return Response(404 if "missing" in request.path else 200, (), b"hello")

    def note(refusal: Refusal, peer: str) -> None:
        it.refused.append(refusal.rule)

    door = it.meeting.sealed_door if sealed else it.meeting.door
    async with trio.open_nursery() as nursery:
        await nursery.start(bind(serve, listeners, door.guard(face), cross_site=True, on_refusal=note))
        with trio.fail_after(HANG_S):
            yield it
        nursery.cancel_scope.cancel()


def exchange_of(meeting: Meeting | None) -> Exchange:
    return Exchange(TcpNetwork(), SHORT, meeting)


async def ask(exchange: Exchange, address: Address) -> tuple[int, bytes, bytes]:
    async with exchange.ask(address, AskHello(), 1024) as answer:
        return answer.status, bytes(answer.body), answer.device


async def raw(address: Address, *requests: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Sends requests on one connection, one after the other; an answer to each until the other end closes."""
    answers: list[tuple[int, dict[str, str], bytes]] = []
    async with await trio.open_tcp_stream(address.host, address.port) as stream:
        seen = b""
        for request in requests:
            try:
                await stream.send_all(request)
                while b"\r\n\r\n" not in seen:
                    if not (content := await stream.receive_some()):
                        return answers
                    seen += content
                head, _, seen = seen.partition(b"\r\n\r\n")
                lines = head.decode().split("\r\n")
                headers = dict(line.split(": ", 1) for line in lines[1:])
                while len(seen) < int(headers["content-length"]):
                    seen += await stream.receive_some()
                body, seen = seen[: int(headers["content-length"])], seen[int(headers["content-length"]) :]
                answers.append((int(lines[0].split(" ")[1]), headers, body))
            except trio.BrokenResourceError:
                return answers
    return answers


def get(path: str, ticket: str = "") -> bytes:
    return encode_request(path, "node", ticket)


async def met(address: Address, device: Device = CLIENT, group: GroupKey = GROUP) -> tuple[Session, bytes]:
    """A session that was begun, and the request that begins it."""
    pairs = Pairs(Identity(device, group))
    knock = Knock.make(pairs, b"n" * 16, sealed=False)
    answers = await raw(address, get(MEET_PATH + knock.encode()))
    session = enter(pairs, knock, Welcome.decode(answers[0][2]), sealed=False)
    assert session is not None
    return session, get(MEET_PATH + knock.encode())


# --- members


async def test_a_member_meets_once_and_then_asks_at_once() -> None:
    async with member() as server:
        exchange = exchange_of(meeting(CLIENT))
        assert await ask(exchange, server.address) == (200, b"hello", SERVER.public)
        assert await ask(exchange, server.address) == (200, b"hello", SERVER.public)
        await exchange.hang_up(server.address)
        assert await ask(exchange, server.address) == (200, b"hello", SERVER.public)
        assert server.asked == [("/v1/hello", CLIENT.public, False)] * 3
        assert len({id(one) for one in server.connections}) == 2
        assert server.refused == []
        await exchange.close()


async def test_a_thousand_connections_cost_one_meeting() -> None:
    async with member() as server:
        ours = meeting(CLIENT)
        exchange = exchange_of(ours)
        for _ in range(100):
            assert (await ask(exchange, server.address))[0] == 200
            await exchange.hang_up(server.address)
        assert len(server.asked) == 100
        assert len(server.meeting.door._hosts) == 1


async def test_many_who_ask_at_once_meet_once() -> None:
    async with member() as server:
        exchange = exchange_of(meeting(CLIENT))
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask, exchange, server.address)
        assert len(server.asked) == 20
        assert len(server.meeting.door._ids) == 1
        await exchange.close()


async def test_a_server_that_began_anew_is_met_again() -> None:
    async with member() as server:
        exchange = exchange_of(meeting(CLIENT))
        await ask(exchange, server.address)
        await exchange.hang_up(server.address)
        server.meeting.door._hosts.clear()
        server.meeting.door._ids.clear()
        assert await ask(exchange, server.address) == (200, b"hello", SERVER.public)
        await exchange.close()


async def test_a_refusal_that_is_longer_than_what_was_asked_for_is_no_offence() -> None:
    """The last piece of a file may have a byte; the refusal of an old ticket has a sentence."""
    async with member() as server:
        exchange = exchange_of(meeting(CLIENT))
        await ask(exchange, server.address)
        await exchange.hang_up(server.address)
        server.meeting.door._hosts.clear()
        server.meeting.door._ids.clear()
        async with exchange.ask(server.address, AskHello(), 5) as answer:
            assert bytes(answer.body) == b"hello"
        with pytest.raises(RemoteProtocolError):
            async with exchange.ask(server.address, AskHello(), 4):
                pass
        await exchange.close()


async def test_another_node_at_the_same_address_is_known_for_another_one() -> None:
    ours = meeting(CLIENT)
    async with member() as server, member(THIRD) as other:
        exchange = exchange_of(ours)
        await ask(exchange, server.address)
        await exchange.hang_up(server.address)
        ours._guests[other.address, False] = ours._guests.pop((server.address, False))
        assert ours.device_of(other.address) == SERVER.public
        assert await ask(exchange, other.address) == (200, b"hello", THIRD.public)
        assert ours.device_of(other.address) == THIRD.public


async def test_a_lost_answer_is_an_answer_of_a_member_too() -> None:
    """A 404 with its proof is the face's; it does not begin another meeting."""
    async with member() as server:
        session, _begin = await met(server.address)
        pairs = Pairs(Identity(CLIENT, GROUP))
        knock = Knock.make(pairs, b"m" * 16, sealed=False)
        async with await trio.open_tcp_stream(server.address.host, server.address.port) as stream:
            await stream.send_all(get(MEET_PATH + knock.encode()))
            answer = await stream.receive_some()
            session = enter(pairs, knock, Welcome.decode(answer.partition(b"\r\n\r\n")[2]), sealed=False)  # type: ignore[assignment]
            await stream.send_all(get("/missing", session.ticket(1)))
            answer = await stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 404")
        assert f"ticket-proof: {session.answer(1)}\r\n".encode() in answer


# --- who is none


@pytest.mark.parametrize("group", [OTHERS, None])
async def test_who_has_not_our_key_gets_no_answer(group: GroupKey | None) -> None:
    async with member() as server:
        stranger = exchange_of(meeting(CLIENT, group) if group else None)
        if group:
            with pytest.raises(Unavailable, match="does not take us for a member"):
                await ask(stranger, server.address)
        else:
            assert (await ask(stranger, server.address))[0] == 403
        assert server.asked == []
        assert set(server.refused) == {"unproven"}


async def test_a_refusal_says_nothing_of_what_is_held() -> None:
    async with member() as server:
        session, _ = await met(server.address)
        answers = [
            (await raw(server.address, request))[0]
            for request in (
                get("/v1/hello"),
                get("/v1/have/" + "0" * 64),
                get("/v1/no-such-path"),
                get("/v1/hello", "nonsense"),
                get("/v1/hello", session.ticket(1)),
                get(MEET_PATH + "0" * 128),
                get(MEET_PATH + "x"),
                get(MEET_PATH),
            )
        ]
        assert {(status, body) for status, _, body in answers} == {(403, answers[0][2])}
        assert {frozenset(headers) for _, headers, _ in answers} == {frozenset(answers[0][1])}
        assert server.asked == []


async def test_an_open_node_is_no_member() -> None:
    async def open_face(stream: trio.SocketStream) -> None:
        await serve_connection(stream, lambda request: Response(404), cross_site=True)

    async with listening(open_face) as address:
        with pytest.raises(Unavailable, match="belongs to no group"):
            await ask(exchange_of(meeting(CLIENT)), address)


async def test_another_groups_node_is_no_member() -> None:
    async with member(SERVER, OTHERS) as server:
        with pytest.raises(Unavailable, match="does not take us"):
            await ask(exchange_of(meeting(CLIENT)), server.address)


async def test_a_server_that_takes_everybody_proves_nothing() -> None:
    """It knows no key, and answers each meeting with a well-formed welcome."""
    lie = Welcome(SERVER.public, bytes(16), bytes(8), bytes(16)).encode()
    async with talking(lambda path: ok(lie)) as address:
        with pytest.raises(Unavailable, match="did not prove"):
            await ask(exchange_of(meeting(CLIENT)), address)


async def test_an_answer_without_proof_is_not_taken() -> None:
    """The address was met; then somebody without a key sits there and says yes to all."""
    ours = meeting(CLIENT)
    async with member() as server, talking(lambda path: ok(b"hello")) as thief:
        exchange = exchange_of(ours)
        await ask(exchange, server.address)
        ours._guests[thief, False] = ours._guests[server.address, False]
        with pytest.raises(Unavailable, match="does not prove"):
            await ask(exchange, thief)
        # Nor does he get a second look at our tickets: he would have to be met.
        with pytest.raises(RemoteProtocolError):
            await ask(exchange, thief)
        await exchange.close()


# --- tickets


async def test_a_ticket_is_good_for_one_connection() -> None:
    async with member() as server:
        ours = meeting(CLIENT)
        exchange = exchange_of(ours)
        await ask(exchange, server.address)
        given = ours.pass_for(server.address, sealed=False)
        assert given is not None
        assert [status for status, _, _ in await raw(server.address, get("/first", given.ticket))] == [200]
        assert [status for status, _, _ in await raw(server.address, get("/stolen", given.ticket))] == [403]
        assert [path for path, _, _ in server.asked] == ["/v1/hello", "/first"]
        await exchange.close()


async def test_a_connection_that_is_proven_stays_so_and_the_next_one_is_not() -> None:
    async with member() as server:
        ours = meeting(CLIENT)
        await ask(exchange_of(ours), server.address)
        given = ours.pass_for(server.address, sealed=False)
        assert given is not None
        answers = await raw(server.address, get("/one", given.ticket), get("/two"), get("/three", given.ticket))
        assert [status for status, _, _ in answers] == [200, 200, 200]
        assert "ticket-proof" in answers[0][1]
        assert "ticket-proof" not in answers[1][1]
        assert [status for status, _, _ in await raw(server.address, get("/one"))] == [403]


async def test_a_session_that_was_begun_on_one_connection_is_not_taken_on_another() -> None:
    """Before its first ticket it belongs to its connection: a knock played again pushes nobody out."""
    async with member() as server:
        ours = meeting(CLIENT)
        exchange = exchange_of(ours)
        await ask(exchange, server.address)
        session, begin = await met(server.address)
        assert [status for status, _, _ in await raw(server.address, get("/", session.ticket(1)))] == [403]
        for _ in range(5):
            assert [status for status, _, _ in await raw(server.address, begin)] == [200]
        await exchange.hang_up(server.address)
        assert (await ask(exchange, server.address))[0] == 200
        assert server.refused == ["unproven"]
        await exchange.close()


async def test_one_meeting_a_connection() -> None:
    async with member() as server:
        knock = Knock.make(Pairs(Identity(CLIENT, GROUP)), bytes(16), sealed=False)
        begin = get(MEET_PATH + knock.encode())
        assert [status for status, _, _ in await raw(server.address, begin, begin)] == [200, 403]


async def test_a_ticket_that_was_changed_is_refused_and_the_right_one_still_taken() -> None:
    async with member() as server:
        ours = meeting(CLIENT)
        await ask(exchange_of(ours), server.address)
        given = ours.pass_for(server.address, sealed=False)
        assert given is not None
        id_, number, proof = given.ticket.split(".")
        for wrong in (
            f"{id_}.{'f' * 16}.{proof}",
            f"{'0' * 16}.{number}.{proof}",
            f"{id_}.{number}.{'0' * 32}",
            given.ticket.upper().replace("A", "a"),
            given.ticket + " ",
            given.ticket * 2,
        )[:3]:
            assert [status for status, _, _ in await raw(server.address, get("/", wrong))] == [403]
        assert [status for status, _, _ in await raw(server.address, get("/", given.ticket))] == [200]


async def test_what_was_proven_in_plain_text_opens_no_sealed_door() -> None:
    """Whoever sits on the wire forwards a member's words into a TLS connection of his own."""
    async with member(sealed=True) as server:
        knock = Knock.make(Pairs(Identity(CLIENT, GROUP)), bytes(16), sealed=False)
        assert [status for status, _, _ in await raw(server.address, get(MEET_PATH + knock.encode()))] == [403]


# --- bounds


async def test_a_device_that_begins_anew_again_and_again_has_one_session() -> None:
    async with member() as server:
        for seed in range(10):
            await ask(exchange_of(meeting(CLIENT, seed=seed)), server.address)
        assert len(server.meeting.door._hosts) == len(server.meeting.door._ids) == 1


async def test_sessions_are_bounded_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting_room, "SESSIONS_MAX", 3)
    async with member() as server:
        for n in range(20, 30):
            await ask(exchange_of(meeting(Device.from_seed(bytes([n]) * 32))), server.address)
        door = server.meeting.door
        assert len(door._hosts) == len(door._ids) == 3
    ours = meeting(CLIENT)
    knock = ours.knock(sealed=False)
    for n in range(10):
        theirs = meeting(SERVER).door.guard(lambda request: Response(200))
        answer = theirs(Request("GET", b"", MEET_PATH + knock.encode(), "", {}))
        assert isinstance(answer, Response)
        assert isinstance(answer.body, bytes)
        ours.met(Address("127.0.0.1", 1000 + n), knock, answer.body, sealed=False)
    assert len(ours._guests) == 3


# --- what may come


@asynccontextmanager
async def listening(speak: Callable[[trio.SocketStream], object]) -> AsyncIterator[Address]:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bind(trio.serve_listeners, speak, listeners))
        with trio.fail_after(HANG_S):
            yield Address("127.0.0.1", listeners[0].socket.getsockname()[1])
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def talking(script: Callable[[str], bytes | None]) -> AsyncIterator[Address]:
    """Somebody who answers each request with these bytes; None says nothing, b"" closes."""

    async def speak(stream: trio.SocketStream) -> None:
        seen = b""
        try:
            async for chunk in stream:
                seen += chunk
                while b"\r\n\r\n" in seen:
                    head, _, seen = seen.partition(b"\r\n\r\n")
                    answer = script(head.split(b" ")[1].decode())
                    if answer is None:
                        await trio.sleep_forever()
                    if not answer:
                        return
                    await stream.send_all(answer)
        except trio.BrokenResourceError:
            return

    async with listening(speak) as address:
        yield address


BAD: dict[str, tuple[bytes | None, type[Exception]]] = {
    "silence": (None, Unavailable),
    "an end": (b"", Unavailable),
    "no HTTP": (b"SSH-2.0-OpenSSH\r\n\r\n", RemoteProtocolError),
    "a body that is no welcome": (ok(b"welcome"), RemoteProtocolError),
    "an empty body": (ok(b""), RemoteProtocolError),
    "a body over the limit": (ok(bytes(5000)), RemoteProtocolError),
    "an enormous head": (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000, RemoteProtocolError),
    "two answers": (ok(b"") * 2, RemoteProtocolError),
    "a redirect": (b"HTTP/1.1 302 Found\r\nlocation: http://x/\r\ncontent-length: 0\r\n\r\n", Unavailable),
    "a full server": (b"HTTP/1.1 503 Full\r\ncontent-length: 0\r\n\r\n", Unavailable),
    "a refusal": (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", Unavailable),
}


@pytest.mark.parametrize("name", BAD)
async def test_whatever_answers_a_meeting_is_a_documented_error(name: str) -> None:
    answer, error = BAD[name]
    async with talking(lambda path: answer) as address:
        with pytest.raises(error):
            await ask(exchange_of(meeting(CLIENT)), address)


async def test_those_who_wait_for_a_meeting_that_fails_do_not_wait_again() -> None:
    async with talking(lambda path: None) as address:
        exchange = Exchange(TcpNetwork(), Patience(1.0, 1.0), meeting(CLIENT))
        failures: list[str] = []

        async def try_it() -> None:
            try:
                await ask(exchange, address)
            except Unavailable as error:
                failures.append(str(error))

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(try_it)
        assert len(failures) == 10
        assert trio.current_time() - began < 5 * 1.0, "one after the other they would wait ten times"


async def test_those_who_wait_for_a_meeting_that_nobody_answers_hear_that_it_was_silent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Deaf:
        async def connect(self, host: str, port: int) -> trio.abc.Stream:
            await trio.sleep_forever()
            raise AssertionError

        async def connect_sealed(self, host: str, port: int, device: bytes) -> trio.abc.Stream:
            return await self.connect(host, port)

    exchange = Exchange(Deaf(), Patience(), meeting(CLIENT))

    async def ask_it() -> None:
        with pytest.raises(Unanswered):
            await ask(exchange, Address("192.0.2.1", 7273))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask_it)


TOKENS = st.sampled_from(
    [
        b"GET ",
        b"/v1/meet/",
        b"0" * 128,
        b" HTTP/1.1\r\n",
        b"host: x\r\n",
        b"\r\n",
        b"ticket: ",
        b"0" * 16 + b"." + b"0" * 16 + b"." + b"0" * 32,
        b"ticket-proof: ",
        b"\0",
        b"\xff" * 9,
        b"content-length: 5\r\n",
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | st.lists(TOKENS, max_size=12).map(b"".join))
def test_any_bytes_on_the_guarded_port_reach_nobody(content: bytes) -> None:
    """The real server on a stream in memory: it answers with refusals only, closes, and its face was never asked."""
    door = meeting(SERVER).door
    asked: list[str] = []

    def face(request: Request) -> Response:
        asked.append(request.path)
        return Response(200)

    async def main() -> bytes:
        ours, theirs = trio.testing.memory_stream_pair()
        seen = b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bind(serve_connection, theirs, door.guard(face), cross_site=True))
            await ours.send_all(content)
            await ours.send_eof()
            while part := await ours.receive_some():
                seen += part
        return seen

    with_clock = trio.testing.MockClock(autojump_threshold=0)
    seen = trio.run(main, clock=with_clock)
    assert not asked
    assert b"HTTP/1.1 200" not in seen
    assert b"HTTP/1.1 500" not in seen
