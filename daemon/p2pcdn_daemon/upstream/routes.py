"""By which way a host is reached: the proxy, and the certificates that vouch for it; as pip and uv find them."""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import httpx

from p2pcdn_daemon.upstream.addresses import Origin, is_loopback, literal

# The variables that name a file of certificates, in the order in which they are believed.
CA_FILE_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE")

PROXY_SCHEMES = frozenset({"http", "https", "socks5", "socks5h"})


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies of the environment. Their URLs may hold a password and are never printed."""

    by_scheme: Mapping[str, str] = field(repr=False)
    exceptions: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Proxies:
        """HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY; the lower-case ones first, as curl has it."""

        def value(name: str) -> str:
            return (environment.get(name.lower()) or environment.get(name) or "").strip()

        everywhere = value("ALL_PROXY")
        by_scheme = {scheme: value(f"{scheme.upper()}_PROXY") or everywhere for scheme in ("http", "https")}
        exceptions = tuple(part.strip().lower() for part in value("NO_PROXY").split(",") if part.strip())
        return cls({scheme: with_scheme(proxy) for scheme, proxy in by_scheme.items() if proxy}, exceptions)

    def proxy_for(self, origin: Origin) -> str | None:
        """The proxy's URL, or None for a straight connection. No proxy can reach our own loopback."""
        if is_loopback(origin.host) or any(_excepts(exception, origin) for exception in self.exceptions):
            return None
        return self.by_scheme.get(origin.scheme)


def with_scheme(proxy: str) -> str:
    """`proxy.example:3128`, as many write it, is meant as `http://proxy.example:3128`."""
    return proxy if "://" in proxy else f"http://{proxy}"


def check_proxy(proxy: str) -> None:
    """Raises ValueError, one sentence, for what cannot be used as one."""
    try:
        parsed = httpx.URL(with_scheme(proxy))
    except httpx.InvalidURL as error:
        raise ValueError("The proxy's URL cannot be read.") from error
    if parsed.scheme not in PROXY_SCHEMES or not parsed.host:
        raise ValueError(f"A proxy of the kind {parsed.scheme!r} cannot be used; http, https and socks5 can.")
    if parsed.scheme.startswith("socks") and find_spec("socksio") is None:
        raise ValueError("The proxy is a SOCKS proxy; for that, install httpx[socks] beside p2pcdn.")


def ca_file_of(environment: Mapping[str, str]) -> Path | None:
    """The file (or directory) of certificates that the environment names, for all indexes without their own."""
    for name in CA_FILE_VARIABLES:
        if value := environment.get(name):
            return Path(value)
    return Path(directory) if (directory := environment.get("SSL_CERT_DIR")) else None


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """The certificates to believe: those of the file or directory alone, else the system's, else certifi's.

    Raises ValueError, one sentence, where the file cannot be read or holds none.
    """
    if ca_file is None:
        return _system_trust()
    try:
        # SSL_CERT_DIR may be a list of directories; OpenSSL reads such a list itself.
        if all(Path(part).is_dir() for part in str(ca_file).split(os.pathsep)):
            return ssl.create_default_context(capath=str(ca_file))
        return ssl.create_default_context(cafile=str(ca_file))
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(f"The certificates in {ca_file} cannot be used: {error.strerror or error}.") from error


def _system_trust() -> ssl.SSLContext:
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())):
        return context
    # A Python that was built elsewhere (uv's, for one) may look for the system's certificates where there are none.
    import certifi

    context.load_verify_locations(certifi.where())
    return context


def _excepts(exception: str, origin: Origin) -> bool:
    if exception == "*":
        return True
    address = literal(origin.host)
    if address is not None and "/" in exception:
        try:
            return address in ipaddress.ip_network(exception, strict=False)
        except ValueError:
            return False
    name, port = _split_port(exception)
    if port is not None and port != origin.port:
        return False
    if address is not None:
        return literal(name) == address
    name = name.removeprefix("*").removeprefix(".").rstrip(".")
    host = origin.host.rstrip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _split_port(text: str) -> tuple[str, int | None]:
    host, colon, port = text.rpartition(":")
    if colon and port.isdigit() and (host.endswith("]") or ":" not in host):
        return host, int(port)
    return text, None
