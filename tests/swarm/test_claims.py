"""Members that lie about pages: each costs a strike or nothing, and never more time than a silent one."""

from __future__ import annotations

import json
import zlib
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcdn import frames
from p2pcdn.errors import RemoteProtocolError, Unavailable
from p2pcdn.group import Claim, Identity
from p2pcdn.http1 import Request, Response
from p2pcdn.index.claimed import subject_of
from p2pcdn.index.room_questions import SILENCE_WAIT_S
from p2pcdn.swarm.group.claims import AHEAD_S_MAX, CLAIMS_WAIT_S, KIND, PAGE_SIZE_BYTES_MAX, Claims
from p2pcdn.swarm.group.given_pages import PAGE_SIZE
from p2pcdn.swarm.group.holding import Holding
from p2pcdn.swarm.neighbours.peers import SILENCES_MAX
from tests.index.test_pages import JSON, answer, page
from tests.swarm.rooms import NOWHERE, OTHER_GROUP, Handler, Room, identity, room_in
from tests.worlds import INDEX, SECOND

pytestmark = pytest.mark.usefixtures("autojump_clock")

LIAR = identity("liar")
SUBJECT = subject_of(INDEX, "six")
NOW = 1_800_000_000.0


def content(*versions: str, **changed: object) -> bytes:
    fields = {
        "body": zlib.compress(page(*versions)),
        "serial": None,
        "type": JSON["content-type"],
        "url": f"{INDEX.url}six/",
        **changed,
    }
    return frames.encode(fields)


def claim(
    body: bytes, *, who: Identity = LIAR, subject: bytes = SUBJECT, kind: str = KIND, at: float = NOW + 100
) -> Claim:
    return Claim.make(who, kind, subject, body, at)


def says(encoded: bytes, body: bytes) -> Handler:
    """A member that gives this claim, and this page."""

    def answer_with(request: Request) -> Response | None:
        if not request.path.startswith("/v1/page/"):
            return None
        if request.path.count("/") == 3:
            return Response(200, ((PAGE_SIZE, str(len(body) or 1)),), encoded)
        return Response(200, (), body)

    return answer_with


async def strikes(room: Room, name: str) -> int:
    return next(peer.strikes for member in room.members for peer in member.peers if peer.address.host == name)


BAD = content("6.6.6")
GOOD = claim(BAD)
LIES: dict[str, tuple[bytes, bytes, int]] = {
    "a wrong signature": (replace(GOOD, signature=bytes(64)).encode(), BAD, 1),
    "a signature of another time": (replace(GOOD, made_at=NOW + 101).encode(), BAD, 1),
    "a signature of another device": (replace(GOOD, device=identity("other").device.public).encode(), BAD, 1),
    "no member": (claim(BAD, who=identity("liar", OTHER_GROUP)).encode(), BAD, 1),
    "a vouch of its own": (replace(claim(BAD, who=identity("x", OTHER_GROUP)), vouch=LIAR.vouch).encode(), BAD, 1),
    "another project": (claim(BAD, subject=subject_of(INDEX, "seven")).encode(), BAD, 1),
    "another index": (claim(BAD, subject=subject_of(SECOND, "six")).encode(), BAD, 1),
    "another kind": (claim(BAD, kind="environment").encode(), BAD, 1),
    "the future": (claim(BAD, at=NOW + AHEAD_S_MAX + 500).encode(), BAD, 0),
    "the far future": (claim(BAD, at=NOW + 1e9).encode(), BAD, 0),
    "another body": (GOOD.encode(), content("7.7.7"), 1),
    "no body": (GOOD.encode(), b"", 1),
    "no claim": (b"no claim", BAD, 1),
    "an empty claim": (b"", BAD, 1),
    "a huge claim": (bytes(5000), BAD, 1),
    "a huge page": (GOOD.encode(), bytes(PAGE_SIZE_BYTES_MAX + 1), 1),
    "a replayed old one": (claim(BAD, at=NOW - 1).encode(), BAD, 0),
    "one as old as ours": (claim(BAD, at=NOW).encode(), BAD, 0),
}


