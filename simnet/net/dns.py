"""Names of the simulated world, and the resolver that trio is given."""

from __future__ import annotations

import socket
from typing import Any

import trio

from simnet.turns.kernel import Kernel

LOOK_UP_TIME_S = 1e-3


class Dns(trio.abc.HostnameResolver):
    """names: a host name to its addresses, changed at will while the world runs. A name without any is not known.

    down: look-ups time out. delay_s: of each look-up.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.names: dict[str, list[str]] = {"localhost": ["127.0.0.1"]}
        self.down = False
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
        if name != "localhost":
            await self._kernel.sleep(5.0 if self.down else self.delay_s)
            if self.down:
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        addresses = self.names.get(name) if family in (0, socket.AF_INET) else None
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        kind = socket.SocketKind(type or socket.SOCK_STREAM)
        return [(socket.AF_INET, kind, 6, "", (address, int(port or 0))) for address in addresses]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        return str(sockaddr[0]), str(sockaddr[1])
