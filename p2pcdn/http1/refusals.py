"""What we refuse to answer, in one table: rule, status, sentence; and the plain function that decides it.

Each refusal is one problem+json answer (RFC 9457), then the connection is closed: after a disagreement about where a
request ends, nothing that follows can be trusted (request smuggling). The parser below (httptools) refuses much of this
by itself; we look first, so that the sentence is exact and a lenient version of it changes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from p2pcdn.errors import RemoteProtocolError
from p2pcdn.http1.messages import Limits, Request


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row of the table. `rule` is for logs and tests, the sentence for whoever reads the answer."""

    rule: str
    status: int
    sentence: str


# fmt: off
# --- the head as bytes (RFC 9112)
BARE_LF        = Refusal("bare-lf", 400, "A line ended with LF alone; lines end with CR LF (RFC 9112 2.2).")
BARE_CR        = Refusal("bare-cr", 400, "A CR stood alone in the head (RFC 9112 2.2).")
NUL            = Refusal("nul", 400, "The head held a NUL byte (RFC 9110 5.5).")
OBS_FOLD       = Refusal("obs-fold", 400, "A header line was folded; folding is obsolete (RFC 9112 5.2).")
HEAD_SIZE      = Refusal("head-size", 400, "The request head is larger than this server takes.")
HEADERS_COUNT  = Refusal("headers-count", 400, "The request has more headers than this server takes.")
HEAD_SLOW      = Refusal("head-slow", 408, "The request head did not arrive in time.")
BODY_SLOW      = Refusal("body-slow", 408, "The request body stopped arriving.")
REQUEST_LINE   = Refusal("request-line", 400, "The request line is not METHOD SP TARGET SP VERSION (RFC 9112 3).")
METHOD_SYNTAX  = Refusal("method-syntax", 400, "The method is not a word of capital letters (RFC 9110 9.1).")
VERSION        = Refusal("version", 505, "This server speaks HTTP/1.1 and HTTP/1.0.")
TARGET         = Refusal("target", 400, "The request target holds a byte that no URL holds there, or a fragment (RFC 9112 3.2).")  # noqa: E501
TARGET_FORM    = Refusal("target-form", 400, "The request target is neither a path nor an http URL (RFC 9112 3.2).")
MALFORMED      = Refusal("malformed", 400, "The request head is not valid HTTP/1.1 (RFC 9112).")
# --- where the body ends
TE_AND_CL      = Refusal("te-and-cl", 400, "Transfer-Encoding and Content-Length came together (RFC 9112 6.1).")
TWO_LENGTHS    = Refusal("two-lengths", 400, "There was more than one Content-Length (RFC 9112 6.3).")
LENGTH         = Refusal("length", 400, "Content-Length is not a number (RFC 9110 8.6).")
TE             = Refusal("te", 400, "The only transfer coding here is a single `chunked`, in HTTP/1.1 (RFC 9112 6.1).")
NO_BODY_HERE   = Refusal("no-body-here", 413, "Requests have no body here.")
BODY_SIZE      = Refusal("body-size", 413, "The request body is larger than this server takes.")
BODY_MALFORMED = Refusal("body-malformed", 400, "The request body is not validly chunked (RFC 9112 7.1).")
BODY_CUT       = Refusal("body-cut", 400, "The request body ended early.")
EXPECT         = Refusal("expect", 417, "The only expectation that can be met is 100-continue (RFC 9110 10.1.1).")
# --- who asks, and what for
HOST_MISSING   = Refusal("host-missing", 400, "There was no Host header (RFC 9112 3.2).")
TWO_HOSTS      = Refusal("two-hosts", 400, "There was more than one Host header (RFC 9112 3.2).")
HOST_SYNTAX    = Refusal("host-syntax", 400, "The Host header is not a host and a port (RFC 9112 3.2).")
HOST_UNKNOWN   = Refusal("host-unknown", 421, "This server does not answer for that host; `--allow-host` adds names (RFC 9110 15.5.20).")  # noqa: E501
CROSS_SITE     = Refusal("cross-site", 403, "A web page of another site sent this request.")
METHOD         = Refusal("method", 405, "That method is not allowed here.")
# --- the state we are in
CROWDED        = Refusal("crowded", 503, "This server has as many connections as it takes (connections_max).")
FAILED         = Refusal("failed", 500, "The server failed on this request; its log says why.")
# fmt: on

