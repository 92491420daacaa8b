"""Whoever can read a wire: python -m tests.real_hosts.sniffer INTERFACE MADE

Listens on a port of the switch until its input ends; then says how many bytes of TCP went by, and how many segments
held a part of the wheel that MADE (JSON) describes.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from tests.bench.node import ROOT
from tests.bench.wheels import make_wheel
from tests.real_hosts.lan import Host, Lan
from tests.real_hosts.upstream import Made

ALL_PROTOCOLS = 3  # ETH_P_ALL
IPV4 = b"\x08\x00"
TCP = 6
BUFFER_BYTES = 64 * 1024 * 1024
SO_RCVBUFFORCE = 33
FRAME_SIZE_BYTES_MAX = 128 * 1024
# A part of so many bytes is no coincidence. It is looked for behind what could be a head.
WINDOW = 16
HEAD_SIZE_BYTES = 512


class Heard:
    """What went by; filled when the block ends."""

    tcp_bytes = 0
    readable_segments = 0


@contextmanager
def listening(lan: Lan, host: Host, made: Made) -> Iterator[Heard]:
    """To all that goes to and from a host, until the block ends."""
    words = [sys.executable, "-m", "tests.real_hosts.sniffer", host.name, json.dumps(asdict(made))]
    process = subprocess.Popen(
        lan.on_switch(*words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    heard = Heard()
    try:
        assert process.stdout.readline() == "listening\n"
        yield heard
        heard.tcp_bytes, heard.readable_segments = json.loads(process.communicate()[0])
    finally:
        process.kill()
        process.wait()


def main() -> None:
    made = json.loads(sys.argv[2])
    content = make_wheel(made.pop("project"), made.pop("version"), **made).content
    parts = {content[at : at + WINDOW] for at in range(0, len(content), WINDOW)}
    tcp_bytes = readable = 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS)) as wire:
        wire.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        wire.bind((sys.argv[1], 0))
        print("listening", flush=True)
        # Its input first, so that what came before the end is read all the same.
        while wire in (ready := select.select([wire, sys.stdin], [], [])[0]) or sys.stdin not in ready:
            segment = _segment(wire.recv(FRAME_SIZE_BYTES_MAX))
            tcp_bytes += len(segment)
            beyond = segment[HEAD_SIZE_BYTES : HEAD_SIZE_BYTES + 2 * WINDOW]
            readable += any(beyond[at : at + WINDOW] in parts for at in range(WINDOW))
    print(json.dumps([tcp_bytes, readable]))


def _segment(frame: bytes) -> bytes:
    """What TCP carries in an Ethernet frame (RFC 791, 9293); nothing where it is none."""
    packet = frame[14:]
    if frame[12:14] != IPV4 or len(packet) < 40 or packet[9] != TCP:
        return b""
    tcp = packet[(packet[0] & 15) * 4 :]
    return tcp[(tcp[12] >> 4) * 4 :]


if __name__ == "__main__":
    main()
