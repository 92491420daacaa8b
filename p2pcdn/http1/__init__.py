"""HTTP/1.1 over any trio stream: a strict reader, a server loop, sendfile where the stream is a socket."""

from p2pcdn.http1.messages import NO_BODY, Body, FileSlice, Growing, Handler, Limits, OnAnswer, Request, Response
from p2pcdn.http1.ranges import UNSATISFIABLE, content_range, etag_matches, if_range_matches, parse_range
from p2pcdn.http1.refusals import AllowedHosts, Refusal, Violation
from p2pcdn.http1.server import READ_ONLY, serve, serve_connection
from p2pcdn.http1.write import encode_headers

__all__ = [
    "NO_BODY",
    "READ_ONLY",
    "UNSATISFIABLE",
    "AllowedHosts",
    "Body",
    "FileSlice",
    "Growing",
    "Handler",
    "Limits",
    "OnAnswer",
    "Refusal",
    "Request",
    "Response",
    "Violation",
    "content_range",
    "encode_headers",
    "etag_matches",
    "if_range_matches",
    "parse_range",
    "serve",
    "serve_connection",
]
