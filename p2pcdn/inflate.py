"""Inflating, and the checksum that goes with it: by zlib-ng, which does it in half of zlib's time, else by zlib.

Only what reads goes this way. What is packed here stays zlib's: members of a group compare packed pages byte by byte.
"""

from __future__ import annotations

from typing import Any

_zlib: Any
try:
    from zlib_ng import zlib_ng as _zlib
except ImportError:  # for some machines it is not built
    import zlib as _zlib

MAX_WBITS: int = _zlib.MAX_WBITS
# What `decompressobj` gives raises it for bytes that are not deflated.
Broken: type[Exception] = _zlib.error

crc32 = _zlib.crc32
decompressobj = _zlib.decompressobj
