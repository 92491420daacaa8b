"""TLS between members of a group, for private files: the device key is the certificate's, and no authority is asked.

The certificate is self-signed (RFC 8410 for Ed25519) and says nothing but the key. Whoever connects accepts exactly the
key that the node has proven before; who connects proves itself inside, as on the plain port.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from p2pcdn.group import Device

# The key is what counts. A clock that is wrong by years, as in a room without a network, must not lock anybody out.
_VALID_FROM = datetime(2000, 1, 1, tzinfo=UTC)
_VALID_UNTIL = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)  # RFC 5280, 4.1.2.5: no well-defined end


class WrongDevice(OSError):
    """Another device answers than the one that was meant, or none that can be told."""


def server_context(device: Device) -> ssl.SSLContext:
    """For a listener whose certificate carries the device key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Each connection proves the key anew; nothing is resumed.
    context.num_tickets = 0
    _load(context, device)
    return context


async def seal(stream: trio.SocketStream, device: bytes) -> trio.SSLStream[trio.SocketStream]:
    """TLS over a connection, if its other end is this device. Raises WrongDevice; then the connection is closed."""
    sealed = trio.SSLStream(stream, _client_context(), https_compatible=True)
    proven = False
    try:
        await sealed.do_handshake()
        # TLS has proven that the other end has the key of this certificate (RFC 8446, 4.4.3); whose it is, we look.
        proven = _key_of(sealed.getpeercert(binary_form=True)) == device
    except (trio.BrokenResourceError, ssl.SSLError) as error:
        raise WrongDevice("it speaks no TLS that fits") from error
    finally:
        if not proven:
            await trio.aclose_forcefully(stream)
    if not proven:
        raise WrongDevice("another device answers than the one that was met")
    return sealed


def _client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # No name and no authority: the key itself is compared.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _key_of(certificate: bytes | None) -> bytes | None:
    try:
        key = x509.load_der_x509_certificate(certificate or b"").public_key()
    except Exception:  # whatever a stranger's certificate makes of its parser is a no
        return None
    return key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else None


def _load(context: ssl.SSLContext, device: Device) -> None:
    """The standard library takes keys from files only: this one is in memory, or lives for a moment with mode 0600."""
    key = Ed25519PrivateKey.from_private_bytes(device.seed)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "p2pcdn")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, _VALID_FROM, _VALID_UNTIL)
    certificate = builder.sign(key, None)
    content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    content += certificate.public_bytes(Encoding.PEM)
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        with os.fdopen(os.memfd_create("p2pcdn", os.MFD_CLOEXEC), "wb") as memory:
            memory.write(content)
            memory.flush()
            context.load_cert_chain(f"/proc/self/fd/{memory.fileno()}")
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        context.load_cert_chain(file.name)
