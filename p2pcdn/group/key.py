"""The group key: one printable line that makes its holders a group. Pure.

All that is used comes from the 32 secret bytes by BLAKE3's derive_key, each under a context of its own, so that the
public tag says nothing of the key, and no part of another part.
"""

from __future__ import annotations

import re
from base64 import b32decode, b32encode
from hmac import compare_digest

from blake3 import blake3

SECRET_SIZE_BYTES = 32
VOUCH_SIZE_BYTES = 16
TAG_SIZE_BYTES = 8
# Three bytes make 56 letters of it without padding, and let one typing error in 16 million pass.
CHECK_SIZE_BYTES = 3

PREFIX = "p2pcdn_group1_"
# A line with a name before it, a quoted one, a whole file by mistake: what is longer is not looked at.
LINE_SIZE_MAX = 1024
_LINE = re.compile(rf"{PREFIX}([a-z2-7]{{56}})", re.ASCII)
_OTHER_VERSION = re.compile(r"p2pcdn_group([0-9]{1,4})_", re.ASCII)


class GroupKey:
    """One group key. Immutable; used by any thread."""

    __slots__ = ("_knock_key", "_secret", "_vouch_key", "lookup_key", "pair_key", "tag")

    def __init__(self, secret: bytes) -> None:
        """lookup_key: the key of the blob ids on the wire. pair_key: goes into what two members share."""
        if len(secret) != SECRET_SIZE_BYTES:
            raise ValueError(f"A group key has {SECRET_SIZE_BYTES} bytes, and this one has {len(secret)}.")
        self._secret = secret
        self._vouch_key = _derived(secret, "vouch")
        self._knock_key = _derived(secret, "knock")
        self.lookup_key = _derived(secret, "lookup")
        self.pair_key = _derived(secret, "pair")
        # 16 hexadecimal digits; anybody may see them: they stand in multicast.
        self.tag = _derived(secret, "tag", TAG_SIZE_BYTES).hex()

    @classmethod
    def from_seed(cls, seed: bytes) -> GroupKey:
        """The key of 32 secret bytes, always the same one."""
        return cls(seed)

    @classmethod
    def parse(cls, line: str) -> GroupKey:
        """The key of a line as `line` writes it. Raises ValueError with a sentence that does not repeat the line."""
        text = line.strip().lower() if len(line) <= LINE_SIZE_MAX else ""
        match = _LINE.fullmatch(text)
        if match is None:
            raise ValueError(_why_not(text))
        content = b32decode(match[1].upper())
        secret, check = content[:SECRET_SIZE_BYTES], content[SECRET_SIZE_BYTES:]
        if not compare_digest(check, _check(secret)):
            raise ValueError(f"This group key has a typing error in the letters after {PREFIX}; copy the line again.")
        return cls(secret)

    @property
    def line(self) -> str:
        """The key as one printable line: a secret."""
        return PREFIX + b32encode(self._secret + _check(self._secret)).decode("ascii").lower()

    def __repr__(self) -> str:
        return f"GroupKey({self.tag})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GroupKey) and compare_digest(self._secret, other._secret)

    def __hash__(self) -> int:
        return hash(self.tag)

    def vouch(self, device_public: bytes) -> bytes:
        """16 bytes that only a member can make: the device belongs to the group. They are good for this device only."""
        return bytes(blake3(device_public, key=self._vouch_key).digest(VOUCH_SIZE_BYTES))

    def vouches(self, device_public: bytes, vouch: bytes) -> bool:
        """Whether a member made the vouch for the device."""
        return compare_digest(self.vouch(device_public), vouch)

    def knock(self, message: bytes) -> bytes:
        """16 bytes that show a member's hand in the first message of a meeting; they can be replayed."""
        return bytes(blake3(message, key=self._knock_key).digest(VOUCH_SIZE_BYTES))


def _derived(secret: bytes, purpose: str, size_bytes: int = 32) -> bytes:
    return bytes(blake3(secret, derive_key_context=f"p2pcdn 2026 group {purpose} v1").digest(size_bytes))


def _check(secret: bytes) -> bytes:
    return _derived(secret, "typing check", CHECK_SIZE_BYTES)


def _why_not(text: str) -> str:
    if text.startswith(PREFIX):
        count = len(text) - len(PREFIX)
        if count != 56:
            return f"This group key has {count} letters after {PREFIX}, and 56 are right; copy the whole line."
        return f"This group key has signs after {PREFIX} that no key has (only a to z and 2 to 7); copy the line again."
    if match := _OTHER_VERSION.match(text):
        return f"This group key is of version {match[1]}, which this p2pcdn does not know; a newer one may."
    return f"This is no group key: a group key is one line that begins with {PREFIX}."