TABLE = tuple(value for value in list(globals().values()) if isinstance(value, Refusal))


class Violation(RemoteProtocolError):
    """The client broke a rule while its body was read. Let it fly and the server answers with the refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.sentence)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The Host values that a face answers to, exactly as they may be spelled, in lower case."""

    spellings: frozenset[str]

    @classmethod
    def of(cls, names: Iterable[str], ports: Collection[int]) -> AllowedHosts:
        """Names with a port are taken as they are; names without one stand for themselves and for all our ports.

        names: "localhost", "127.0.0.1", "[::1]", "index.example:8080".
        """
        spellings = set()
        for name in map(str.lower, names):
            spellings.add(name)
            if not _PORT.search(name):
                spellings.update(f"{name}:{port}" for port in ports)
        return cls(frozenset(spellings))

    def __contains__(self, host: str) -> bool:
        return host in self.spellings or host.lower() in self.spellings


@dataclass(frozen=True, slots=True)
class Face:
    """What one of our doors takes.

    allowed_hosts: None where any well-formed Host will do (peers, the unix socket).
    bodies: whether requests may have one. cross_site: whether web pages of other sites may ask.
    """

    methods: frozenset[str]
    allowed_hosts: AllowedHosts | None
    bodies: bool
    cross_site: bool
    limits: Limits


_PORT = re.compile(r":[0-9]{1,5}\Z")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._~-]+)(?::[0-9]{0,5})?\Z")
_ORIGIN = re.compile(r"https?://([^/?#@]+)\Z")


def judge(request: Request, target_host: str | None, face: Face) -> Refusal | None:
    """Whether this face answers a well-formed request.

    target_host: the authority of an absolute target; it counts as a second Host that must be allowed as well.
    """
    headers = request.headers
    host = headers.get("host")
    allowed = face.allowed_hosts
    if host is None:
        if request.version == "1.1":
            return HOST_MISSING
        if allowed is not None:
            return HOST_UNKNOWN
    elif allowed is None:
        if not _HOST.match(host):
            return HOST_SYNTAX
    elif host not in allowed:
        return HOST_UNKNOWN
    if target_host is not None and (
        not _HOST.match(target_host) or (allowed is not None and target_host not in allowed)
    ):
        return HOST_UNKNOWN
    if not face.cross_site and _is_cross_site(request, allowed):
        return CROSS_SITE
    if request.method not in face.methods:
        return METHOD
    if request.body_size_bytes != 0:
        if not face.bodies:
            return NO_BODY_HERE
        if request.body_size_bytes is not None and request.body_size_bytes > face.limits.body_size_bytes_max:
            return BODY_SIZE
    expect = headers.get("expect")
    return EXPECT if expect is not None and expect.lower() != "100-continue" else None


def _is_cross_site(request: Request, allowed: AllowedHosts | None) -> bool:
    """Pages on another port of localhost are "same-site" to a browser, and none of ours either."""
    headers = request.headers
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return True
    origin = headers.get("origin")
    if origin is None:
        return False
    match = _ORIGIN.match(origin)
    return match is None or allowed is None or match[1] not in allowed


def problem(refusal: Refusal) -> bytes:
    """The body of a refusal, as application/problem+json (RFC 9457)."""
    return json.dumps(
        {"type": "about:blank", "title": refusal.rule, "status": refusal.status, "detail": refusal.sentence}
    ).encode()
