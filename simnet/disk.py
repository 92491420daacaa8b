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
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import trio

from simnet.inode import Inode, Octets, Pool
from simnet.kernel import pause

Call = Literal["open", "create", "reopen", "mkdir", "rename", "unlink", "syncdir", "syncfs", "list", "free"]
FileCall = Literal["pread", "pwrite", "fsync", "truncate"]
# Given the name of a call and its path; an errno to fail with, or None.
Script = Callable[[str, str], int | None]

CAPACITY_SIZE_BYTES = 1 << 40
# A quick solid-state disk (notes, section 3): most calls, and those that wait for the medium.
CALL_DELAY_S = (20e-6, 300e-6)
SYNC_DELAY_S = (0.5e-3, 8e-3)
_SYNCS = frozenset({"fsync", "syncdir", "syncfs"})


class PowerCut(OSError):
    """A call of a life that is over: it never gives a result. An OSError, so that what is left of that life ends."""

    def __init__(self) -> None:
        super().__init__(errno.EIO, "the power was cut")


@dataclass(slots=True)
class DiskFaults:
    """What goes wrong; may be changed while the disk is used.

    read_error_rate, write_error_rate, sync_error_rate: the share of calls that fail with EIO. stall_s: more time for
    each call. script: asked before every call.
    """

    read_error_rate: float = 0.0
    write_error_rate: float = 0.0
    sync_error_rate: float = 0.0
    stall_s: float = 0.0
    script: Script | None = None


def fail_once(call: Call | FileCall, number: int, code: int = errno.EIO, *, within: str = "") -> Script:
    """A script: the call of that name fails, the `number`th time (from 1) that a path has `within` in it."""
    left = number

    def script(name: str, path: str) -> int | None:
        nonlocal left
        if name != call or within not in path:
            return None
        left -= 1
        return code if left == 0 else None

    return script


