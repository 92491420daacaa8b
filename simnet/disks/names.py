"""The names of a simulated disk: those that a lookup sees, and those that are left when the power goes."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterable
from dataclasses import dataclass

from simnet.disks.disk_faults import disk_error
from simnet.disks.inode import Inode

# A directory's path, and a name in it.
Place = tuple[str, str]


@dataclass(slots=True)
class _Change:
    """An entry that was made, moved or taken away, and that no sync made durable yet. made: a directory's own path."""

    inode: Inode | None = None
    came: Place | None = None
    went: Place | None = None
    made: str | None = None

    def touches(self, directory: str) -> bool:
        return any(place is not None and place[0] == directory for place in (self.came, self.went)) or (
            self.made is not None and place_of(self.made)[0] == directory
        )


class Names:
    """rooms: directories and what a lookup sees in them.

    ordered: changes become durable in their order, as on a journalled file system; else any of them may. crashes False:
    nobody will cut the power, and nothing is remembered for that.
    """

    def __init__(self, *, ordered: bool, crashes: bool) -> None:
        self.rooms: dict[str, dict[str, Inode]] = {}
        self._ordered = ordered
        self._crashes = crashes
        self._durable: dict[str, dict[str, Inode]] = {}
        self._firm_rooms: set[str] = set()  # directories whose own name is durable
        self._changes: list[_Change] = []

    def room(self, path: str) -> dict[str, Inode]:
        """What is in a directory. Raises ENOENT."""
        try:
            return self.rooms[path]
        except KeyError:
            raise disk_error(errno.ENOENT, path) from None

    def inodes(self) -> Iterable[Inode]:
        """Each once."""
        return {id(inode): inode for room in self.rooms.values() for inode in room.values()}.values()

    def files(self) -> list[tuple[str, Inode]]:
        """All of them, by their paths."""
        return [
            (f"{room}/{name}", inode)
            for room, entries in sorted(self.rooms.items())
            for name, inode in sorted(entries.items())
        ]

    # --- changes

    def add_room(self, path: str) -> None:
        """A directory that is there, durably."""
        self.rooms.setdefault(path, {})
        self._firm_rooms.add(path)

    def make_room(self, path: str) -> None:
        self.rooms[path] = {}
        self._note(_Change(made=path))

    def add(self, inode: Inode, place: Place) -> None:
        self.room(place[0])[place[1]] = inode
        inode.names += 1
        self._note(_Change(inode, came=place))

    def move(self, went: Place, came: Place) -> Inode | None:
        """Gives the inode that lost its name by that. Raises ENOENT."""
        source, target = self.room(went[0]), self.room(came[0])
        if went[1] not in source:
            raise disk_error(errno.ENOENT, "/".join(went))
        if went == came:
            return None
        inode = source.pop(went[1])
        replaced = target.get(came[1])
        target[came[1]] = inode
        self._note(_Change(inode, came=came, went=went))
        return replaced

    def remove(self, place: Place) -> Inode:
        """Gives the inode that lost its name. Raises ENOENT."""
        inode = self.room(place[0]).pop(place[1], None)
        if inode is None:
            raise disk_error(errno.ENOENT, "/".join(place))
        self._note(_Change(inode, went=place))
        return inode

    def _note(self, change: _Change) -> None:
        if self._crashes:
            self._changes.append(change)

    # --- what is durable

    def sync_room(self, path: str) -> None:
        """The names in it are durable; where changes are ordered, all that came before are, too. Raises ENOENT."""
        self.room(path)
        mine = [number for number, change in enumerate(self._changes) if change.touches(path)]
        if self._ordered and mine:
            mine = list(range(mine[-1] + 1))
        self._settle(mine)

    def sync(self) -> None:
        self._settle(range(len(self._changes)))

    def cut(self, dice: random.Random) -> None:
        """The power goes: some of the changes were durable already, the others did not happen."""
        assert self._crashes
        number = len(self._changes)
        if self._ordered:
            self._settle(range(dice.randint(0, number)))
        else:
            self._settle([one for one in range(number) if dice.random() < 0.5])
        self._changes.clear()
        lost = self.rooms.keys() - self._firm_rooms
        self._firm_rooms = {room for room in self._firm_rooms if not any(room.startswith(f"{one}/") for one in lost)}
        self._durable = {room: self._durable.get(room, {}) for room in sorted(self._firm_rooms)}
        self.rooms = {room: dict(entries) for room, entries in self._durable.items()}
        for inode in self.inodes():
            inode.names = sum(one is inode for entries in self.rooms.values() for one in entries.values())

    def _settle(self, numbers: Iterable[int]) -> None:
        """Makes changes durable, and before each the earlier ones of the same names."""
        chosen: set[int] = set()
        names: set[Place | None] = set()
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

    def _settle_one(self, change: _Change) -> None:
        if change.made is not None:
            self._firm_rooms.add(change.made)
        if change.went is not None:
            room, name = change.went
            if self._durable.get(room, {}).get(name) is change.inode:
                del self._durable[room][name]
        if change.came is not None and change.inode is not None:
            room, name = change.came
            self._durable.setdefault(room, {})[name] = change.inode


def place_of(path: str) -> Place:
    room, _, name = path.rpartition("/")
    return room, name
