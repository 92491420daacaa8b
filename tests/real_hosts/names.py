"""A name server on a host of a LAN, and nodes whose resolver asks it.

As a module it is that server: python -m tests.real_hosts.names ADDRESS, with {"A": {name: addresses}, "SRV": {name:
records}} as JSON in the first line of its input.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.bench.node import COMMAND, ROOT
from tests.real_hosts.lan import Host

PORT = 53
END_TIME_S_MAX = 10.0
Zone = Mapping[str, Mapping[str, Sequence[str]]]  # by type and name


class NameServer:
    """`with NameServer(host, zone) as server:` answers there until the block ends."""

    def __init__(self, host: Host, zone: Zone) -> None:
        self._host = host
        self._zone = zone

    def __enter__(self) -> Self:
        command = self._host.command(sys.executable, "-m", "tests.real_hosts.names", self._host.address)
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(self._zone) + "\n")
        assert self._process.stdout.readline() == "ready\n", "the name server did not start"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate(timeout=END_TIME_S_MAX)

    def asked_by(self, directory: Path) -> tuple[str, ...]:
        """A `HostNode`'s program: the daemon, in a world where /etc/resolv.conf names this server."""
        resolv = directory / "resolv.conf"
        resolv.write_text(f"nameserver {self._host.address}\noptions timeout:1\n")
        mounted = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        return ("unshare", "--mount", "sh", "-c", mounted, str(resolv), *COMMAND)


def _answer(question: bytes, zone: Zone) -> bytes:
    query = dns.message.from_wire(question)
    response = dns.message.make_response(query)
    asked = query.question[0]
    name = asked.name.to_text(omit_final_dot=True).lower()
    kind = dns.rdatatype.to_text(asked.rdtype)
    found = zone.get(kind, {}).get(name)
    if found:
        response.answer.append(dns.rrset.from_text(asked.name, 5, "IN", kind, *found))
    elif not any(name in names for names in zone.values()):
        response.set_rcode(dns.rcode.NXDOMAIN)
    return response.to_wire()


def _serve(address: str) -> None:
    zone = json.loads(sys.stdin.readline())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((address, PORT))
        print("ready", flush=True)
        while True:
            question, asker = udp.recvfrom(65535)
            udp.sendto(_answer(question, zone), asker)


if __name__ == "__main__":
    _serve(sys.argv[1])
