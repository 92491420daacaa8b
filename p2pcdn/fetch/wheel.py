"""The METADATA of a wheel, read from the few places of its archive where it stands (PKWARE APPNOTE; PEP 427, 658)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Awaitable, Callable, Iterator

from p2pcdn.envs.archive import MEMBERS_MAX  # more are not unpacked either
from p2pcdn.errors import RemoteProtocolError

# Reads `size_bytes` at `offset`; fewer come back only at the end of the file.
Read = Callable[[int, int], Awaitable[bytes]]

# The end record has 22 bytes and a comment of at most 65,535 bytes; nearly every wheel has none, and most directories
# are short enough to come along.
TAIL_SIZE_BYTES = 64 * 1024
# Builders put the METADATA behind everything else. Where the directory begins before the tail, so much before it is
# read with it, which nearly always spares the third question.
BEFORE_DIRECTORY_SIZE_BYTES = 32 * 1024
# A directory of 100,000 members has some 10 MiB.
DIRECTORY_SIZE_BYTES_MAX = 32 * 1024 * 1024
# The longest METADATA on PyPI has some 1 MiB: a README with pictures in it.
METADATA_SIZE_BYTES_MAX = 16 * 1024 * 1024

_END = struct.Struct("<4s4H2LH")
_MEMBER = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 0x1
_METADATA = b"/metadata"


async def wheel_metadata(filename: str, size_bytes: int, read: Read, tail: bytes = b"") -> bytes:
    """The bytes of `{name}-{version}.dist-info/METADATA`, checked against the archive's CRC-32.

    tail: the end of the file, where it is at hand already. Raises RemoteProtocolError where the archive is not a wheel
    of this name, and what `read` raises.
    """
    end = _End(size_bytes, read, tail)
    if not tail:
        await end.begin_at(size_bytes - TAIL_SIZE_BYTES)
    directory_at, directory_size = _directory(end.content)
    if directory_at + directory_size > size_bytes or directory_size > DIRECTORY_SIZE_BYTES_MAX:
        raise RemoteProtocolError(f"{filename}: its directory lies outside the file")
    if directory_at < end.at:
        await end.begin_at(directory_at - BEFORE_DIRECTORY_SIZE_BYTES)
    directory = await end.read(directory_at, directory_size)
    return await _member(filename, directory, size_bytes, end.read)


class _End:
    """The end of a file, as far as it was read: `content` is all from `at` on."""

    def __init__(self, size_bytes: int, read: Read, content: bytes) -> None:
        self._read = read
        self.at = size_bytes - len(content)
        self.content = content

    async def begin_at(self, at: int) -> None:
        """Reads what is missing from there on."""
        at = max(0, at)
        self.content = await self._read(at, self.at - at) + self.content
        self.at = at

    async def read(self, offset: int, size_bytes: int) -> bytes:
        """As `Read`; what is here is not asked for again."""
        if offset >= self.at:
            return self.content[offset - self.at :][:size_bytes]
        return await self._read(offset, size_bytes)


def _directory(tail: bytes) -> tuple[int, int]:
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        raise RemoteProtocolError("no zip archive: its end record is missing")
    _, _, _, _, _, size, offset, comment_size = _END.unpack_from(tail, at)
    if at + _END.size + comment_size != len(tail):
        raise RemoteProtocolError("no zip archive: something stands behind its end record")
    return offset, size


async def _member(filename: str, directory: bytes, size_bytes: int, read: Read) -> bytes:
    parts = filename.removesuffix(".whl").split("-")
    if len(parts) < 5:
        raise RemoteProtocolError(f"{filename} is not the name of a wheel")
    name, version = parts[:2]
    wanted = _folded(f"{name}-{version}.dist-info/METADATA")
    for member, flags, method, crc, packed, full, local_at in _members(filename, directory):
        # The loop reads this of every wheel; to fold ten thousand names would hold it up for a tenth of a second.
        if member[-len(_METADATA) :].lower() != _METADATA or _folded(member.decode("utf-8", "replace")) != wanted:
            continue
        if flags & _ENCRYPTED or method not in (_STORED, _DEFLATED) or max(packed, full) > METADATA_SIZE_BYTES_MAX:
            raise RemoteProtocolError(f"{filename}: its METADATA is encrypted, oddly packed or too large")
        packed_bytes = await _packed(local_at, packed, size_bytes, read)
        return _unpacked(filename, packed_bytes, method, full, crc)
    raise RemoteProtocolError(f"{filename}: no METADATA in it")


def _members(filename: str, directory: bytes) -> Iterator[tuple[bytes, int, int, int, int, int, int]]:
    """Name, flags, method, checksum, both sizes and offset of each member, up to where it is a directory no more."""
    at = 0
    for _ in range(MEMBERS_MAX):
        if at + _MEMBER.size > len(directory):
            return
        sign, _, _, flags, method, _, _, crc, packed, full, n_name, n_extra, n_comment, _, _, _, local_at = (
            _MEMBER.unpack_from(directory, at)
        )
        if sign != b"PK\x01\x02":
            return
        name_at = at + _MEMBER.size
        at = name_at + n_name + n_extra + n_comment
        yield directory[name_at : name_at + n_name], flags, method, crc, packed, full, local_at
    raise RemoteProtocolError(f"{filename}: it has more than {MEMBERS_MAX} members")


async def _packed(local_at: int, packed: int, size_bytes: int, read: Read) -> bytes:
    if local_at >= size_bytes:
        raise RemoteProtocolError("no zip archive: a member lies outside the file")
    # The local header repeats the name and may have another extra field; 512 bytes nearly always cover both.
    head = await read(local_at, min(_LOCAL.size + 512 + packed, size_bytes - local_at))
    if len(head) < _LOCAL.size or head[:4] != b"PK\x03\x04":
        raise RemoteProtocolError("no zip archive: a member is not where the directory says")
    *_, n_name, n_extra = _LOCAL.unpack_from(head)
    begin = _LOCAL.size + n_name + n_extra
    content = head[begin : begin + packed]
    if len(content) < packed:
        content = await read(local_at + begin, packed)
    return content


def _unpacked(filename: str, content: bytes, method: int, full: int, crc: int) -> bytes:
    if method == _DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            content = inflater.decompress(content, full + 1)
        except zlib.error as error:
            raise RemoteProtocolError(f"{filename}: its METADATA cannot be unpacked: {error}") from error
    if len(content) != full or zlib.crc32(content) != crc:
        raise RemoteProtocolError(f"{filename}: its METADATA does not have the length and checksum it claims")
    return content


def _folded(member: str) -> str:
    """Some builders write the project in another case or with other separators than the file name has."""
    return member.lower().replace("-", "_").replace(".", "_")
