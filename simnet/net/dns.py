"""Names of the simulated world, and the resolver that trio is given."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import trio

from p2pcdn_daemon.neighbours.peers_dns import Unresolved
from simnet.turns.kernel import Kernel

LOOK_UP_TIME_S = 1e-3
# After so long a resolver gives a silent server up (resolv.conf(5), "timeout").
SILENCE_S = 5.0


class Dns(trio.abc.HostnameResolver):
    """names: a host name to its addresses, changed at will while the world runs. A name without any is not known.

    services: a name of SRV records to the host names and ports in them. down: look-ups time out; those of one name
    where it is among `unanswered`. delay_s: of each look-up.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.names: dict[str, list[str]] = {"localhost": ["127.0.0.1"]}
        self.services: dict[str, list[tuple[str, int]]] = {}
        self.down = False
        self.unanswered: set[str] = set()
        self.in_vain = 0  # how many look-ups had no answer
        self.delay_s = LOOK_UP_TIME_S
        self._kernel = kernel

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        name = (host or b"localhost").decode("ascii").lower().rstrip(".")
        if name != "localhost" and not await self._answers(name):
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        addresses = self.names.get(name) if family in (0, socket.AF_INET) else None
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        kind = socket.SocketKind(type or socket.SOCK_STREAM)
        return [(socket.AF_INET, kind, 6, "", (address, int(port or 0))) for address in addresses]

    async def targets(self, name: str) -> Sequence[tuple[str, int]]:
        """What `p2pcdn_daemon.neighbours.peers_dns.srv_targets` asks of a real one. Raises Unresolved."""
        if not await self._answers(name):
            raise Unresolved("no server answers")
        if name not in self.services:
            raise Unresolved("there is no such name")
        return list(self.services[name])

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        return str(sockaddr[0]), str(sockaddr[1])

    async def _answers(self, name: str) -> bool:
        silent = self.down or name in self.unanswered
        self.in_vain += silent
        await self._kernel.sleep(SILENCE_S if silent else self.delay_s)
        return not silent
