"""A claim: what a member says of something that proves itself by no hash (a page, a yanked mark), and signs. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from p2pcdn import frames
from p2pcdn.errors import RemoteProtocolError
from p2pcdn.group.device import PUBLIC_SIZE_BYTES, SIGNATURE_SIZE_BYTES, verify
from p2pcdn.group.identity import Identity
from p2pcdn.group.key import VOUCH_SIZE_BYTES

CONTEXT = "claim v1"
BODY_HASH_SIZE_BYTES = 32
# An index's URL and a project's name.
SUBJECT_SIZE_BYTES_MAX = 4096
# The subject, five short fields and their names.
CLAIM_SIZE_BYTES_MAX = SUBJECT_SIZE_BYTES_MAX + 512
# Clocks of a room without a network differ; one that is ahead by more than a day would keep its word fresh for ever.
AHEAD_S_MAX = 24 * 3600.0
# The year 9999: a larger number of seconds is no time.
MADE_AT_MAX = 253_402_300_800.0

_KIND = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a member said, when, and that it did.

    kind: what sort of thing it is said of ("page"). subject: of which one. body_hash: BLAKE3 of what is said; the body
    itself travels beside the claim. made_at: seconds since 1970. device, vouch, signature: whose word it is.
    """

    kind: str
    subject: bytes
    body_hash: bytes
    made_at: float
    device: bytes
    vouch: bytes
    signature: bytes

    @classmethod
    def make(cls, identity: Identity, kind: str, subject: bytes, body: bytes, now: float) -> Claim:
        """Our word. Raises ValueError in open mode (it would be believed by nobody), and for what no claim can hold."""
        if identity.group is None:
            raise ValueError("This node is in no group whose members could believe it.")
        made = cls(kind, subject, body_hash_of(body), float(now), identity.device.public, identity.vouch, b"")
        made._check_form(signature_size_bytes=0)
        signature = identity.device.sign(CONTEXT, made._signed(identity.tag))
        return cls(kind, subject, made.body_hash, made.made_at, made.device, made.vouch, signature)

    def check(self, identity: Identity, body: bytes | None, now: float) -> str | None:
        """None where a member of our group said this of the body, else why it cannot be believed.

        body: None where it has not come yet; whoever fetches it compares it with `body_hash`.
        """
        if identity.group is None:
            return "this node is in no group"
        if not identity.is_member(self.device, self.vouch):
            return "its maker is no member of the group"
        if body is not None and self.body_hash != body_hash_of(body):
            return "it is about another body"
        if self.made_at > now + AHEAD_S_MAX:
            return "it was made in the future"
        if not verify(self.device, CONTEXT, self._signed(identity.tag), self.signature):
            return "its signature is not its maker's"
        return None

    def encode(self) -> bytes:
        return frames.encode(self.to_map())

    @classmethod
    def decode(cls, content: bytes) -> Claim:
        """Raises RemoteProtocolError for anything that `encode` would not write. It proves nothing: see `check`."""
        if len(content) > CLAIM_SIZE_BYTES_MAX:
            raise RemoteProtocolError(f"a claim has {len(content)} bytes, more than {CLAIM_SIZE_BYTES_MAX}")
        return cls.of_map(frames.decode(content))

    @classmethod
    def of_map(cls, fields: Any) -> Claim:
        """The claim in a map that was decoded already. Raises RemoteProtocolError."""
        if not isinstance(fields, Mapping) or set(fields) != set(_FIELDS):
            raise RemoteProtocolError("a claim has other fields than a claim's")
        claim = cls(**{field: fields[name] for name, field in _FIELDS.items()})
        try:
            claim._check_form()
        except ValueError as error:
            raise RemoteProtocolError(str(error)) from error
        return claim

    def to_map(self) -> dict[str, Any]:
        """For a place inside another message."""
        return {name: getattr(self, field) for name, field in _FIELDS.items()}

    def _signed(self, tag: str) -> bytes:
        # The group is part of it: a device of two groups says nothing in one by what it said in the other.
        return frames.encode([tag, self.kind, self.subject, self.body_hash, self.made_at])

    def _check_form(self, signature_size_bytes: int = SIGNATURE_SIZE_BYTES) -> None:
        if type(self.kind) is not str or not _KIND.fullmatch(self.kind):
            raise ValueError("a claim names no kind")
        if type(self.subject) is not bytes or len(self.subject) > SUBJECT_SIZE_BYTES_MAX:
            raise ValueError("a claim names no subject")
        if type(self.made_at) is not float or not math.isfinite(self.made_at) or not 0 <= self.made_at <= MADE_AT_MAX:
            raise ValueError("a claim was made at no time")
        sizes = (
            (self.body_hash, BODY_HASH_SIZE_BYTES),
            (self.device, PUBLIC_SIZE_BYTES),
            (self.vouch, VOUCH_SIZE_BYTES),
            (self.signature, signature_size_bytes),
        )
        if not all(type(content) is bytes and len(content) == size_bytes for content, size_bytes in sizes):
            raise ValueError("a part of a claim has a wrong length")


_FIELDS = {
    "body": "body_hash",
    "by": "device",
    "kind": "kind",
    "of": "subject",
    "sig": "signature",
    "at": "made_at",
    "vouch": "vouch",
}


def body_hash_of(body: bytes) -> bytes:
    """What a claim names its body by."""
    return bytes(blake3(body).digest())
