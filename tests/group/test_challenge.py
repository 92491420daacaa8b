"""The challenge, without a wire: who holds both keys gets a session, and everybody else gets nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcdn.errors import RemoteProtocolError
from p2pcdn.group import Device, GroupKey, Identity
from p2pcdn.group.challenge import (
    PAIRS_MAX,
    WINDOW,
    Knock,
    Pairs,
    Session,
    Ticket,
    Welcome,
    Window,
    enter,
    welcome,
)

GROUP = GroupKey.from_seed(bytes(32))
ALICE, BOB, CAROL = (Device.from_seed(bytes([n]) * 32) for n in (1, 2, 3))


def member(device: Device, group: GroupKey = GROUP) -> Pairs:
    return Pairs(Identity(device, group))


def meet(client: Pairs, server: Pairs, *, sealed: bool = False) -> tuple[Knock, Welcome, Session]:
    knock = Knock.make(client, b"c" * 16, sealed=sealed)
    answered = welcome(server, Knock.decode(knock.encode()), b"s" * 16, b"id" * 4, sealed=sealed)
    assert answered is not None
    return knock, Welcome.decode(answered[0].encode()), answered[1]


def test_two_members_get_the_same_session_and_each_knows_the_other() -> None:
    alice, bob = member(ALICE), member(BOB)
    knock, answer, hers = meet(alice, bob)
    ours = enter(alice, knock, answer, sealed=False)
    assert ours is not None
    assert (ours.key, ours.device, hers.device) == (hers.key, BOB.public, ALICE.public)
    ticket = Ticket.decode(ours.ticket(7))
    assert hers.fits(ticket)
    assert ours.answer(7) == hers.answer(7) != ours.answer(8)
    assert not hers.fits(replace(ticket, number=8))
    assert not hers.fits(replace(ticket, proof=bytes(16)))


def test_without_the_group_key_a_knock_is_not_answered() -> None:
    stranger, bob = member(ALICE, GroupKey.from_seed(b"\1" * 32)), member(BOB)
    assert welcome(bob, Knock.make(stranger, bytes(16), sealed=False), bytes(16), bytes(8), sealed=False) is None


def test_a_stranger_who_answers_a_knock_proves_nothing() -> None:
    """He has a device key and all that the code can do, but another group's key."""
    alice, stranger = member(ALICE), member(BOB, GroupKey.from_seed(b"\1" * 32))
    knock = Knock.make(alice, bytes(16), sealed=False)
    as_if_it_were_right = replace(knock, mark=stranger.group.knock(ALICE.public + knock.nonce + b"\0"))
    answered = welcome(stranger, as_if_it_were_right, bytes(16), bytes(8), sealed=False)
    assert answered is not None
    assert enter(alice, knock, answered[0], sealed=False) is None
    for forged in (bytes(16), b"\xff" * 16):
        assert enter(alice, knock, replace(answered[0], proof=forged), sealed=False) is None


def test_a_member_cannot_pass_for_another_members_device() -> None:
    """Carol has the group key and all that Alice and Bob have said, but no device key of theirs."""
    alice, bob, carol = member(ALICE), member(BOB), member(CAROL)
    knock, _answer, hosts = meet(alice, bob)
    # As a client: Alice's knock, played again, is answered, and Carol cannot compute the session.
    again = welcome(bob, knock, b"n" * 16, b"other_id", sealed=False)
    assert again is not None
    assert enter(carol, knock, again[0], sealed=False) is None
    # As a server: she answers Alice in Bob's name.
    mine = welcome(carol, knock, b"n" * 16, b"other_id", sealed=False)
    assert mine is not None
    assert enter(alice, knock, replace(mine[0], device=BOB.public), sealed=False) is None
    assert hosts.key != again[1].key


def test_an_answer_to_another_knock_is_none_to_this_one() -> None:
    alice, bob = member(ALICE), member(BOB)
    _, answer, _ = meet(alice, bob)
    assert enter(alice, Knock.make(alice, b"x" * 16, sealed=False), answer, sealed=False) is None
    for changed in ({"nonce": bytes(16)}, {"session_id": bytes(8)}, {"device": CAROL.public}):
        knock, answer, _ = meet(alice, bob)
        assert enter(alice, knock, replace(answer, **changed), sealed=False) is None


def test_what_was_said_in_plain_text_opens_no_sealed_door() -> None:
    alice, bob = member(ALICE), member(BOB)
    knock = Knock.make(alice, bytes(16), sealed=False)
    assert welcome(bob, knock, bytes(16), bytes(8), sealed=True) is None
    plain, sealed = meet(alice, bob)[2], meet(alice, bob, sealed=True)[2]
    assert plain.key != sealed.key
    assert not sealed.fits(Ticket.decode(plain.ticket(1)))


def test_a_knock_in_the_name_of_no_key_is_not_answered() -> None:
    """A member may write anything into a knock; points of small order have no secret with anybody."""
    alice, bob = member(ALICE), member(BOB)
    for device in (bytes(32), b"\1" + bytes(31), b"\xff" * 32):
        mark = GROUP.knock(device + bytes(16) + b"\0")
        assert welcome(bob, Knock(device, bytes(16), mark), bytes(16), bytes(8), sealed=False) is None
    assert alice.key(BOB.public) == bob.key(ALICE.public)


def test_devices_that_are_drawn_by_the_ten_thousand_cost_bounded_memory() -> None:
    bob = member(BOB)
    bob._keys.update((n.to_bytes(32, "big"), b"") for n in range(PAIRS_MAX))
    assert bob.key(ALICE.public) is not None
    assert len(bob._keys) == PAIRS_MAX


@given(st.binary(max_size=300))
def test_any_bytes_are_a_documented_error(content: bytes) -> None:
    for decode in (Knock.decode, Ticket.decode):
        with pytest.raises(RemoteProtocolError):
            decode(content.decode("latin-1"))
    with pytest.raises(RemoteProtocolError):
        Welcome.decode(content)


def test_a_welcome_is_of_exactly_its_form() -> None:
    content = meet(member(ALICE), member(BOB))[1].encode()
    assert Welcome.decode(content).encode() == content
    for wrong in (content + b"\0", content[:-1], b"", b"\xa0", bytes(1000)):
        with pytest.raises(RemoteProtocolError):
            Welcome.decode(wrong)


@given(st.lists(st.integers(0, 3 * WINDOW) | st.integers(0, 2**64 - 1), max_size=100))
def test_no_number_is_taken_twice(numbers: list[int]) -> None:
    window, taken = Window(), set()
    for number in numbers:
        if window.take(number):
            assert number not in taken
            taken.add(number)
        else:
            assert number in taken or number <= max(taken) - WINDOW
    assert window.used.bit_length() <= WINDOW


def test_numbers_that_overtake_each_other_are_all_taken() -> None:
    window = Window()
    assert all(window.take(number) for number in (5, 3, 1, 2, 4, 900, 6, 899))
    assert not any(window.take(number) for number in (5, 3, 1, 2, 4, 900, 6, 899))
