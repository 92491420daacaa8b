"""The bytes of one simulated file: what a reader sees, what is durable, and the writes between the two.

A file is a row of blocks. Whole blocks are `bytes` shared by content among all files of a world (`Pool`), so that a
thousand nodes hold one wheel in the memory of one; a block that still grows is a `bytearray` of its own.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

Block = bytes | bytearray | None
Octets = bytes | bytearray | memoryview

BLOCK_SIZE_BYTES = 16 * 1024
SECTOR_SIZE_BYTES = 512
# Contents that look alike at their ends and in the middle; beyond that they are not shared, which costs only memory.
ALIKE_MAX = 8

# What becomes of a write that nobody synced when the power goes (notes, section 3). Size only: zeros where data was.
LOST, SIZE_ONLY, TORN, WHOLE = range(4)
FATES = (LOST, SIZE_ONLY, TORN, WHOLE)
FATE_WEIGHTS = (40, 20, 30, 10)
# How often the kernel had begun to write a file's changes by itself, in their order.
WRITTEN_BACK = 0.5


class Pool:
    """Blocks shared by content. Finding one costs a comparison and no hash: parts of wheels are like random bytes."""

    def __init__(self, block_size_bytes: int = BLOCK_SIZE_BYTES) -> None:
        self.block_size_bytes = block_size_bytes
        self._blocks: dict[tuple[int, bytes, bytes, bytes], list[bytes]] = {}

    def share(self, content: Octets) -> bytes:
        """These bytes, as the one object that all files have of them."""
        block = bytes(content)
        size = len(block)
        middle = size >> 1
        alike = self._blocks.setdefault((size, block[:8], block[middle : middle + 8], block[-8:]), [])
        for shared in alike:
            if shared == block:
                return shared
        if len(alike) < ALIKE_MAX:
            alike.append(block)
        return block

    def size_bytes(self) -> int:
        """What the shared blocks take in memory."""
        return sum(len(block) for alike in self._blocks.values() for block in alike)


@dataclass(slots=True)
class Change:
    """One write or truncation that no fsync made durable yet. content: None for a truncation to `end`."""

    offset: int
    end: int
    content: tuple[bytes, ...] | None


@dataclass(slots=True)
class Bytes:
    """Blocks and a size. What lies beyond a block's own end, or in no block at all, reads as zeros."""

    pool: Pool
    blocks: list[Block] = field(default_factory=list)
    size_bytes: int = 0
    taken_bytes: int = 0  # on the disk; holes take nothing

    def read(self, size_bytes: int, offset: int) -> bytes:
        end = min(offset + size_bytes, self.size_bytes)
        if end <= offset:
            return b""
        unit = self.pool.block_size_bytes
        index, at = divmod(offset, unit)
        parts: list[Octets] = []
        while offset < end:
            take = min(unit - at, end - offset)
            block = self._block(index) or b""
            part = block if at == 0 and len(block) == take else memoryview(block)[at : at + take]
            parts.append(part)
            if len(part) < take:
                parts.append(bytes(take - len(part)))
            offset += take
            index, at = index + 1, 0
        # A whole shared block is given as it is: no reader copies it.
        return parts[0] if len(parts) == 1 and isinstance(parts[0], bytes) else b"".join(parts)

    def write(self, content: Octets, offset: int) -> tuple[bytes, ...]:
        """Gives what was written, cut at the blocks' borders; whole blocks as shared objects."""
        octets = memoryview(content).cast("B")
        unit = self.pool.block_size_bytes
        end = offset + octets.nbytes
        self.size_bytes = max(self.size_bytes, end)
        parts = []
        done = 0
        index, at = divmod(offset, unit)
        while done < octets.nbytes:
            part = octets[done : done + unit - at]
            if at == 0 and len(part) == unit:
                shared = self.pool.share(part)
                self._put(index, shared)
                parts.append(shared)
            else:
                parts.append(bytes(part))
                self._merge(index, at, parts[-1])
            done += len(part)
            index, at = index + 1, 0
        return tuple(parts)

    def grow_to(self, end: int) -> None:
        self.size_bytes = max(self.size_bytes, end)

    def truncate(self, size_bytes: int) -> None:
        unit = self.pool.block_size_bytes
        if size_bytes < self.size_bytes:
            index, at = divmod(size_bytes, unit)
            block = self._block(index)
            del self.blocks[index:]
            if block and at:
                self.blocks.append(bytes(block[:at]))
            self.taken_bytes = sum(map(len, filter(None, self.blocks)))
        self.size_bytes = size_bytes

    def flip(self, position: int, bit: int) -> None:
        """Turns one bit over."""
        octet = self.read(1, position)[0] ^ (1 << bit)
        self.write(bytes([octet]), position)

    def copy(self) -> Bytes:
        """Shares every block; growing ones are frozen first."""
        for index, block in enumerate(self.blocks):
            if isinstance(block, bytearray):
                self.blocks[index] = self.pool.share(block)
        return Bytes(self.pool, list(self.blocks), self.size_bytes, self.taken_bytes)

    def _block(self, index: int) -> Block:
        return self.blocks[index] if index < len(self.blocks) else None

    def _put(self, index: int, block: bytes | bytearray) -> None:
        if index >= len(self.blocks):
            self.blocks.extend([None] * (index + 1 - len(self.blocks)))
        self.taken_bytes += len(block) - len(self.blocks[index] or b"")
        self.blocks[index] = block

    def _merge(self, index: int, at: int, part: bytes) -> None:
        block = self._block(index)
        if not isinstance(block, bytearray):
            block = bytearray(block or b"")
            self._put(index, block)
        before = len(block)
        if at > before:
            block.extend(bytes(at - before))
        block[at : at + len(part)] = part
        self.taken_bytes += len(block) - before
        if len(block) == self.pool.block_size_bytes and at + len(part) == len(block):
            # A stream has filled it: from here on it is one like all the others.
            self._put(index, self.pool.share(block))


