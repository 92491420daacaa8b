"""Unpacks a gzip body as it comes, in bounded steps, up to a bound: a bomb goes off nowhere."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from p2pcdn import inflate
from p2pcdn.errors import Refused, Unavailable
from p2pcdn.sizes import format_size

# The list of all projects of PyPI is about 40 MB, its largest page about as much; five times that is not a page.
UNPACKED_SIZE_BYTES_MAX = 256 * 1024 * 1024

# What is unpacked at once, so that 64 KiB from the wire never become 64 MiB in memory.
STEP_SIZE_BYTES = 256 * 1024

_GZIP = 16 + inflate.MAX_WBITS


async def unpacked(
    body: AsyncIterator[bytes], host: str, size_bytes_max: int = UNPACKED_SIZE_BYTES_MAX
) -> AsyncGenerator[bytes, None]:
    """The content of a gzip body (RFC 1952; several members too).

    Raises Refused beyond size_bytes_max, packed or unpacked; Unavailable where the body is cut or is no gzip.
    """
    size_bytes = packed_bytes = 0
    unpack = inflate.decompressobj(_GZIP)
    begun = False
    async for part in body:
        packed_bytes += len(part)
        if packed_bytes > size_bytes_max:  # empty members and blocks can follow each other without end
            raise Refused(f"{host} sent more than {format_size(size_bytes_max)} of gzip; it was cut.")
        full = False
        # A full step may have left something inside zlib, although all input went in.
        while part or full:
            if unpack.eof:
                unpack = inflate.decompressobj(_GZIP)
            begun = True
            try:
                content = unpack.decompress(part, STEP_SIZE_BYTES)
            except inflate.Broken as error:
                raise Unavailable(f"{host} sent a broken gzip body ({error}); nothing of it was kept.") from error
            full = len(content) == STEP_SIZE_BYTES and not unpack.eof
            part = unpack.unused_data if unpack.eof else unpack.unconsumed_tail
            size_bytes += len(content)
            if size_bytes > size_bytes_max:
                raise Refused(
                    f"{host} sent a body that unpacks to more than {format_size(size_bytes_max)}; it was cut."
                )
            if content:
                yield content
    if begun and not unpack.eof:
        raise Unavailable(f"{host} sent a gzip body that ends too early; nothing of it was kept.")
