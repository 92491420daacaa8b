"""What every `p2pcdn.world.Upstream` keeps: run over HTTP, over a directory, and by a simulated world's."""

from __future__ import annotations

import pytest

from p2pcdn.errors import Refused
from p2pcdn.world import Index, Upstream


async def check_upstream(upstream: Upstream, index: Index, path: str, content: bytes) -> None:
    """Raises AssertionError where the upstream breaks the contract.

    `<index.url><path>` is a file of that content (at least 1000 bytes); `<index.url>nothing/` is no project there.
    """
    assert len(content) >= 1000
    url = index.url + path
    async with upstream.get(index, url) as response:
        assert response.status == 200
        assert response.url == url
        assert all(name == name.lower() for name in response.headers)
        assert int(response.headers["content-length"]) == len(content)
        assert b"".join([part async for part in response.body]) == content
        etag = response.headers.get("etag")

    async with upstream.get(index, index.url + "nothing/") as response:
        assert response.status == 404, "a status is an answer, not an error"

    async with upstream.get(index, url, {"Range": "bytes=10-19"}) as response:
        assert response.status == 206
        assert response.headers["content-range"] == f"bytes 10-19/{len(content)}"
        assert b"".join([part async for part in response.body]) == content[10:20]

    if etag is not None:
        async with upstream.get(index, url, {"if-none-match": etag}) as response:
            assert response.status == 304
            assert b"".join([part async for part in response.body]) == b""
        async with upstream.get(index, url, {"range": "bytes=990-", "if-range": etag}) as response:
            assert response.status == 206
            assert b"".join([part async for part in response.body]) == content[990:]
        async with upstream.get(index, url, {"range": "bytes=990-", "if-range": '"other"'}) as response:
            assert response.status == 200, "another attempt's range is answered from the start"

    # Whoever has seen enough leaves; the next request is none the worse.
    async with upstream.get(index, url) as response:
        async for _ in response.body:
            break
    async with upstream.get(index, url) as response:
        assert b"".join([part async for part in response.body]) == content

    for strange in ("ftp://203.0.113.1/x.whl", "gopher://203.0.113.1/", "data:text/html,x", "x.whl", ""):
        with pytest.raises(Refused):
            async with upstream.get(index, strange):
                pass
