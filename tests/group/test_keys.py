"""Device keys and the group key: right by their standard, and a line that is copied wrongly is found out."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import assume, example, given
from hypothesis import strategies as st

from p2pcdn.group import Device, GroupKey, Identity, verify
from p2pcdn.swarm.wire.messages import PUBLIC_KEY

SEEDS = st.binary(min_size=32, max_size=32)
LETTERS = "abcdefghijklmnopqrstuvwxyz234567"

# RFC 8032, 7.1: tests 1 and 3.
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
    ),
]


@pytest.mark.parametrize(("seed", "public"), VECTORS)
def test_a_device_key_is_that_of_rfc_8032(seed: str, public: str) -> None:
    assert Device.from_seed(bytes.fromhex(seed)).public.hex() == public


def test_a_signature_is_one_of_ed25519_over_context_and_message() -> None:
    device = Device.from_seed(bytes(32))
    signature = device.sign("claim v1", b"hello")
    Ed25519PublicKey.from_public_bytes(device.public).verify(signature, b"p2pcdn 2026 claim v1\0hello")


@given(SEEDS, st.binary(max_size=200), st.text("abc v1", max_size=8), st.text("abc v1", max_size=8))
def test_a_signature_is_good_for_its_context_only(seed: bytes, message: bytes, context: str, other: str) -> None:
    device = Device.from_seed(seed)
    signature = device.sign(context, message)
    assert verify(device.public, context, message, signature)
    assert verify(device.public, other, message, signature) == (context == other)


def test_what_is_no_signature_is_a_no_and_no_error() -> None:
    device = Device.from_seed(bytes(32))
    signature = device.sign("c", b"m")
    for public, wrong in [
        (device.public, b""),
        (device.public, signature[:-1]),
        (device.public, signature + b"x"),
        (device.public, bytes(64)),
        (b"", signature),
        (b"\xff" * 32, signature),
        (Device.from_seed(b"\1" * 32).public, signature),
    ]:
        assert not verify(public, "c", b"m", wrong)


@given(SEEDS, SEEDS, SEEDS)
def test_two_devices_share_a_secret_that_a_third_has_not(one: bytes, two: bytes, three: bytes) -> None:
    assume(len({one, two, three}) == 3)
    a, b, c = Device.from_seed(one), Device.from_seed(two), Device.from_seed(three)
    assert a.shared_secret(b.public) == b.shared_secret(a.public)
    assert a.shared_secret(b.public) not in (c.shared_secret(b.public), c.shared_secret(a.public))


# The identity, the points of order two and four, a number beyond the field: nobody has a secret with these.
@example(b"\1" + bytes(31))
@example((2**255 - 20).to_bytes(32, "little"))
@example(bytes(32))
@example(b"\xff" * 32)
@example(b"")
@given(st.binary(max_size=40))
def test_what_is_no_device_key_shares_nothing(public: bytes) -> None:
    device = Device.from_seed(bytes(32))
    try:
        assert len(device.shared_secret(public)) == 32
        assert len(public) == 32
    except ValueError:
        pass


@given(SEEDS)
def test_the_line_of_a_group_key_is_one_word_and_comes_back(seed: bytes) -> None:
    key = GroupKey.from_seed(seed)
    line = key.line
    assert line.isascii()
    assert line.isprintable()
    assert len(line.split()) == 1
    assert len(line) == 70
    for written in (line, f"  {line}\n", line.upper()):
        assert GroupKey.parse(written).line == line
        assert GroupKey.parse(written) == key
    assert key.tag not in line
    assert seed.hex() not in repr(key)


@given(SEEDS, st.integers(0, 55), st.sampled_from(LETTERS))
def test_one_mistyped_letter_is_found_out(seed: bytes, place: int, letter: str) -> None:
    line = GroupKey.from_seed(seed).line
    at = len(line) - 56 + place
    assume(line[at] != letter)
    with pytest.raises(ValueError, match="typing error"):
        GroupKey.parse(line[:at] + letter + line[at + 1 :])


@given(SEEDS, st.integers(0, 54))
def test_two_letters_that_changed_places_are_found_out(seed: bytes, place: int) -> None:
    line = GroupKey.from_seed(seed).line
    at = len(line) - 56 + place
    assume(line[at] != line[at + 1])
    with pytest.raises(ValueError, match="typing error"):
        GroupKey.parse(line[:at] + line[at + 1] + line[at] + line[at + 2 :])


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "no group key"),
        ("hunter2", "no group key"),
        ("p2pcdn_group1_abc", "has 3 letters"),
        (GroupKey.from_seed(bytes(32)).line[:-1], "has 55 letters"),
        (GroupKey.from_seed(bytes(32)).line + "a", "has 57 letters"),
        (GroupKey.from_seed(bytes(32)).line[:-1] + "1", "no key has"),
        ("p2pcdn_group2_" + "a" * 60, "version 2"),
        ("x" * 100_000, "no group key"),
    ],
)
def test_what_is_no_key_is_told_in_a_sentence(line: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        GroupKey.parse(line)
    assert str(caught.value).endswith(".")
    assert len(str(caught.value)) < 200


@given(st.text(max_size=100))
def test_no_text_at_all_is_another_error(text: str) -> None:
    with pytest.raises(ValueError):
        GroupKey.parse(text)


def test_a_sentence_about_a_wrong_line_does_not_repeat_the_secret() -> None:
    line = GroupKey.from_seed(bytes(range(32))).line
    with pytest.raises(ValueError) as caught:
        GroupKey.parse(line[:-1] + ("a" if line[-1] != "a" else "b"))
    assert line[20:40] not in str(caught.value)


def test_all_that_is_derived_differs_and_stays_the_same_for_ever() -> None:
    key = GroupKey.from_seed(bytes(range(32)))
    assert key.line == "p2pcdn_group1_aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dyp7r2o3"
    assert key.tag == "29b6b63b74d20358"
    assert len({key.lookup_key, key.pair_key, key.vouch(b"d"), key.knock(b"d"), bytes(range(32))}) == 5


def test_a_vouch_is_good_for_one_device_of_one_group() -> None:
    group, other = GroupKey.from_seed(bytes(32)), GroupKey.from_seed(b"\1" * 32)
    device, stranger = (Device.from_seed(bytes([n]) * 32).public for n in (1, 2))
    vouch = group.vouch(device)
    assert group.vouches(device, vouch)
    assert not group.vouches(stranger, vouch)
    assert not other.vouches(device, vouch)
    assert not group.vouches(device, b"")
    assert not group.vouches(device, vouch + b"\0")


def test_in_open_mode_nobody_is_a_member() -> None:
    alone = Identity(Device.from_seed(bytes(32)), None)
    assert (alone.vouch, alone.tag, alone.lookup_key) == (b"", "", PUBLIC_KEY)
    assert not alone.is_member(alone.device.public, b"")


def test_a_group_looks_up_blobs_by_its_own_ids() -> None:
    group = GroupKey.from_seed(bytes(32))
    one = Identity(Device.from_seed(bytes(32)), group)
    two = Identity(Device.from_seed(b"\1" * 32), GroupKey.parse(group.line))
    assert one.lookup_key == two.lookup_key != PUBLIC_KEY
    assert two.is_member(one.device.public, one.vouch)
    assert one.tag == two.tag
