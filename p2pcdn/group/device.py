"""A node's device key: what it signs with, and what it shares a secret with. Pure.

Ed25519 (RFC 8032). Every signature is over a context too, so that one made for one purpose is good for no other.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

SEED_SIZE_BYTES = 32
PUBLIC_SIZE_BYTES = 32
SIGNATURE_SIZE_BYTES = 64

_P = 2**255 - 19  # the field of both curves


class Device:
    """One device key. Immutable; used by any thread."""

    __slots__ = ("_agreement", "_key", "public", "seed")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_SIZE_BYTES:
            raise ValueError(f"A device key has {SEED_SIZE_BYTES} bytes, and this one has {len(seed)}.")
        self.seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        # The same secret scalar on the Montgomery form of the curve (RFC 8032, 5.1.5; RFC 7748 clamps it alike).
        self._agreement = X25519PrivateKey.from_private_bytes(hashlib.sha512(seed).digest()[:32])
        self.public = self._key.public_key().public_bytes_raw()

    @classmethod
    def from_seed(cls, seed: bytes) -> Device:
        """The key of 32 secret bytes, always the same one."""
        return cls(seed)

    def __repr__(self) -> str:
        return f"Device({self.public.hex()[:16]})"

    def sign(self, context: str, message: bytes) -> bytes:
        """64 bytes. context: what it is for, without a NUL."""
        return self._key.sign(_framed(context, message))

    def shared_secret(self, public: bytes) -> bytes:
        """32 bytes that only the two devices can know (X25519). Raises ValueError for what is no device's key."""
        return self._agreement.exchange(X25519PublicKey.from_public_bytes(_montgomery(public)))


def verify(public: bytes, context: str, message: bytes, signature: bytes) -> bool:
    """Whether the device signed the message for this context. Bytes of a wrong length are a no."""
    if len(public) != PUBLIC_SIZE_BYTES or len(signature) != SIGNATURE_SIZE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _framed(context, message))
    except (InvalidSignature, ValueError):
        return False
    return True


def _framed(context: str, message: bytes) -> bytes:
    assert "\0" not in context
    return b"p2pcdn 2026 " + context.encode() + b"\0" + message


def _montgomery(public: bytes) -> bytes:
    """The device's point on the Montgomery curve: u = (1 + y) / (1 - y) (RFC 7748, 4.1)."""
    if len(public) != PUBLIC_SIZE_BYTES:
        raise ValueError("not a device key")
    y = int.from_bytes(public, "little") & (2**255 - 1)
    if y >= _P:
        raise ValueError("not a device key")
    return ((1 + y) * pow(1 - y, -1, _P) % _P).to_bytes(32, "little")