@dataclass(slots=True)
class _NameChange:
    """An entry that was made, moved or taken away, and that no sync made durable yet. made: a directory's own path."""

    inode: Inode | None = None
    came: tuple[str, str] | None = None
    went: tuple[str, str] | None = None
    made: str | None = None

    def touches(self, directory: str) -> bool:
        return any(place is not None and place[0] == directory for place in (self.came, self.went)) or (
            self.made is not None and _parent(self.made)[0] == directory
        )


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
        self._ordered = ordered
        self._crashes = crashes
        self._paced = paced
        self._call_delay_s = call_delay_s
        self._sync_delay_s = sync_delay_s
        self._taken_bytes = 0
        self._rooms: dict[str, dict[str, Inode]] = {}
        self._durable: dict[str, dict[str, Inode]] = {}
        self._firm_rooms: set[str] = set()  # directories whose own name is durable
        self._changes: list[_NameChange] = []
        for room in rooms:
            self.add_room(room)

    def add_room(self, path: Path) -> None:
        """A directory that is there, durably."""
        self._rooms.setdefault(os.fspath(path), {})
        self._firm_rooms.add(os.fspath(path))

    # --- what happens to it

    def end_life(self) -> None:
        """The process is killed: its calls give nothing any more. What it wrote is seen by the next one."""
        self.generation += 1
        for room in self._rooms.values():
            for inode in room.values():
                inode.handles = 0
        self._taken_bytes = sum(inode.seen.taken_bytes for inode in self._inodes())

    def cut(self) -> None:
        """The power goes: the life ends, and only what is durable is there again."""
        assert self._crashes
        self.cuts += 1
        self.generation += 1
        number = len(self._changes)
        if self._ordered:
            self._settle(range(self._dice.randint(0, number)))
        else:
            self._settle([one for one in range(number) if self._dice.random() < 0.5])
        self._changes.clear()
        lost = self._rooms.keys() - self._firm_rooms
        self._firm_rooms = {room for room in self._firm_rooms if not any(room.startswith(f"{one}/") for one in lost)}
        self._durable = {room: self._durable.get(room, {}) for room in sorted(self._firm_rooms)}
        self._rooms = {room: dict(entries) for room, entries in self._durable.items()}
        for inode in self._inodes():
            inode.cut(self._dice)
            inode.handles = 0
            inode.names = sum(one is inode for entries in self._rooms.values() for one in entries.values())
        self._taken_bytes = sum(inode.seen.taken_bytes for inode in self._inodes())

    def rot(self, within: str = "") -> tuple[Path, int] | None:
        """Turns a random bit over, in a random file whose path has `within` in it. Gives where, None for nowhere."""
        files = [
            (f"{room}/{name}", inode)
            for room, entries in sorted(self._rooms.items())
            for name, inode in sorted(entries.items())
            if within in f"{room}/{name}" and inode.seen.size_bytes
        ]
        if not files:
            return None
        path, inode = self._dice.choice(files)
        position = self._dice.randrange(inode.seen.size_bytes)
        inode.rot(position, self._dice.randrange(8))
        return Path(path), position

    def content(self, path: Path) -> bytes | None:
        """What the file holds, for checkers; it takes no time and never fails."""
        inode = self._rooms.get(os.fspath(path.parent), {}).get(path.name)
        return None if inode is None else inode.seen.read(inode.seen.size_bytes, 0)

    def paths(self) -> Sequence[Path]:
        """All files, for checkers."""
        return [Path(room, name) for room, entries in sorted(self._rooms.items()) for name in sorted(entries)]

    # --- the door

    async def open(self, path: Path) -> SimFile:
        return await self._opened("open", path, writable=False)

    async def reopen(self, path: Path) -> SimFile:
        return await self._opened("reopen", path, writable=True)

    async def create(self, path: Path) -> SimFile:
        text = await self.enter("create", path)
        place = room, name = _parent(text)
        entries = self._room(room)
        if name in entries or text in self._rooms:
            raise _error(errno.EEXIST, text)
        self._room_for(1)
        inode = entries[name] = Inode(self._pool, keeps_changes=self._crashes)
        inode.names += 1
        self._note(_NameChange(inode, came=place))
        return SimFile(self, inode, text, writable=True)

    async def make_directory(self, path: Path) -> None:
        text = await self.enter("mkdir", path)
        if text not in self._rooms:
            self._room(_parent(text)[0])
            self._room_for(1)
            self._rooms[text] = {}
            self._note(_NameChange(made=text))

    async def rename(self, old: Path, new: Path) -> None:
        text = await self.enter("rename", old)
        went, came = _parent(text), _parent(os.fspath(new))
        source, target = self._room(went[0]), self._room(came[0])
        if went[1] not in source:
            raise _error(errno.ENOENT, text)
        if went == came:
            return
        inode = source.pop(went[1])
        if (replaced := target.get(came[1])) is not None:
            self._unnamed(replaced)
        target[came[1]] = inode
        self._note(_NameChange(inode, came=came, went=went))

    async def unlink(self, path: Path) -> None:
        text = await self.enter("unlink", path)
        place = room, name = _parent(text)
        inode = self._room(room).pop(name, None)
        if inode is None:
            raise _error(errno.ENOENT, text)
        self._unnamed(inode)
        self._note(_NameChange(inode, went=place))

    async def sync_directory(self, path: Path) -> None:
        text = await self.enter("syncdir", path)
        self._room(text)
        mine = [number for number, change in enumerate(self._changes) if change.touches(text)]
        if self._ordered and mine:
            mine = list(range(mine[-1] + 1))
        self._settle(mine)

    async def sync_file_system(self, path: Path) -> None:
        await self.enter("syncfs", path)
        for inode in list(self._inodes()):
            inode.sync()
        self._settle(range(len(self._changes)))

    async def list(self, path: Path) -> Sequence[str]:
        text = await self.enter("list", path)
        below = [_parent(room)[1] for room in self._rooms if _parent(room)[0] == text]
        return sorted([*self._room(text), *below])

    async def free_bytes(self, path: Path) -> int:
        self._room(await self.enter("free", path))
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
            raise _error(code, text)
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
        room, name = _parent(text)
        inode = self._room(room).get(name)
        if inode is None:
            raise _error(errno.EISDIR if text in self._rooms else errno.ENOENT, text)
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
            raise _error(errno.ENOSPC, path)

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
            raise _error(errno.ENOSPC, "")

    def _room(self, path: str) -> dict[str, Inode]:
        try:
            return self._rooms[path]
        except KeyError:
            raise _error(errno.ENOENT, path) from None

    def _note(self, change: _NameChange) -> None:
        if self._crashes:
            self._changes.append(change)

    def _settle(self, numbers: Iterable[int]) -> None:
        """Makes changes of names durable, and before each the earlier ones of the same names."""
        chosen: set[int] = set()
        names: set[tuple[str, str] | None] = set()
        wanted = set(numbers)
        for number in range(len(self._changes) - 1, -1, -1):
            change = self._changes[number]
            places = {change.came, change.went} - {None}
            if number in wanted or places & names:
                chosen.add(number)
                names |= places
        for number in sorted(chosen):
            self._settle_one(self._changes[number])
        self._changes = [change for number, change in enumerate(self._changes) if number not in chosen]

    def _settle_one(self, change: _NameChange) -> None:
        if change.made is not None:
            self._firm_rooms.add(change.made)
        if change.went is not None:
            room, name = change.went
            if self._durable.get(room, {}).get(name) is change.inode:
                del self._durable[room][name]
        if change.came is not None and change.inode is not None:
            room, name = change.came
            self._durable.setdefault(room, {})[name] = change.inode

    def _inodes(self) -> Iterable[Inode]:
        return {id(inode): inode for room in self._rooms.values() for inode in room.values()}.values()


