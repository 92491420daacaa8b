"""The upstream of the five nodes: pages in HTML or JSON, with a file that has no hash, and one who knows no ranges."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import trio

from p2pcdn.http1 import Request, Response
from simnet.upstream import SimUpstream


@dataclass
class FaultyUpstream(SimUpstream):
    """With pages in JSON, sizes in them, where `as_json`; without `knows_range` it sends all of a file each time."""

    as_json: bool = False
    knows_range: bool = True
    reader: str = ""  # the address of who asked for a file last
    somebody_reads: trio.Event = field(default_factory=trio.Event)
    hashless: str = ""  # the name of a file whose hash the pages leave out

    async def _file(self, request: Request) -> Response:
        self.reader = request.peer.rpartition(":")[0]
        self.somebody_reads.set()
        if not self.knows_range:
            request.headers = {name: value for name, value in request.headers.items() if name != "range"}
        return await super()._file(request)

    async def _page(self, request: Request) -> Response:
        faults = self.index_faults.taken()
        if faults.hang_after is not None:
            await trio.sleep_forever()
        if not self.as_json:
            return await super()._page(request)
        await self._delay(faults)
        if faults.status is not None:
            return Response(faults.status)
        project = request.path.removeprefix("/simple/").rstrip("/")
        files = [
            {
                "filename": one.filename,
                "url": f"http://{self.files.name}{one.path}",
                "hashes": {} if one.filename == self.hashless else {"sha256": one.sha256},
                "size": len(one.content),
            }
            for one in self.published.values()
            if one.project == project
        ]
        page = {"meta": {"api-version": "1.1"}, "name": project, "versions": ["1.0"], "files": files}
        headers = [("content-type", "application/vnd.pypi.simple.v1+json"), ("cache-control", "max-age=600")]
        return Response(200, headers, json.dumps(page).encode())
