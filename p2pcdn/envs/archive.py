"""A zip archive read strictly: what two readers could understand differently is refused (PKWARE APPNOTE 6.3.10).

The standard library's reader believes the central directory alone, and takes what lies between members, twice, or
behind the end. Here the members, their local headers and descriptors, the directory and its end must fill the file
without gap or overlap.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from p2pcdn import inflate
from p2pcdn.envs.errors import BadWheel
from p2pcdn.sizes import format_size

# The wheel with the most files on PyPI has some 30,000.
MEMBERS_MAX = 100_000
# A directory of so many members with names of the usual length has some 15 MiB.
DIRECTORY_SIZE_BYTES_MAX = 64 * 1024 * 1024
# torch with its CUDA libraries unpacks to some 5 GB.
UNPACKED_SIZE_BYTES_MAX = 16 * 1024**3
# PyPI's own rule against bombs: more than this, and more than fifty times what was sent.
BOMB_SIZE_BYTES = 64 * 1024**2
BOMB_RATIO = 50
# What is inflated in one step. Larger steps save no time, and take memory twice, packed and unpacked.
READ_SIZE_BYTES = 128 * 1024

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED = 0, 8
_DESCRIPTOR, _UTF8 = 0x8, 0x800
# Encrypted, patched, strongly encrypted, masked.
_FLAGS_REFUSED = 0x1 | 0x20 | 0x40 | 0x2000
_ZIP64, _UNICODE_PATH = 0x0001, 0x7075
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Member:
    """One file or directory of the archive. mode: as in stat, 0 where the archive was made without. offset: of its
    local header.
    """

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed_bytes: int
    size_bytes: int
    mode: int
    offset: int

    @property
    def is_directory(self) -> bool:
        return self.name.endswith("/")


class Archive:
    """An open archive whose shape was checked. Closing the descriptor is the caller's.

    what: how messages call it. Raises BadWheel; `read` and `chunks` raise it for bytes that are not what the
    directory says.
    """

    def __init__(self, descriptor: int, what: str) -> None:
        self._descriptor = descriptor
        self._what = what
        self.size_bytes = os.fstat(descriptor).st_size
        directory_at, directory_size, count = self._end()
        self.members = tuple(self._directory(directory_at, directory_size, count))
        self._check_sizes()
        self._starts = self._check_extents(directory_at)

    def read(self, member: Member, size_bytes_max: int) -> bytes:
        """All of a member that is not larger than that."""
        if member.size_bytes > size_bytes_max:
            raise self._bad(f"{member.name} has more than {format_size(size_bytes_max)}")
        return b"".join(self.chunks(member))

    def chunks(self, member: Member) -> Iterator[bytes]:
        """Its bytes, in parts; after the last one the length and the CRC-32 were right."""
        checksum, size_bytes = 0, 0
        for chunk in self._inflated(member) if member.method == _DEFLATED else self._packed(member):
            checksum = inflate.crc32(chunk, checksum)
            size_bytes += len(chunk)
            yield chunk
        if size_bytes != member.size_bytes or checksum != member.crc:
            raise self._bad(f"{member.name} does not have the length and checksum that its directory says")

    def _packed(self, member: Member) -> Iterator[bytes]:
        at = self._starts[member.offset]
        left = member.packed_bytes
        while left:
            content = self._at(at, min(left, READ_SIZE_BYTES))
            at, left = at + len(content), left - len(content)
            yield content

    def _inflated(self, member: Member) -> Iterator[bytes]:
        inflater = inflate.decompressobj(-inflate.MAX_WBITS)
        left = member.size_bytes
        try:
            for packed in self._packed(member):
                while packed:
                    # One byte more than is due shows that there is more: a bomb is cut there.
                    chunk = inflater.decompress(packed, min(left, READ_SIZE_BYTES) + 1)
                    left -= len(chunk)
                    if left < 0 or inflater.unused_data:
                        raise self._bad(f"{member.name} holds more than its directory says")
                    yield chunk
                    packed = inflater.unconsumed_tail
        except inflate.Broken as error:
            raise self._bad(f"{member.name} cannot be unpacked: {error}") from error
        if not inflater.eof:
            raise self._bad(f"{member.name} is cut off")

    def _end(self) -> tuple[int, int, int]:
        """Offset, size and length of the central directory, from the records at the end of the file."""
        tail_at = max(0, self.size_bytes - _END.size - _MAX16)
        tail = self._at(tail_at, self.size_bytes - tail_at)
        at = tail.rfind(b"PK\x05\x06")
        if at < 0 or len(tail) - at < _END.size:
            raise self._bad("it is not a zip archive: its end record is missing")
        _, disk, start, here, count, size, offset, comment_size = _END.unpack_from(tail, at)
        if at + _END.size + comment_size != len(tail):
            raise self._bad("something stands behind its end")
        end_at = tail_at + at
        locator = self._at(end_at - _LOCATOR.size, _LOCATOR.size) if end_at >= _LOCATOR.size else b""
        if locator.startswith(b"PK\x06\x07"):
            end_at, (disk, start, here, count, size, offset) = self._end64(
                locator, end_at - _LOCATOR.size, (disk, start, here, count, size, offset)
            )
        if disk or start or here != count or offset + size != end_at:
            raise self._bad("its directory is not where its end record says, or is one of several volumes")
        if count > MEMBERS_MAX or size > DIRECTORY_SIZE_BYTES_MAX:
            raise self._bad(f"it has {count} members; more than {MEMBERS_MAX} are not unpacked")
        return offset, size, count

    def _end64(self, locator: bytes, locator_at: int, short: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        _, disk, at, disks = _LOCATOR.unpack(locator)
        if disk or disks > 1 or at + _END64.size != locator_at:
            raise self._bad("its zip64 end record is not where its locator says")
        sign, size, _, _, *values = _END64.unpack(self._at(at, _END64.size))
        if sign != b"PK\x06\x06" or size != _END64.size - 12:
            raise self._bad("its zip64 end record is malformed")
        limits = (_MAX16, _MAX16, _MAX16, _MAX16, _MAX32, _MAX32)
        if any(one not in (value, limit) for one, value, limit in zip(short, values, limits, strict=True)):
            raise self._bad("its two end records disagree")
        return at, tuple(values)

    def _directory(self, at: int, size: int, count: int) -> Iterator[Member]:
        directory = self._at(at, size)
        at = 0
        for _ in range(count):
            if at + _CENTRAL.size > len(directory):
                raise self._bad("its directory is shorter than its end record says")
            fields = _CENTRAL.unpack_from(directory, at)
            n_name, n_extra, n_comment = fields[10:13]
            name_at = at + _CENTRAL.size
            raw_name = directory[name_at : name_at + n_name]
            extra = directory[name_at + n_name : name_at + n_name + n_extra]
            at = name_at + n_name + n_extra + n_comment
            if fields[0] != b"PK\x01\x02" or at > len(directory):
                raise self._bad("its directory is malformed")
            yield self._member(fields, raw_name, extra)
        if at != len(directory):
            raise self._bad("its directory is longer than its end record says")

    def _member(self, fields: tuple[int, ...], raw_name: bytes, extra: bytes) -> Member:
        _, made_by, _, flags, method, _, _, crc, packed, size, _, _, _, disk, _, attributes, offset = fields
        name = self._name(raw_name, flags)
        if flags & _FLAGS_REFUSED or method not in (_STORED, _DEFLATED):
            raise self._bad(f"{name} is encrypted, or packed in a way that wheels do not use")
        size, packed, offset = self._long(name, self._extra(name, extra), (size, packed, offset))
        if disk or (method == _STORED and packed != size):
            raise self._bad(f"{name} has sizes that contradict each other")
        # Only Unix (3) and macOS (19) write a mode into the upper half.
        mode = attributes >> 16 if made_by >> 8 in (3, 19) else 0
        if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise self._bad(f"{name} is a link or a device; a wheel holds files only")
        return Member(name, raw_name, flags, method, crc, packed, size, mode, offset)

    def _name(self, raw_name: bytes, flags: int) -> str:
        try:
            return raw_name.decode("utf-8" if flags & _UTF8 else "cp437")
        except UnicodeDecodeError as error:
            raise self._bad(f"a name in it is not UTF-8: {raw_name[:80]!r}") from error

    def _extra(self, name: str, extra: bytes) -> bytes:
        """The zip64 field, b"" for none. A field that gives the file another name is refused."""
        found, at = b"", 0
        while at + 4 <= len(extra):
            kind, size = struct.unpack_from("<2H", extra, at)
            if kind == _UNICODE_PATH or (kind == _ZIP64 and found) or at + 4 + size > len(extra):
                raise self._bad(f"{name} has extra fields that contradict each other")
            if kind == _ZIP64:
                found = extra[at + 4 : at + 4 + size]
            at += 4 + size
        return found

    def _long(self, name: str, zip64: bytes, short: tuple[int, ...]) -> list[int]:
        """The numbers that do not fit into 32 bits come from the zip64 field, in this order."""
        wanted = sum(number == _MAX32 for number in short)
        if len(zip64) < 8 * wanted:
            raise self._bad(f"{name} lacks its zip64 sizes")
        longs = iter(struct.unpack_from(f"<{wanted}Q", zip64))
        return [next(longs) if number == _MAX32 else number for number in short]

    def _check_sizes(self) -> None:
        total = sum(member.size_bytes for member in self.members)
        if total > UNPACKED_SIZE_BYTES_MAX:
            raise self._bad(f"it would unpack to {total} bytes; the limit is {UNPACKED_SIZE_BYTES_MAX}")
        if total > BOMB_SIZE_BYTES and total > BOMB_RATIO * self.size_bytes:
            raise self._bad(f"it would unpack to {total} bytes, more than {BOMB_RATIO} times its size: a bomb")

    def _check_extents(self, directory_at: int) -> dict[int, int]:
        """Where the bytes of each member begin, by the offset of its local header; they fill the file up to the
        directory.
        """
        members = sorted(self.members, key=lambda member: member.offset)
        starts: dict[int, int] = {}
        ends = [*(member.offset for member in members), directory_at]
        if ends[0] != 0:
            raise self._bad("something stands before its first member")
        for member, (begin, end) in zip(members, pairwise(ends), strict=True):
            starts[member.offset] = self._check_local(member, begin, end)
        return starts

    def _check_local(self, member: Member, begin: int, end: int) -> int:
        head = self._at(begin, min(_LOCAL.size + len(member.raw_name) + 64, end - begin))
        if len(head) < _LOCAL.size or head[:4] != b"PK\x03\x04":
            raise self._bad(f"{member.name} is not where its directory says")
        _, _, flags, method, _, _, crc, packed, size, n_name, n_extra = _LOCAL.unpack_from(head)
        start = begin + _LOCAL.size + int(n_name) + int(n_extra)
        rest = end - start - member.packed_bytes
        described = flags & _DESCRIPTOR
        if head[_LOCAL.size :][:n_name] != member.raw_name or method != member.method or flags != member.flags:
            raise self._bad(f"{member.name} is called otherwise where it stands")
        if rest < 0 or (rest and not described) or not self._same_sizes(member, (crc, packed, size), bool(described)):
            raise self._bad(f"{member.name} does not fill its place in the file")
        if described:
            self._check_descriptor(member, self._at(end - rest, min(rest, 32)))
        return start

    def _same_sizes(self, member: Member, local: tuple[int, int, int], described: bool) -> bool:
        """A local header may leave long sizes to zip64, and all three to the record behind the bytes."""
        left_out = (0, _MAX32) if described else ()
        crc, packed, size = local
        return (
            crc in (member.crc, *left_out[:1])
            and packed in (member.packed_bytes, _MAX32, *left_out)
            and size in (member.size_bytes, _MAX32, *left_out)
        )

    def _check_descriptor(self, member: Member, found: bytes) -> None:
        values = (member.crc, member.packed_bytes, member.size_bytes)
        allowed = {struct.pack("<LQQ", *values)}
        if max(values[1:]) < _MAX32:
            allowed.add(struct.pack("<3L", *values))
        if found.removeprefix(b"PK\x07\x08") not in allowed and found not in allowed:
            raise self._bad(f"{member.name} and the record behind it disagree")

    def _at(self, at: int, size: int) -> bytes:
        content = os.pread(self._descriptor, size, at) if at >= 0 else b""
        if len(content) != size:
            raise self._bad("it is cut off")
        return content

    def _bad(self, why: str) -> BadWheel:
        return BadWheel(f"{self._what}: {why}. Nothing of it was kept.")
