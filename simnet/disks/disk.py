"""A simulated disk behind the doors `Disk` and `DiskFile`: it loses, tears and reorders what was not synced.

What the kernel's page cache shows and what is durable are two things here; `cut` leaves only the second. Each call is
one await, so each is a point where the power may go. LMDB cannot run on it (C, memory maps): the catalog of a simulated
store lies in a real directory, and counts as durable once it is committed; the crash harnesses of tests/store/ and
tests/end_to_end/ are for that.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import trio

from simnet.disks.disk_faults import DiskFaults, PowerCut, disk_error
from simnet.disks.inode import Inode, Pool
from simnet.disks.names import Names, place_of
from simnet.disks.open_file import SimFile
from simnet.turns.kernel import pause

CAPACITY_SIZE_BYTES = 1 << 40
# A quick solid-state disk (notes, section 3): most calls, and those that wait for the medium.
CALL_DELAY_S = (20e-6, 300e-6)
SYNC_DELAY_S = (0.5e-3, 8e-3)
_SYNCS = frozenset({"fsync", "syncdir", "syncfs"})


class SimDisk:
    """One machine's disk. Used on trio's thread.

    paced False: no call waits, or even yields; for crowds where the disk is not the question. crashes False: nobody
    will cut its power, and nothing is remembered for that. ordered: names become durable in the order of their changes,
    as on a journalled file system; else any of them may. pool: shared by all disks of a world.
    """

    def __init__(
        self,
        dice: random.Random,
        *,
        pool: Pool | None = None,
        rooms: Iterable[Path] = (),
        capacity_bytes: int = CAPACITY_SIZE_BYTES,
        ordered: bool = True,
        crashes: bool = True,
        paced: bool = True,
        call_delay_s: tuple[float, float] = CALL_DELAY_S,
        sync_delay_s: tuple[float, float] = SYNC_DELAY_S,
    ) -> None:
        self.faults = DiskFaults()
        self.capacity_bytes = capacity_bytes
        self.generation = 0
        self.calls = 0
        self.cuts = 0
        self._dice = dice
        self._pool = pool or Pool()
        self.crashes = crashes
        self._paced = paced
        self._call_delay_s = call_delay_s
        self._sync_delay_s = sync_delay_s
        self._taken_bytes = 0
        self._names = Names(ordered=ordered, crashes=crashes)
        for room in rooms:
            self.add_room(room)

    def add_room(self, path: Path) -> None:
        """A directory that is there, durably."""
        self._names.add_room(os.fspath(path))

    # --- what happens to it

    def life(self) -> Callable[[], bool]:
        """Tells whether the life that runs now goes on."""
        now = self.generation
        return lambda: self.generation == now

    def end_life(self) -> None:
        """The process is killed: its calls give nothing any more. What it wrote is seen by the next one."""
        self.generation += 1
        self._nobody_uses_it()

    def cut(self) -> None:
        """The power goes: the life ends, and only what is durable is there again."""
        self.cuts += 1
        self.generation += 1
        self._names.cut(self._dice)
        for inode in self._names.inodes():
            inode.cut(self._dice)
        self._nobody_uses_it()

    def _nobody_uses_it(self) -> None:
        for inode in self._names.inodes():
            inode.handles = 0
        self._taken_bytes = sum(inode.seen.taken_bytes for inode in self._names.inodes())

    def rot(self, within: str = "") -> tuple[Path, int] | None:
        """Turns a random bit over, in a random file whose path has `within` in it. Gives where, None for nowhere."""
        files = [one for one in self._names.files() if within in one[0] and one[1].seen.size_bytes]
        if not files:
            return None
        path, inode = self._dice.choice(files)
        position = self._dice.randrange(inode.seen.size_bytes)
        inode.rot(position, self._dice.randrange(8))
        return Path(path), position

    def content(self, path: Path) -> bytes | None:
        """What the file holds, for checkers; it takes no time and never fails."""
        inode = self._names.rooms.get(os.fspath(path.parent), {}).get(path.name)
        return None if inode is None else inode.seen.read(inode.seen.size_bytes, 0)

    def paths(self) -> Sequence[Path]:
        """All files, for checkers."""
        return [Path(path) for path, _ in self._names.files()]

    # --- the door

    async def open(self, path: Path) -> SimFile:
        return await self._opened("open", path, writable=False)

    async def reopen(self, path: Path) -> SimFile:
        return await self._opened("reopen", path, writable=True)

    async def create(self, path: Path) -> SimFile:
        text = await self.enter("create", path)
        place = place_of(text)
        if place[1] in self._names.room(place[0]) or text in self._names.rooms:
            raise disk_error(errno.EEXIST, text)
        self._room_for(1)
        inode = Inode(self._pool, keeps_changes=self.crashes)
        self._names.add(inode, place)
        return SimFile(self, inode, text, writable=True)

    async def make_directory(self, path: Path) -> None:
        text = await self.enter("mkdir", path)
        if text not in self._names.rooms:
            self._names.room(place_of(text)[0])
            self._room_for(1)
            self._names.make_room(text)

    async def rename(self, old: Path, new: Path) -> None:
        text = await self.enter("rename", old)
        replaced = self._names.move(place_of(text), place_of(os.fspath(new)))
        if replaced is not None:
            self._unnamed(replaced)

    async def unlink(self, path: Path) -> None:
        self._unnamed(self._names.remove(place_of(await self.enter("unlink", path))))

    async def sync_directory(self, path: Path) -> None:
        self._names.sync_room(await self.enter("syncdir", path))

    async def sync_file_system(self, path: Path) -> None:
        await self.enter("syncfs", path)
        for inode in list(self._names.inodes()):
            inode.sync()
        self._names.sync()

    async def list(self, path: Path) -> Sequence[str]:
        text = await self.enter("list", path)
        below = [place_of(room)[1] for room in self._names.rooms if place_of(room)[0] == text]
        return sorted([*self._names.room(text), *below])

    async def free_bytes(self, path: Path) -> int:
        self._names.room(await self.enter("free", path))
        return max(0, self.capacity_bytes - self._taken_bytes)

    # --- below; for its files too

    async def enter(self, call: str, path: Path | str) -> str:
        """Every call comes through here: it waits, and then it fails, or happens at once. Raises OSError.

        As a call in a thread it is not begun where the caller is cancelled already, and else runs to its end.
        """
        generation = self.generation
        self.calls += 1
        if self._paced:
            await self._wait(call)
        if generation != self.generation:
            raise PowerCut
        text = os.fspath(path)
        code = self._fault(call, text)
        if code is not None:
            raise disk_error(code, text)
        return text

    async def _wait(self, call: str) -> None:
        low, high = self._sync_delay_s if call in _SYNCS else self._call_delay_s
        delay_s = low + (high - low) * self._dice.random() + self.faults.stall_s
        if delay_s <= 0:
            await trio.lowlevel.checkpoint()
            return
        await trio.lowlevel.checkpoint_if_cancelled()
        await pause(delay_s)

    def _fault(self, call: str, path: str) -> int | None:
        faults = self.faults
        if faults.script is not None and (code := faults.script(call, path)) is not None:
            return code
        if call in _SYNCS:
            rate = faults.sync_error_rate
        elif call in ("pread", "open", "list"):
            rate = faults.read_error_rate
        else:
            rate = faults.write_error_rate
        return errno.EIO if rate and self._dice.random() < rate else None

    async def _opened(self, call: str, path: Path, *, writable: bool) -> SimFile:
        text = await self.enter(call, path)
        room, name = place_of(text)
        inode = self._names.room(room).get(name)
        if inode is None:
            raise disk_error(errno.EISDIR if text in self._names.rooms else errno.ENOENT, text)
        return SimFile(self, inode, text, writable=writable)

    def write(self, inode: Inode, content: memoryview, offset: int, path: str) -> None:
        """Raises ENOSPC after as much of it as there was room for."""
        free = self.capacity_bytes - self._taken_bytes
        before = inode.seen.taken_bytes
        fits = content if content.nbytes <= free else content[: max(0, free)]
        if content.nbytes > free and offset + content.nbytes <= before == inode.seen.size_bytes:
            fits = content  # only overwritten
        inode.write(fits, offset)
        self._taken_bytes += inode.seen.taken_bytes - before
        if fits.nbytes < content.nbytes:
            raise disk_error(errno.ENOSPC, path)

    def truncate(self, inode: Inode, size_bytes: int) -> None:
        before = inode.seen.taken_bytes
        inode.truncate(size_bytes)
        self._taken_bytes += inode.seen.taken_bytes - before

    def closed(self, inode: Inode) -> None:
        inode.handles -= 1
        self._forget_nameless(inode)

    def _unnamed(self, inode: Inode) -> None:
        inode.names -= 1
        self._forget_nameless(inode)

    def _forget_nameless(self, inode: Inode) -> None:
        if inode.names == 0 and inode.handles == 0:
            self._taken_bytes -= inode.seen.taken_bytes

    def _room_for(self, size_bytes: int) -> None:
        if self._taken_bytes + size_bytes > self.capacity_bytes:
            raise disk_error(errno.ENOSPC, "")
