"""What the commands say of a node: five lines for `status`, tables for `peers` and `list`; made from JSON objects."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from p2pcdn.sizes import format_size
from p2pcdn_daemon.configuration.quantities import format_duration


def status_lines(status: Mapping[str, Any]) -> list[str]:
    """Five lines that answer: is it working, and what did it save me?"""
    return [
        _working(status),
        _saved(status["bytes"]),
        _upstream(status),
        _store(status["store"]),
        _peers(status),
    ]


def _working(status: Mapping[str, Any]) -> str:
    place = f"index on {status['index_url']}, up for {format_duration(status['uptime_s'])}, version {status['version']}"
    health = str(status["health"])
    return f"Working: {place}." if health == "ok" else f"NOT WELL: {health.rstrip('.')}; {place}."


def _saved(counts: Mapping[str, Any]) -> str:
    served, fetched = counts["served"], counts["from_upstream"]
    if not served:
        return "Saved:   nothing yet; its index has served no file since it started."
    near = max(served - fetched, 0)
    # No sum: what was fetched for a client that left, or is only now on its way, has not been served.
    return (
        f"Saved:   {format_size(near)} of {format_size(served)} served ({near * 100 // served} %); "
        f"{format_size(counts['from_store'])} came from the store, {format_size(counts['from_peers'])} from peers."
    )


def _upstream(status: Mapping[str, Any]) -> str:
    if status.get("offline"):
        return "Upstream: not asked, for this node is offline."
    asked = status["upstream_file_requests"]
    pages = status["bytes"].get("pages_from_upstream", 0)
    text = f"{format_size(status['bytes']['from_upstream'])} fetched in {_count(asked, 'file request')}"
    text += f" and {format_size(pages)} of pages" if pages else ""
    urls = [_url_of(index) + _silence(index) for index in status.get("indexes", [])]
    return f"Upstream: {text}" + (f" from {', '.join(urls)}." if urls else ".")


def _url_of(index: Any) -> str:
    return str(index.get("url", "?")) if isinstance(index, Mapping) else str(index)


def _silence(index: Any) -> str:
    return " (does not answer)" if isinstance(index, Mapping) and index.get("answers") is False else ""


def _store(store: Mapping[str, Any]) -> str:
    size, limit = store["size_bytes"], store["limit_bytes"]
    percent = f" ({size * 100 // limit} %)" if limit else ""
    growing = f", {_count(store['partials'], 'download')} unfinished" if store["partials"] else ""
    files = f"{_count(store['blobs'], 'file')} with the metadata"
    return f"Store:   {files}, {format_size(size)} of {format_size(limit)}{percent}{growing}."


def _peers(status: Mapping[str, Any]) -> str:
    peers = status["peers"]
    refused = status["refused_pieces"]
    bad = f"; {_count(refused, 'piece')} refused as wrong" if refused else ""
    near = ", ".join(str(peer.get("address", "?")) for peer in peers[:4]) + (", …" if len(peers) > 4 else "")
    who = f"{len(peers)} ({near})" if peers else "none seen"
    faulty = sum(1 for peer in peers if peer.get("wrong"))
    who += f", {faulty} with a fault (`p2pcdn peers` says which)" if faulty else ""
    room = room_text(status.get("room"))
    together = f"; {room}" if room else ""
    return f"Peers:   {who}; neighbours reach this node on {_own(status['peer_address'])}{bad}{together}."


def _own(address: Any) -> str:
    """Where the node listens, in words that a person could act on: nobody can dial the address of all addresses."""
    host, _, port = str(address).rpartition(":")
    return f"port {port} of every address" if host in ("0.0.0.0", "[::]") else str(address)


def room_text(room: Any) -> str:
    """What the members of the group hold, as the end of a sentence; empty where there is no group or nobody of it."""
    if not isinstance(room, Mapping) or not room.get("members"):
        return ""
    members = _count(room["members"], "other member")
    holds = "holds" if room["members"] == 1 else "hold together"
    text = f"{members} of the group {holds} {_count(room['blobs'], 'file')} ({format_size(room['size_bytes'])})"
    text += f" and {_count(room['pages'], 'page')}"
    given = room.get("claimed_answers")
    return text + (f"; {_count(given, 'answer')} came from a page that a member signed" if given else "")


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


PEER_COLUMNS = ("address", "found by", "last seen", "round trip", "received", "given", "strikes", "state")


def peer_rows(peers: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """One row a peer, for `p2pcdn peers`."""
    return [
        [
            str(peer.get("address", "?")),
            str(peer.get("source", "")),
            _ago(peer.get("last_seen_s")),
            _milliseconds(peer.get("rtt_s", peer.get("rtt"))),
            format_size(peer.get("bytes_in", 0)),
            format_size(peer.get("bytes_out", 0)),
            str(peer.get("strikes", 0)),
            _state(peer),
        ]
        for peer in peers
    ]


def _state(peer: Mapping[str, Any]) -> str:
    why = str(peer.get("wrong") or "").removeprefix(f"{peer.get('address')} ").rstrip(".")
    if peer.get("banned"):
        return f"banned: {why}" if why else "banned"
    return why or "good"


def _ago(seconds: Any) -> str:
    return "never" if seconds is None else f"{format_duration(seconds)} ago"


def _milliseconds(seconds: Any) -> str:
    return "" if seconds is None else f"{seconds * 1000:.1f} ms"


# A wheel's metadata is kept beside it as a file of its own (PEP 658), which nobody installs.
METADATA_ENDING = ".metadata"
BLOB_COLUMNS = ("project", "file", "size", "last used", "shared with", "pinned")


def blob_rows(blobs: Sequence[Mapping[str, Any]], now: float) -> list[list[str]]:
    """One row a file that the store holds, metadata left out, for `p2pcdn list`. now: seconds since 1970."""
    shares = {"never": "nobody", "group": "the group", "lan": "the LAN"}
    return [
        [
            str(blob.get("project", "")),
            str(blob.get("filename", "")),
            format_size(blob.get("size_bytes", 0)),
            _ago(max(now - blob["used_at"], 0.0)) if blob.get("used_at") else "never",
            shares.get(str(blob.get("share")), str(blob.get("share", ""))),
            "yes" if blob.get("pinned") else "",
        ]
        for blob in sorted(blobs, key=lambda blob: (str(blob.get("project")), str(blob.get("filename"))))
        if not str(blob.get("filename")).endswith(METADATA_ENDING)
    ]


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
    """A drawn table on a terminal; in a pipe plain columns with two spaces between them and no title."""
    if sys.stdout.isatty():
        _print_drawn(columns, rows, title)
        return
    # What came from outside must not move the columns of whoever reads them.
    table = [list(columns), *([_one_line(cell) for cell in row] for row in rows)]
    widths = [max(len(row[position]) for row in table) for position in range(len(columns))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _one_line(cell: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in cell)


def _print_drawn(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    from rich import box
    from rich.console import Console, JustifyMethod
    from rich.table import Table
    from rich.text import Text

    numbers = {"size", "received", "given", "strikes", "round trip"}
    # Narrow gaps: eight columns of `peers` stand in eighty signs.
    table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        justify: JustifyMethod = "right" if column in numbers else "left"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=column == "address")
    for row in rows:
        # Text, not str: a file name with brackets is no markup.
        table.add_row(*(Text(_one_line(cell)) for cell in row))
    Console().print(table)
