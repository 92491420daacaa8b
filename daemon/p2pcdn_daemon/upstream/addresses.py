"""Which addresses a server may lead us to: the table, and how a host and a port are read out of a URL.

What the user configured may be anywhere. What a page links to or a server redirects to may not be inside: else an index
could make the node read a router's page or a cloud's metadata and hand it out (server-side request forgery).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import httpx

from p2pcdn.errors import Refused
from p2pcdn_daemon.configuration.urls import without_credentials

Address = IPv4Address | IPv6Address

DEFAULT_PORTS = {"http": 80, "https": 443}

# Written out, and not `ipaddress.is_private`: its answers changed between releases of Python, and it counts ranges that
# nobody can be attacked through (documentation, benchmarks) which laboratories do use.
INSIDE = {
    "this network (RFC 791)": ("0.0.0.0/8",),
    "unspecified (RFC 4291)": ("::/128",),
    "loopback (RFC 1122, RFC 4291)": ("127.0.0.0/8", "::1/128"),
    "private (RFC 1918)": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    "unique local (RFC 4193)": ("fc00::/7",),
    "site-local (RFC 3879)": ("fec0::/10",),
    "link-local (RFC 3927, RFC 4291), where clouds keep their metadata": ("169.254.0.0/16", "fe80::/10"),
    "carrier-grade NAT (RFC 6598)": ("100.64.0.0/10",),
    "protocol assignments (RFC 6890), with one cloud's metadata": ("192.0.0.0/24",),
    "a cloud's host agent": ("168.63.129.16/32",),
    "multicast (RFC 5771, RFC 4291)": ("224.0.0.0/4", "ff00::/8"),
    "reserved and broadcast (RFC 1112, RFC 919)": ("240.0.0.0/4",),
    "local translation (RFC 8215)": ("64:ff9b:1::/48",),
    "Teredo (RFC 4380)": ("2001::/32",),
}
_NETWORKS = [(ipaddress.ip_network(text), name) for name, texts in INSIDE.items() for text in texts]

# IPv6 forms that carry an IPv4 address, which is what they are judged by; the number of bits below it.
CARRIES_IPV4 = {
    "::ffff:0:0/96": 0,  # IPv4-mapped, RFC 4291
    "::ffff:0:0:0/96": 0,  # IPv4-translated, RFC 2765
    "::/96": 0,  # IPv4-compatible, RFC 4291
    "64:ff9b::/96": 0,  # NAT64, RFC 6052
    "2002::/16": 80,  # 6to4, RFC 3056
}
_CARRIERS = [(ipaddress.IPv6Network(text), shift) for text, shift in CARRIES_IPV4.items()]

# Names that no public resolver answers for: an index of such a name is the site's own (RFC 6761, 6762, 8375, 9476).
_PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".home.arpa", ".lan", ".intranet", ".test")


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of a URL (RFC 6454); host in lower case, an IPv6 literal without brackets."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: httpx.URL | str) -> Origin:
        """Raises Refused unless the URL is absolute, of http or https, and readable."""
        try:
            parsed = httpx.URL(url)
            host = parsed.raw_host.decode("ascii").lower()
        except (httpx.InvalidURL, UnicodeError, ValueError) as error:
            raise Refused(f"{shown(str(url))!r} is not a URL that can be read.") from error
        if parsed.scheme not in DEFAULT_PORTS or not host:
            raise Refused(f"Only http and https URLs are fetched, not {shown(str(url))!r}.")
        port = DEFAULT_PORTS[parsed.scheme] if parsed.port is None else parsed.port
        if not 0 < port < 65536:
            raise Refused(f"There is no port {port}.")
        return cls(parsed.scheme, host, port)

    @property
    def authority(self) -> str:
        """Host and port, as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def shown(url: str) -> str:
    """A URL for a message, whatever is wrong with it: no user, no password, and no query, which may be a signature."""
    return without_credentials(url.strip()).partition("?")[0][:200]


def why_inside(address: Address) -> str | None:
    """The name of the range that a server may not lead us into, or None where the address is outside of all."""
    if isinstance(address, IPv6Address):
        for network, shift in _CARRIERS:
            # "::" and "::1" are in ::/96 too, and have their own lines in the table.
            if address in network and int(address) > 1:
                return why_inside(IPv4Address(int(address) >> shift & 0xFFFF_FFFF))
    return next((name for network, name in _NETWORKS if address in network), None)


def literal(host: str) -> Address | None:
    """The address that a host is written as, in the old forms too (`127.1`, `0x7f000001`); None for a name."""
    host = host.removeprefix("[").removesuffix("]").rstrip(".")
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    # What getaddrinfo takes for an address, any proxy may; a name cannot end in a number (RFC 3696, section 2).
    if host[-1:].isalnum() and host[:1].isdigit():
        try:
            return IPv4Address(socket.inet_aton(host))
        except OSError:
            pass
    return None


def refuse_inside(host: str, addresses: Iterable[Address]) -> list[Address]:
    """Those of a host's addresses that a server may lead us to. Raises Refused where none is left."""
    outside: list[Address] = []
    why = "none"
    for address in addresses:
        if name := why_inside(address):
            why = f"{address} is {name}"
        else:
            outside.append(address)
    if not outside:
        raise Refused(
            f"A server led to {host}, an address inside: {why}. Nothing was asked there. "
            "If that host is meant to give files, name it by --file-host."
        )
    return outside


def refuse_literal_inside(host: str) -> None:
    """The check for a host that a proxy will resolve: only what is written can be judged. Raises Refused."""
    if (address := literal(host)) is not None:
        refuse_inside(host, [address])
    elif _is_localhost(host):
        refuse_inside(host, [IPv4Address("127.0.0.1")])


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by how it is written."""
    address = literal(host)
    return _is_localhost(host) if address is None else address.is_loopback


def is_private_host(host: str) -> bool:
    """Whether a host is the site's own by how it is written; a public-looking name is not looked up."""
    address = literal(host)
    if address is not None:
        return why_inside(address) is not None
    name = host.rstrip(".").lower()
    return "." not in name or name.endswith(_PRIVATE_SUFFIXES)


def _is_localhost(host: str) -> bool:
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith((".localhost", ".localdomain"))
