"""The upstream of the five nodes: it says who reads it, may know no ranges, and leaves whole pages hanging."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from p2pcdn.http1 import Request, Response
from simnet.upstream import SimUpstream


@dataclass
class FaultyUpstream(SimUpstream):
    """Without `knows_range` it sends all of a file each time."""

    knows_range: bool = True
    reader: str = ""  # the address of who asked for a file last
    somebody_reads: trio.Event = field(default_factory=trio.Event)

    async def _file(self, request: Request) -> Response:
        self.reader = request.peer.rpartition(":")[0]
        self.somebody_reads.set()
        if not self.knows_range:
            request.headers = {name: value for name, value in request.headers.items() if name != "range"}
        return await super()._file(request)

    async def _page(self, request: Request) -> Response:
        if self.index_faults.hang_after is not None:
            await trio.sleep_forever()
        return await super()._page(request)