OF_THE_PAGE = ("another body", "no body")


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_about_a_page_is_not_believed(tmp_path: Path, lie: str) -> None:
    encoded, body, strikes_due = LIES[lie]
    async with room_in(tmp_path) as room:
        student = await room.member("student", lambda url, headers: answer("1.0", cache_control="max-age=10"))
        await student.versions()  # confirmed at NOW
        student.upstream.script = NOWHERE
        await trio.sleep(100)
        await room.stranger("liar", says(encoded, body))
        assert await student.versions() == ["1.0"]
        assert await strikes(room, "liar") == strikes_due
        assert student.counters.refused_pieces["liar:7273"] == strikes_due
        fetched = [path for path in room.wires.asked if path.count("/") == 4]
        assert len(fetched) == (lie in OF_THE_PAGE), "no page is fetched for a claim that is none"


@pytest.mark.parametrize("size", ["", "0", "-1", "x", "1" * 9, str(len(BAD) - 1), str(PAGE_SIZE_BYTES_MAX + 1)])
async def test_a_page_is_as_large_as_was_said(tmp_path: Path, size: str) -> None:
    def odd(request: Request) -> Response:
        first = request.path.count("/") == 3
        return Response(200, ((PAGE_SIZE, size),) if size and first else (), GOOD.encode() if first else BAD)

    async with room_in(tmp_path) as room:
        student = await room.member("student", offline=True)
        await room.stranger("odd", odd)
        with pytest.raises(Unavailable):
            await student.versions()
        assert await strikes(room, "odd") == 1


def unreadable() -> dict[str, bytes]:
    return {
        "no frame": b"no frame",
        "a list": frames.encode([1]),
        "other fields": frames.encode({"gone": False}),
        "a field more": content("6.6.6", more=1),
        "a body that is no zlib": content("6.6.6", body=b"no zlib"),
        "a body that is no page": content("6.6.6", body=zlib.compress(b"no page")),
        "a body of a word": content("6.6.6", body="word"),
        "a bomb": content("6.6.6", body=zlib.compress(bytes(3_000_000))),
        "a page of files of this machine": content("6.6.6", url="file:///etc/"),
        "a serial that is none": content("6.6.6", serial="x"),
        "api version 2": content("6.6.6", body=zlib.compress(json.dumps({"meta": {"api-version": "2.0"}}).encode())),
    }


