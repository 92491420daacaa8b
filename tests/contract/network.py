"""What every `p2pcdn.world.Network` keeps: run over real sockets and by a simulated world's."""

from __future__ import annotations

import pytest

from p2pcdn.world import Network


async def check_network(network: Network, host: str, port: int, closed_port: int) -> None:
    """Raises AssertionError where the network breaks the contract.

    host, port: where each connection gets back what it sends. closed_port: of the same host, where nobody listens.
    """
    content = bytes(range(256)) * 1000
    stream = await network.connect(host, port)
    async with stream:
        await stream.send_all(content)
        received = b""
        while len(received) < len(content):
            received += await stream.receive_some()
        assert received == content
    with pytest.raises(OSError):
        await network.connect(host, closed_port)
