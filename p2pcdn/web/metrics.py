"""The node's counters as OpenMetrics text (OpenMetrics 1.0)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from p2pcdn.counters import Counters
from p2pcdn.http1 import Response

_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

# name, what it counts, and where it stands in Counters; labelled ones name their label.
_COUNTERS: tuple[tuple[str, str, str, str | None], ...] = (
    ("served_bytes", "Bytes of files and metadata sent to clients.", "served_bytes", None),
    ("store_bytes", "Of these, bytes that were in the store already.", "store_bytes", None),
    ("peer_bytes", "Verified bytes received from each peer.", "peer_bytes", "peer"),
    ("given_bytes", "Bytes sent to each peer.", "given_bytes", "peer"),
    ("upstream_bytes", "Bytes of files received from each upstream index.", "upstream_bytes", "index"),
    ("page_bytes", "Bytes of pages received from each upstream index.", "page_bytes", "index"),
    ("requests", "Requests by face and status.", "requests", "answer"),
    ("page_hits", "Pages answered without asking the upstream.", "page_hits", None),
    ("page_misses", "Pages for which the upstream was asked.", "page_misses", None),
    ("file_hits", "Files answered whole out of the store.", "file_hits", None),
    ("file_misses", "Files that had to be fetched.", "file_misses", None),
    ("stale_answers", "Pages given although their upstream did not answer.", "stale_answers", None),
    ("claimed_answers", "Of these and offline ones, pages that a member of the group signed.", "claimed_answers", None),
    ("upstream_page_requests", "Page requests to upstream indexes.", "upstream_page_requests", None),
    ("upstream_file_requests", "File requests to upstream file hosts.", "upstream_file_requests", None),
    ("refused_pieces", "Pieces from a peer whose hash was wrong.", "refused_pieces", "peer"),
    ("digest_mismatches", "Files whose hash was not the one that the index gave.", "digest_mismatches", None),
)


def metrics_response(counters: Counters, status: Mapping[str, Any]) -> Response:
    """The answer to /metrics. `status` is the object of `p2pcdn status --json`; the store's figures are in it."""
    store = status["store"]
    lines = [
        *_gauge("uptime_seconds", "Seconds since the node started.", status["uptime_s"]),
        *_gauge("store_blobs", "Blobs in the store.", store["blobs"]),
        *_gauge("store_size_bytes", "Bytes in the store.", store["size_bytes"]),
        *_gauge("store_limit_bytes", "Bytes that the store may hold.", store["limit_bytes"]),
        *_gauge("store_partials", "Files that are arriving.", store["partials"]),
        *_gauge("peers", "Peers that answered lately.", len(status["peers"])),
        *_gauge(
            "healthy", "1 while everything works, 0 while the store does not write.", int(status["health"] == "ok")
        ),
    ]
    lines += _counter("evicted_bytes", "Bytes that were removed to make room.", store["evicted_bytes"], None)
    for name, text, attribute, label in _COUNTERS:
        lines += _counter(name, text, getattr(counters, attribute), label)
    body = "\n".join([*lines, "# EOF", ""]).encode()
    return Response(200, [("Content-Type", _TYPE), ("Cache-Control", "no-store")], body)


def _gauge(name: str, text: str, value: float) -> Iterable[str]:
    return (f"# TYPE p2pcdn_{name} gauge", f"# HELP p2pcdn_{name} {text}", f"p2pcdn_{name} {value}")


def _counter(name: str, text: str, value: int | Mapping[str, int], label: str | None) -> Iterable[str]:
    yield f"# TYPE p2pcdn_{name} counter"
    yield f"# HELP p2pcdn_{name} {text}"
    if isinstance(value, int):
        yield f"p2pcdn_{name}_total {value}"
        return
    for what, number in sorted(value.items()):
        escaped = what.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        yield f'p2pcdn_{name}_total{{{label}="{escaped}"}} {number}'