@pytest.mark.parametrize("what", unreadable())
async def test_a_signed_page_that_is_none_leaves_the_word_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Its signer is of the group; it is perhaps a later version of us, and has no strike."""
    monkeypatch.setattr("p2pcdn.index.shelf.PAGE_SIZE_BYTES_MAX", 1024 * 1024)
    body = unreadable()[what]
    async with room_in(tmp_path) as room:
        honest = await room.member("honest", lambda url, headers: answer("1.0"))
        await honest.versions()
        await room.stranger("liar", says(claim(body).encode(), body))
        student = await room.member("student", offline=True)
        assert await student.versions() == ["1.0"]
        assert await strikes(room, "liar") == 0


async def test_the_honest_page_is_found_behind_many_lies(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        honest = await room.member("honest", lambda url, headers: answer("1.0"))
        await honest.versions()
        for number, (encoded, body, _) in enumerate(LIES.values()):
            await room.stranger(f"liar{number}", says(encoded, body))
        student = await room.member("student", offline=True)
        began = trio.current_time()
        # "One as old as ours" and "a replayed old one" are good claims for who has no page.
        assert await student.versions() in (["1.0"], ["6.6.6"])
        assert trio.current_time() - began < CLAIMS_WAIT_S


async def test_a_silent_member_is_waited_for_while_a_client_waits_and_not_once_it_has_gone(tmp_path: Path) -> None:
    async def silent() -> Response:
        await trio.sleep_forever()
        raise AssertionError

    def says_nothing(request: Request) -> Awaitable[Response]:
        return silent()

    async with room_in(tmp_path) as room:
        student = await room.member("student", offline=True)
        await room.stranger("silent", says_nothing)
        began = trio.current_time()
        with pytest.raises(Unavailable):
            await student.versions()
        assert trio.current_time() - began <= SILENCE_WAIT_S + 0.1
        (peer,) = student.peers
        for _ in range(SILENCES_MAX):  # the greetings that fail meanwhile
            student.peers.failed(peer, "no hello", peer.quiet_until, silent=True)
        began = trio.current_time()
        with pytest.raises(Unavailable, match="nor does a member"):
            await student.versions("seven")
        assert trio.current_time() - began < 0.1


async def test_a_silent_member_holds_nobody_up_where_another_answers(tmp_path: Path) -> None:
    async def silent() -> Response:
        await trio.sleep_forever()
        raise AssertionError

    async with room_in(tmp_path) as room:
        honest = await room.member("honest", lambda url, headers: answer("1.0"))
        await honest.versions()
        await room.stranger("silent", lambda request: silent())
        student = await room.member("student", offline=True)
        began = trio.current_time()
        assert await student.versions() == ["1.0"]
        assert trio.current_time() - began < 1


async def test_who_loses_the_page_in_between_is_not_blamed(tmp_path: Path) -> None:
    encoded = claim(BAD).encode()

    def forgetful(request: Request) -> Response | None:
        return Response(200, ((PAGE_SIZE, str(len(BAD))),), encoded) if request.path.count("/") == 3 else None

    async with room_in(tmp_path) as room:
        student = await room.member("student", offline=True)
        await room.stranger("forgetful", forgetful)
        with pytest.raises(Unavailable):
            await student.versions()
        assert await strikes(room, "forgetful") == 0
        await room.stranger("holder", says(encoded, BAD))
        await trio.sleep(10)
        assert await student.versions() == ["6.6.6"], "the same word from one that has the page"


async def test_of_two_who_confirmed_the_same_the_later_is_believed(tmp_path: Path) -> None:
    body = content("1.0")
    for early, late in ((10, 20), (20, 10)):
        async with room_in(tmp_path / f"{early}") as room:
            student = await room.member("student", offline=True)
            for name, at in (("one", early), ("two", late)):
                await room.stranger(name, says(claim(body, at=NOW + at).encode(), body))
            assert (await student.pages.project("six")).checked_at == NOW + 20


async def test_in_open_mode_nothing_is_asked_and_nothing_answered(tmp_path: Path) -> None:
    async def read(claim: Claim, encoded: bytes, content: bytes) -> bytes:
        return content

    async with room_in(tmp_path) as room:
        one = await room.member("one", lambda url, headers: answer("1.0"))
        await one.versions()
        await room.stranger("liar", says(GOOD.encode(), BAD))
        in_open = Claims(one.claims._tools, lambda: list(one.peers), identity("one", None), one.clock)
        in_open.source = one.claims.source
        assert not in_open.can_ask()
        assert await in_open.newest(SUBJECT, newer_than=0.0, sealed=False, read=read) is None
        assert room.wires.asked == []
        path = f"/v1/page/{one.claims.id_of(SUBJECT)}"
        given = one.claims.answer(Request("GET", path.encode(), path, "", {}), sealed=True)
        assert given is not None
        assert (await given).status == 200
        assert in_open.answer(Request("GET", path.encode(), path, "", {}), sealed=True) is None


async def test_a_liar_is_banned_after_three_lies(tmp_path: Path) -> None:
    encoded, body, _ = LIES["a wrong signature"]
    async with room_in(tmp_path) as room:
        student = await room.member("student", offline=True)
        await room.stranger("liar", says(encoded, body))
        for _ in range(6):
            with pytest.raises(Unavailable):
                await student.versions()
            await trio.sleep(61)
        assert [peer.banned for peer in student.peers] == [True]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/page/",
        "/v1/page/xyz",
        "/v1/page/" + "a" * 63,
        "/v1/page/" + "A" * 64,
        "/v1/page/" + "a" * 64 + "/",
        "/v1/page/" + "a" * 64 + "/" + "b" * 65,
        "/v1/pages/" + "a" * 64,
        "/v1/room/",
        "/v1/rooms",
    ],
)
async def test_other_paths_are_for_others(tmp_path: Path, path: str) -> None:
    async with room_in(tmp_path) as room:
        one = await room.member("one")
        assert one.answer(Request("GET", path.encode(), path, "", {})) is None


async def test_unknown_pages_look_like_no_page(tmp_path: Path) -> None:
    async with room_in(tmp_path) as room:
        one = await room.member("one")
        for path in ("/v1/page/" + "a" * 64, "/v1/page/" + "a" * 64 + "/" + "b" * 64):
            response = one.claims.answer(Request("GET", path.encode(), path, "", {}), sealed=True)
            assert response is not None
            assert (await response).status == 404


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_as_what_a_node_holds_are_it_or_a_protocol_error(content: bytes) -> None:
    try:
        holding = Holding.decode(content)
    except RemoteProtocolError:
        return
    assert Holding.decode(holding.encode()) == holding