class SimFile:
    """An open file of a `SimDisk`; see `p2pcdn.world.DiskFile`."""

    def __init__(self, disk: SimDisk, inode: Inode, path: str, *, writable: bool) -> None:
        self._disk = disk
        self._inode = inode
        self._path = path
        self._writable = writable
        self._generation = disk.generation
        self._closed = False
        inode.handles += 1

    def fileno(self) -> int:
        return -1

    async def pread(self, size_bytes: int, offset: int) -> bytes:
        await self._enter("pread")
        return self._inode.seen.read(size_bytes, offset)

    async def pwrite(self, content: Octets, offset: int) -> None:
        await self._enter("pwrite", writes=True)
        self._disk.write(self._inode, memoryview(content).cast("B"), offset, self._path)

    async def fsync(self) -> None:
        try:
            await self._enter("fsync")
        except PowerCut:
            raise
        except OSError:
            self._inode.sync_failed()
            raise
        self._inode.sync()

    async def truncate(self, size_bytes: int) -> None:
        await self._enter("truncate", writes=True)
        self._disk.truncate(self._inode, size_bytes)

    def size_bytes(self) -> int:
        self._refuse_if_dead()
        return self._inode.seen.size_bytes

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if self._generation == self._disk.generation:
                self._disk.closed(self._inode)

    async def _enter(self, call: FileCall, *, writes: bool = False) -> None:
        self._refuse_if_dead()
        if writes and not self._writable:
            raise _error(errno.EBADF, self._path)
        await self._disk.enter(call, self._path)

    def _refuse_if_dead(self) -> None:
        if self._generation != self._disk.generation:
            raise PowerCut
        if self._closed:
            raise _error(errno.EBADF, self._path)


def _parent(path: str) -> tuple[str, str]:
    room, _, name = path.rpartition("/")
    return room, name


def _error(code: int, path: str) -> OSError:
    return OSError(code, os.strerror(code), path)
