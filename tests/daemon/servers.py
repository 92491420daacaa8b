"""Small real servers for the tests of the doors: raw bytes on loopback, so that they can be as wrong as they like."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Answer = bytes | Callable[[trio.abc.Stream, "Asked"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came: its target, and its fields with names in lower case."""

    method: str
    target: str
    fields: dict[str, str]


@dataclass(slots=True)
class Server:
    """Answers by target; `accepted` counts connections, `asked` holds the requests in their order."""

    port: int
    scheme: str = "http"
    answers: dict[str, Answer] = field(default_factory=dict)
    accepted: int = 0
    asked: list[Asked] = field(default_factory=list)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"


def answer(status: int, body: bytes = b"", **fields: str) -> bytes:
    """A whole response; `content_type` becomes Content-Type."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def redirect(location: str, status: int = 302) -> bytes:
    return answer(status, b"moved", location=location)


@asynccontextmanager
async def serving(answers: dict[str, Answer] | None = None, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """A server on a free port of 127.0.0.1, until the block ends."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server = Server(listener.socket.getsockname()[1], "https" if tls else "http", answers or {})

    async def serve(stream: trio.abc.Stream) -> None:
        server.accepted += 1
        if tls is not None:
            stream = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
        try:
            while (asked := await read_head(stream)) is not None:
                server.asked.append(asked)
                reply = server.answers.get(asked.target, answer(404))
                if callable(reply):
                    await reply(stream, asked)
                    return
                await stream.send_all(reply)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield server
        nursery.cancel_scope.cancel()


async def read_head(stream: trio.abc.Stream) -> Asked | None:
    head = b""
    while b"\r\n\r\n" not in head:
        part = await stream.receive_some()
        if not part:
            return None
        head += part
    first, *lines = head.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
    method, target, _ = first.split(" ")
    return Asked(
        method, target, {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    )


async def send_and_hang(stream: trio.abc.Stream, content: bytes) -> None:
    await stream.send_all(content)
    await trio.sleep_forever()


@asynccontextmanager
async def proxying(only_to: int, user: str | None = None) -> AsyncIterator[Server]:
    """A proxy for CONNECT and for absolute targets. Whatever host is named, it connects to that port of 127.0.0.1."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    proxy = Server(listener.socket.getsockname()[1])

    async def serve(stream: trio.SocketStream) -> None:
        proxy.accepted += 1
        asked = await read_head(stream)
        if asked is None:
            return
        proxy.asked.append(asked)
        if user is not None and asked.fields.get("proxy-authorization") != user:
            await stream.send_all(answer(407))
            return
        onward = await trio.open_tcp_stream("127.0.0.1", only_to)
        if asked.method == "CONNECT":
            await stream.send_all(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            path = "/" + asked.target.split("/", 3)[3]
            lines = [f"{asked.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in asked.fields.items())]
            await onward.send_all("\r\n".join([*lines, "", ""]).encode())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_copy, stream, onward, nursery.cancel_scope)
            nursery.start_soon(_copy, onward, stream, nursery.cancel_scope)
        await trio.aclose_forcefully(stream)
        await trio.aclose_forcefully(onward)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield proxy
        nursery.cancel_scope.cancel()


async def _copy(source: trio.abc.Stream, to: trio.abc.Stream, scope: trio.CancelScope) -> None:
    try:
        async for part in source:
            await to.send_all(part)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    scope.cancel()


def make_authority(directory: Path, *names: str, years: tuple[int, int] = (2020, 2099)) -> tuple[Path, ssl.SSLContext]:
    """A certificate authority's file, and a server's TLS context whose certificate it signed for these names.

    years: from the beginning of the one until that of the other they are valid.
    """
    now, later = (datetime.datetime(year, 1, 1, tzinfo=datetime.UTC) for year in years)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "p2pcdn test authority")])

    def begin(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(ca_name).public_key(public)
        return builder.serial_number(x509.random_serial_number()).not_valid_before(now).not_valid_after(later)

    ca = begin(ca_name, ca_key.public_key()).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    leaf = begin(subject, key.public_key()).add_extension(
        x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
    )
    ca_file, pair = directory / "ca.pem", directory / "pair.pem"
    ca_file.write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    pair.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + leaf.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    return ca_file, context


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