class Inode:
    """One file. `keeps_changes` False: nobody will cut the power, so what is written counts as durable at once."""

    def __init__(self, pool: Pool, *, keeps_changes: bool = True) -> None:
        self.seen = Bytes(pool)
        self.names = 0
        self.handles = 0
        self._durable = Bytes(pool)
        self._changes: list[Change] = []
        self._keeps_changes = keeps_changes
        self._forgotten = False  # after a failed fsync: changes that were called clean, and never reached the disk

    def write(self, content: Octets, offset: int) -> None:
        parts = self.seen.write(content, offset)
        if self._keeps_changes and parts:
            self._changes.append(Change(offset, offset + sum(map(len, parts)), parts))

    def truncate(self, size_bytes: int) -> None:
        self.seen.truncate(size_bytes)
        if self._keeps_changes:
            self._changes.append(Change(size_bytes, size_bytes, None))

    def sync(self) -> None:
        if not self._keeps_changes:
            return
        if self._forgotten:
            for change in self._changes:
                _apply(self._durable, change)
        elif self._changes:
            self._durable = self.seen.copy()
        self._changes.clear()

    def sync_failed(self) -> None:
        """Linux then calls the pages clean: readers see the bytes, and no later fsync brings them to the disk."""
        self._forgotten = self._forgotten or bool(self._changes)
        self._changes.clear()

    def cut(self, dice: random.Random) -> None:
        """The power goes. The kernel may have written some of what came since the last fsync; the rest has its fate."""
        if not self._keeps_changes:
            return
        written = dice.randint(0, len(self._changes)) if dice.random() < WRITTEN_BACK else 0
        for number, change in enumerate(self._changes):
            if number < written:
                _apply(self._durable, change)
            else:
                _outcome(self._durable, change, dice)
        self._changes.clear()
        self._forgotten = False
        self.seen = self._durable.copy()

    def rot(self, position: int, bit: int) -> None:
        """A bit of the disk has turned over, and no cache remembers what it was."""
        self.seen.flip(position, bit)
        if self._keeps_changes and position < self._durable.size_bytes:
            self._durable.flip(position, bit)


def _apply(to: Bytes, change: Change) -> None:
    if change.content is None:
        to.truncate(change.end)
    else:
        to.write(b"".join(change.content), change.offset)


def _outcome(to: Bytes, change: Change, dice: random.Random) -> None:
    (fate,) = dice.choices(FATES, FATE_WEIGHTS)
    if fate == LOST:
        return
    if fate == WHOLE or change.content is None:
        _apply(to, change)
        return
    to.grow_to(change.end)
    if fate == TORN:
        content = b"".join(change.content)
        first = change.offset // SECTOR_SIZE_BYTES
        sectors = -(-change.end // SECTOR_SIZE_BYTES) - first
        survivors = dice.getrandbits(sectors)
        for number in range(sectors):
            if survivors >> number & 1:
                start = max(change.offset, (first + number) * SECTOR_SIZE_BYTES)
                end = min(change.end, (first + number + 1) * SECTOR_SIZE_BYTES)
                to.write(content[start - change.offset : end - change.offset], start)
