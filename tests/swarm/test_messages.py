"""What peers say: every message comes back as it was, and any bytes give a message or the one documented error."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcdn import frames
from p2pcdn.digest import Sha256
from p2pcdn.errors import RemoteProtocolError
from p2pcdn.swarm.pieces.manifest import (
    MIB,
    PIECE_SIZE_BYTES_MAX,
    PIECES_MAX,
    Cut,
    Manifest,
    Proof,
    cut_of,
    cutting,
    manifest_of,
    piece_hash,
)
from p2pcdn.swarm.wire import bitfield
from p2pcdn.swarm.wire.advice import Advice, AskCrowd, Reader
from p2pcdn.swarm.wire.messages import (
    IDS_MAX,
    MANIFEST_SIZE_BYTES_MAX,
    PUBLIC_KEY,
    Ask,
    AskHave,
    AskHello,
    AskManifest,
    AskPeers,
    AskPiece,
    AskSmall,
    Hello,
    Known,
    blob_id,
    decode_have,
    decode_peers,
    decode_small,
    encode_have,
    encode_peers,
    encode_small,
    read_target,
)
from p2pcdn.swarm.wire.strict import SIZE_BYTES_MAX

ID = "0123456789abcdef" * 4
FILE = Sha256("fedcba9876543210" * 4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.binary(max_size=70) | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=10,
)


@pytest.mark.parametrize(
    "ask",
    [
        AskHello(),
        AskHello(1),
        AskHello(65535),
        AskHave((ID,) * IDS_MAX),
        AskSmall((ID,)),
        AskManifest(ID),
        AskHello(7273, "ab" * 16),
        AskPiece(ID, "_w", 0),
        AskPiece(ID, "AA", 400, True),
        AskPeers(),
        AskCrowd(ID, "ab" * 16, 7273, bytes(32)),
        AskCrowd(ID, "ab" * 16, 7273, bytes(32), reader=Reader(b"r" * 32, "[2001:db8::7]:7273", 99_000)),
        AskCrowd(ID, "ab" * 16, 1, bytes(32), 9000, 9, "_wE", 8191, False, False, 4, (bytes(32), b"x" * 32), True),
    ],
)
def test_a_question_is_read_as_it_was_asked(ask: Ask) -> None:
    path, _, query = ask.target().partition("?")
    assert read_target(path, query) == ask


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/hello/",
        "/v2/hello",
        f"/v1/blob/{ID}",
        f"/v1/blob/{ID}/",
        f"/v1/blob/{ID.upper()}/manifest",
        f"/v1/blob/{ID[:-1]}/manifest",
        f"/v1/blob/{ID}/manifest\n",
        f"/v1/blob/{ID}/piece/",
        f"/v1/blob/{ID}/piece",
        f"/v1/crowd/{ID}",
        f"/v1/crowd/{ID[1:]}",
        f"/v1/blob/../{ID}/manifest",
        "/v1/have/",
        f"/v1/have/{ID},",
        "/v1/have/" + ",".join([ID] * (IDS_MAX + 1)),
    ],
)
def test_anything_else_is_no_question(path: str) -> None:
    with pytest.raises(RemoteProtocolError):
        read_target(path, "")


@given(st.text(max_size=200), st.text(max_size=30))
def test_any_target_is_a_question_or_the_documented_error(path: str, query: str) -> None:
    with contextlib.suppress(RemoteProtocolError):
        read_target(path, query)


def test_hello_have_and_small_come_back_as_they_were() -> None:
    hello = Hello("node", "ab" * 16, "0.1", tag="0123456789abcdef", sealed_port=7274)
    assert Hello.decode(hello.encode()) == hello
    assert decode_have(encode_have([None, 0, SIZE_BYTES_MAX]), 3) == [None, 0, SIZE_BYTES_MAX]
    assert decode_small(encode_small([None, b"", b"x"]), 3) == [None, b"", b"x"]
    known = [Known("ab" * 16, "192.0.2.1:7273", 3), Known("cd" * 16, "[::1]:1", 0)]
    assert decode_peers(encode_peers(known)) == known
    advice = Advice(
        True, "_wE", ("", "192.0.2.1:7273", "[::1]:1"), ("node.example:5",), ((bytes(32), ""),), 150, "", 7, 99
    )
    assert Advice.decode(advice.encode()) == advice


@given(VALUES.map(frames.encode) | st.binary(max_size=400))
@settings(max_examples=300)
def test_any_bytes_are_an_answer_or_the_documented_error(content: bytes) -> None:
    for read in (
        Hello.decode,
        lambda content: decode_have(content, 3),
        lambda content: decode_small(content, 3),
        decode_peers,
        Advice.decode,
        lambda content: Manifest.decode(FILE, content),
    ):
        with contextlib.suppress(RemoteProtocolError):
            read(content)


@given(
    st.fixed_dictionaries(
        {
            "v": st.sampled_from([0, 1, 2, True, None]),
            "size": st.integers(-1, SIZE_BYTES_MAX * 2) | st.none() | st.booleans(),
            "piece": st.sampled_from([0, 1, 262144, MIB, PIECE_SIZE_BYTES_MAX]),
            "hashes": st.binary(max_size=200),
        }
    )
)
def test_a_manifest_is_whole_in_itself_or_refused(fields: dict[str, object]) -> None:
    try:
        manifest = Manifest.decode(FILE, frames.encode(fields))
    except RemoteProtocolError:
        return
    assert manifest.cut == cut_of(manifest.size_bytes)
    assert manifest.encode() == frames.encode({**fields, "v": 1})


@given(st.integers(0, SIZE_BYTES_MAX))
def test_the_pieces_of_any_size_cover_it_and_their_list_fits(size_bytes: int) -> None:
    piece, pieces = cut_of(size_bytes).piece_size_bytes, cut_of(size_bytes).pieces
    assert piece & (piece - 1) == 0
    assert piece <= PIECE_SIZE_BYTES_MAX
    assert pieces <= PIECES_MAX
    assert (pieces - 1) * piece <= size_bytes <= pieces * piece
    if 8 * MIB < size_bytes <= 2048 * MIB:
        assert piece == MIB


def test_the_largest_manifest_fits_its_limit() -> None:
    largest = Manifest(FILE, cut_of(SIZE_BYTES_MAX), bytes(32 * PIECES_MAX))
    assert len(largest.encode()) <= MANIFEST_SIZE_BYTES_MAX
    assert Manifest.decode(FILE, largest.encode()) == largest


def test_a_piece_is_right_in_its_place_of_its_file_only() -> None:
    content = random.Random(3).randbytes(MIB)
    manifest = manifest_of(FILE, content)
    parts = [content[start:end] for start, end in map(manifest.cut.span, range(manifest.pieces))]
    assert all(manifest.matches(index, part) for index, part in enumerate(parts))
    assert not manifest.matches(0, parts[1])
    assert not manifest.matches(0, parts[0][:-1])
    assert not manifest.matches(0, parts[0] + b"x")
    cut = manifest.cut
    assert piece_hash(Sha256("0" * 64), cut, 0, parts[0]) != piece_hash(FILE, cut, 0, parts[0])
    assert piece_hash(FILE, Cut(cut.size_bytes, cut.piece_size_bytes * 2), 0, parts[0]) != manifest.hash_of(0)
    same = manifest_of(FILE, bytes(MIB))
    assert len({same.hashes[at : at + 32] for at in range(0, len(same.hashes), 32)}) == same.pieces


def test_an_id_tells_nothing_without_its_key() -> None:
    assert blob_id(PUBLIC_KEY, FILE) != blob_id(b"k" * 32, FILE)
    assert FILE not in blob_id(PUBLIC_KEY, FILE)


@given(st.integers(1, 3000), st.data())
def test_a_bitfield_comes_back_as_it_was_and_one_of_another_length_is_refused(pieces: int, data: st.DataObject) -> None:
    bits = data.draw(st.integers(0, (1 << pieces) - 1))
    text = bitfield.encode(bits, pieces)
    assert bitfield.decode(text, pieces) == bits
    assert list(bitfield.ones(bits)) == [index for index in range(pieces) if bits >> index & 1]
    for other in (text + "AA", text[:-1], "+" + text[1:]):
        with pytest.raises(RemoteProtocolError):
            bitfield.decode(other, pieces)


@given(st.text(max_size=60), st.integers(1, 300))
def test_any_text_is_a_bitfield_or_the_documented_error(text: str, pieces: int) -> None:
    with contextlib.suppress(RemoteProtocolError):
        assert bitfield.decode(text, pieces) >> pieces == 0


@given(st.text(max_size=200) | st.binary(max_size=120).map(lambda content: content.hex()))
def test_any_text_is_a_proof_or_the_documented_error(text: str) -> None:
    with contextlib.suppress(RemoteProtocolError):
        assert not Proof.decode(text).holds_for_piece(bytes(32))


def test_files_can_be_cut_smaller_but_never_into_too_many_pieces() -> None:
    assert cutting(32 * 1024)(128 * 32 * 1024).pieces == 128
    assert cutting(4096)(SIZE_BYTES_MAX).pieces <= PIECES_MAX
