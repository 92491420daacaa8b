"""Names by content."""

from __future__ import annotations

import hashlib

import pytest
from blake3 import blake3

from p2pcdn.digest import BlobName, Sha256, TwoHashes


@pytest.mark.parametrize("kind", [Sha256, BlobName])
@pytest.mark.parametrize(
    "text", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n", " " + "a" * 63, "٠" * 64, "../" + "a" * 61]
)
def test_only_64_lower_case_hexadecimal_digits_make_a_name(kind: type[Sha256] | type[BlobName], text: str) -> None:
    with pytest.raises(ValueError, match="not 64 lower-case"):
        kind(text)


def test_a_name_is_the_hash_of_its_content() -> None:
    for content in (b"", b"abc", bytearray(b"abc"), memoryview(b"abc")):
        assert Sha256.of(content) == hashlib.sha256(content).hexdigest()
        assert BlobName.of(content) == blake3(content).hexdigest()


def test_a_name_is_a_string_of_its_own_kind() -> None:
    name = Sha256("a" * 64)
    assert type(name) is Sha256
    assert name == "a" * 64
    assert {name: 1}["a" * 64] == 1


def test_one_walk_gives_both_names_and_the_size() -> None:
    content = bytes(range(256)) * 33
    hashes = TwoHashes()
    for piece in (content[:1], bytearray(content[1:4000]), memoryview(content)[4000:], b""):
        hashes.update(piece)
    assert hashes.sha256() == Sha256.of(content)
    assert hashes.blob_name() == BlobName.of(content)
    assert hashes.size_bytes == len(content)
