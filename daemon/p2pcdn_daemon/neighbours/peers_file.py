"""Neighbours that a file names, one HOST:PORT a line, for networks without multicast. It may come late, and change."""

from __future__ import annotations

import ipaddress
import logging
import re
import time
from contextlib import suppress
from pathlib import Path

import trio

from p2pcdn.world import Announcement, Sighting

log = logging.getLogger(__name__)

# How often the file is looked at.
FILE_EVERY_S = 2.0
# A file that was written so short a time ago may be written again without a new time of change: it is read once more.
FRESH_S = 1.0
# It is written by a person or an orchestrator; a thousand hosts take 20 KiB.
FILE_SIZE_BYTES_MAX = 256 * 1024
FILE_LINES_MAX = 4096


class PeersFile:
    """A `p2pcdn.world.Discovery`. While the file cannot be read, those that it named last stay."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, int, int] | None = None
        self._content: bytes | None = None
        self._absent = False
        self._named: dict[Sighting, None] = {}

    async def run(self, announcement: Announcement, found: trio.MemorySendChannel[Sighting]) -> None:
        """Names the file's neighbours, and tells what is changed, until it is cancelled."""
        while True:
            content = await trio.to_thread.run_sync(self._changed)
            if content is not None:
                await self._tell(content, found)
            await trio.sleep(FILE_EVERY_S)

    async def _tell(self, content: bytes, found: trio.MemorySendChannel[Sighting]) -> None:
        peers, wrong = read_peers(content)
        for number, why in wrong:
            log.warning("%s, line %d: %s", self._path, number, why)
        before, self._named = self._named, dict.fromkeys(peers)
        for peer in before:
            if peer not in self._named:
                await found.send(peer._replace(gone=True))
        for peer in self._named:
            if peer not in before:
                await found.send(peer)

    def _changed(self) -> bytes | None:
        """What the file holds, if that is something else than what was read last, and nobody wrote meanwhile."""
        try:
            version = self._look()
            if version == self._version:
                return None
            with self._path.open("rb") as file:
                content = file.read(FILE_SIZE_BYTES_MAX + 1)
            if self._look() != version:
                return None  # half of it, perhaps; the next look finds all
        except OSError as error:
            if not self._absent:
                log.warning("The peers file %s cannot be read: %s.", self._path, error.strerror or error)
            self._absent = True
            self._version = None
            return None
        self._absent = False
        self._version = None if time.time_ns() - version[0] < FRESH_S * 1e9 else version
        if content == self._content:
            return None
        self._content = content
        return content

    def _look(self) -> tuple[int, int, int]:
        status = self._path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino


def read_peers(content: bytes) -> tuple[list[Sighting], list[tuple[int, str]]]:
    """The neighbours in a peers file, and its wrong lines: their numbers from 1, and a sentence for each."""
    peers: list[Sighting] = []
    wrong: list[tuple[int, str]] = []
    if len(content) > FILE_SIZE_BYTES_MAX:
        wrong.append((1, f"The file has more than {FILE_SIZE_BYTES_MAX} bytes; the rest is not read."))
        content = content[:FILE_SIZE_BYTES_MAX]
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        if number > FILE_LINES_MAX:
            wrong.append((number, f"The file has more than {FILE_LINES_MAX} lines; the rest is not read."))
            break
        text = line.partition("#")[0].strip()
        if text:
            try:
                peers.append(read_peer(text))
            except ValueError as error:
                wrong.append((number, str(error)))
    return peers, wrong


def read_peer(text: str) -> Sighting:
    """HOST:PORT, with an IPv6 address in brackets. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise ValueError(f"{text[:80]!r} is not HOST:PORT.")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        with suppress(ValueError):
            return Sighting(str(ipaddress.IPv6Address(host)), int(port))
        raise ValueError(f"{host[:80]!r} is not an IPv6 address.")
    if not host or len(host) > 253 or not re.fullmatch(r"[A-Za-z0-9._-]+", host, re.ASCII):
        raise ValueError(f"{host[:80]!r} is not a host name; an IPv6 address stands in brackets.")
    return Sighting(host, int(port))
