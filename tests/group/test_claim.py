"""Claims: what a member signs is believed as it was said, and by his group only."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcdn import frames
from p2pcdn.errors import RemoteProtocolError
from p2pcdn.group import Claim, Device, GroupKey, Identity
from p2pcdn.group.claim import SUBJECT_SIZE_BYTES_MAX

GROUP = GroupKey.from_seed(bytes(32))
US, THEM = (Identity(Device.from_seed(bytes([n]) * 32), GROUP) for n in (1, 2))
NOW = 1_800_000_000.0
PAGE = b"<html>"
CLAIM = Claim.make(THEM, "page", b"https://index.example/simple/ thing", PAGE, NOW)


@given(st.binary(max_size=500), st.binary(max_size=500), st.floats(0, 4e9))
def test_a_claim_comes_back_and_is_believed(subject: bytes, body: bytes, now: float) -> None:
    claim = Claim.decode(Claim.make(THEM, "page", subject, body, now).encode())
    assert claim.check(US, body, now) is None
    assert claim.check(US, body + b".", now) == "it is about another body"
    assert claim.encode() == Claim.decode(claim.encode()).encode()


@pytest.mark.parametrize(
    "forged",
    [
        {"subject": b"https://index.example/simple/ other"},
        {"kind": "yanked"},
        {"made_at": NOW + 1},
        {"signature": bytes(64)},
        {"signature": US.device.sign("claim v1", b"")},
        {"signature": CLAIM.signature[:-1] + bytes([CLAIM.signature[-1] ^ 1])},
        {"device": US.device.public, "vouch": US.vouch},
    ],
)
def test_a_claim_that_was_changed_is_not_its_makers(forged: dict[str, Any]) -> None:
    assert replace(CLAIM, **forged).check(US, PAGE, NOW) == "its signature is not its maker's"


def test_a_stranger_is_believed_nothing() -> None:
    stranger = Identity(Device.from_seed(b"\3" * 32), GroupKey.from_seed(b"\3" * 32))
    assert Claim.make(stranger, "page", b"s", PAGE, NOW).check(US, PAGE, NOW) == "its maker is no member of the group"
    borrowed = replace(Claim.make(stranger, "page", b"s", PAGE, NOW), vouch=THEM.vouch)
    assert borrowed.check(US, PAGE, NOW) == "its maker is no member of the group"


def test_a_device_of_two_groups_says_nothing_in_one_by_what_it_said_in_the_other() -> None:
    other = GroupKey.from_seed(b"\4" * 32)
    there = Identity(THEM.device, other)
    moved = replace(Claim.make(there, "page", b"s", PAGE, NOW), vouch=THEM.vouch)
    assert moved.check(US, PAGE, NOW) == "its signature is not its maker's"


def test_the_future_and_open_mode() -> None:
    assert CLAIM.check(US, PAGE, NOW - 23 * 3600) is None
    assert CLAIM.check(US, PAGE, NOW - 25 * 3600) == "it was made in the future"
    alone = Identity(Device.from_seed(bytes(32)), None)
    assert CLAIM.check(alone, PAGE, NOW) == "this node is in no group"
    with pytest.raises(ValueError, match="in no group"):
        Claim.make(alone, "page", b"", PAGE, NOW)


@pytest.mark.parametrize("wrong", ["Page", "", "a" * 33, "päge", "a b"])
def test_a_kind_is_a_short_word(wrong: str) -> None:
    with pytest.raises(ValueError, match="kind"):
        Claim.make(US, wrong, b"", PAGE, NOW)


WRONG: dict[str, Any] = {
    "at an integer time": {"at": 1},
    "at no time": {"at": math.nan},
    "before time": {"at": -1.0},
    "after time": {"at": math.inf},
    "in a kind that is bytes": {"kind": b"page"},
    "of a text": {"of": "subject"},
    "of something long": {"of": bytes(SUBJECT_SIZE_BYTES_MAX + 1)},
    "by a short device": {"by": bytes(31)},
    "with a long vouch": {"vouch": bytes(17)},
    "with half a signature": {"sig": bytes(32)},
    "with a body hash of text": {"body": "x" * 32},
    "with a field more": {"more": 1},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_claim_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(RemoteProtocolError):
        Claim.decode(frames.encode({**CLAIM.to_map(), **WRONG[name]}))


@pytest.mark.parametrize("missing", list(CLAIM.to_map()))
def test_a_claim_without_a_field_is_refused(missing: str) -> None:
    fields = CLAIM.to_map()
    del fields[missing]
    with pytest.raises(RemoteProtocolError):
        Claim.decode(frames.encode(fields))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_documented_error(content: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Claim.decode(content)


@given(st.integers(0, len(CLAIM.encode()) - 1), st.integers(1, 255))
def test_a_bit_that_fell_over_is_found_out(place: int, flip: int) -> None:
    content = bytearray(CLAIM.encode())
    content[place] ^= flip
    try:
        claim = Claim.decode(bytes(content))
    except RemoteProtocolError:
        return
    assert claim.check(US, PAGE, NOW) is not None
