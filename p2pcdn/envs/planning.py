"""Makes a plan: a pure function of what the chosen wheels hold and of the environment's scheme."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2pcdn.envs.errors import CannotPlan
from p2pcdn.envs.listing import Entry, Listing
from p2pcdn.envs.member_names import folded
from p2pcdn.envs.plan import Conflict, Links, Plan, PlannedWheel, Record, Script, Write, script_name
from p2pcdn.envs.record import record_digest, record_row
from p2pcdn.envs.scheme import Scheme

if TYPE_CHECKING:
    from p2pcdn.envs.plan import Kind, Origin

# What makes an environment an environment: a wheel that brings one of these would take it over.
_PROTECTED = re.compile(
    r"pyvenv\.cfg|\.zephyr($|/)"
    r"|(bin|Scripts)/(python[\d.]*t?|pythonw|activate(_this)?|deactivate)(\.exe|\.[a-z0-9]{1,5})?",
    re.IGNORECASE,
)
# Windows keeps these names for devices, whatever their ending.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*]')


@dataclass(frozen=True, slots=True)
class ReadyWheel:
    """A wheel whose tree is ready.

    sha256: of the wheel file. requested: the user named it. direct_url: the text of direct_url.json (PEP 610), of
    wheels that came by URL or path and not from an index. bytecode: what the node compiled for this interpreter, as
    "package/__pycache__/module.cpython-312.pyc" below the wheel's byte-code directory.
    """

    listing: Listing
    filename: str
    sha256: str
    requested: bool = False
    direct_url: str | None = None
    bytecode: tuple[str, ...] = ()


def make_plan(wheels: Sequence[ReadyWheel], scheme: Scheme, *, installer: str = "zephyr") -> Plan:
    """What makes an environment of these wheels, the same for the same arguments.

    Where two bring one path with different content, the later in `wheels` wins (give dependencies first, as pip
    installs them), the loser's RECORD does not list it, and the plan tells it. Where one brings a file and another a
    directory of that name, the directory wins. Raises CannotPlan for a path that no wheel may take.
    """
    return _Planner(wheels, scheme, installer).plan()


@dataclass(frozen=True, slots=True)
class _Placed:
    """One file on its way to its place. content: equal for equal bytes."""

    wheel: int
    target: str
    content: str
    source: str
    origin: Origin = "tree"
    kind: Kind | None = None
    size_bytes: int = 0


class _Planner:
    def __init__(self, wheels: Sequence[ReadyWheel], scheme: Scheme, installer: str) -> None:
        self._wheels = wheels
        self._scheme = scheme
        self._installer = installer
        self._winners: dict[str, _Placed] = {}
        self._conflicts: list[Conflict] = []
        # Below site-packages of their own, a wheel's plain files can take nothing that is not theirs.
        self._is_open = scheme.windows or not (scheme.purelib and scheme.platlib)
        # The wheels whose RECORD is not that of their tree, for some file of theirs went elsewhere or lost.
        self._rewritten: set[int] = set()
        self._by_wheel: dict[int, list[_Placed]] = {}

    def plan(self) -> Plan:
        self._check_projects()
        for number, wheel in enumerate(self._wheels):
            for placed in self._placed(number, wheel):
                self._put(placed)
        self._drop_files_in_the_way()
        self._drop_orphaned_bytecode()
        winners = list(self._winners.values())
        scripts = sorted((one for one in winners if one.kind), key=lambda one: one.target)
        links = tuple(self._links([one for one in winners if not one.kind]))
        records = [self._record(number) for number in range(len(self._wheels))]
        writes = [write for number in range(len(self._wheels)) for write in self._writes(number)]
        return Plan(
            python=self._scheme.python,
            site=self._scheme.purelib,
            windows=self._scheme.windows,
            wheels=[self._planned(wheel) for wheel in self._wheels],
            directories=_directories([*self._winners_targets(), *(write.path for write in writes)]),
            links=links,
            records=records,
            scripts=[self._script(one) for one in scripts],
            writes=writes,
            conflicts=sorted(self._conflicts, key=lambda one: (one.path, one.winner, one.loser)),
        )

    def _placed(self, number: int, wheel: ReadyWheel) -> Iterator[_Placed]:
        """All that one wheel brings, in order."""
        listing = wheel.listing
        written = self._written_here(listing)
        if listing.has_data:
            self._rewritten.add(number)
        for entry in listing.entries:
            target = self._target(listing, entry)
            if target in written:
                self._rewritten.add(number)
                continue
            if entry.part != "root" or self._is_open:
                self._check(wheel, target)
            if entry.shebang:
                kind: Kind = "guifile" if entry.shebang == "pythonw" else "file"
                yield _Placed(number, target, entry.sha256, entry.path, kind=kind)
            else:
                yield _Placed(number, target, entry.sha256, entry.path, size_bytes=entry.size_bytes)
        for point in listing.entry_points:
            target = _join(self._scheme.scripts, point.name)
            self._check(wheel, target)
            kind = "gui" if point.gui else "console"
            value = f"{point.module}:{point.attribute}"
            yield _Placed(number, target, f"{kind} {value}", value, kind=kind)
        for path in wheel.bytecode:
            yield _Placed(number, _join(self._root(listing), path), path, path, origin="bytecode")

    def _written_here(self, listing: Listing) -> tuple[str, ...]:
        """What a wheel must not say of itself: who installed it, at whose wish, and from where."""
        info = _join(self._root(listing), listing.info)
        return tuple(f"{info}/{name}" for name in ("INSTALLER", "REQUESTED", "direct_url.json"))

    def _root(self, listing: Listing) -> str:
        return self._scheme.purelib if listing.purelib else self._scheme.platlib

    def _target(self, listing: Listing, entry: Entry) -> str:
        if entry.part == "root":
            return _join(self._root(listing), entry.path)
        if entry.part == "headers":
            return _join(self._scheme.headers, f"{_plain(listing.project)}/{entry.place}")
        parts = {"purelib": self._scheme.purelib, "platlib": self._scheme.platlib, "scripts": self._scheme.scripts}
        return _join(parts.get(entry.part, self._scheme.data), entry.place)

    def _check_projects(self) -> None:
        seen: dict[str, Listing] = {}
        for wheel in self._wheels:
            listing = wheel.listing
            other = seen.setdefault(_plain(listing.project), listing)
            if other is not listing:
                raise CannotPlan(
                    f"{listing.project} is there twice, as {other.version} and as {listing.version}; one environment"
                    " holds one. Nothing was changed."
                )

    def _check(self, wheel: ReadyWheel, target: str) -> None:
        name = f"{wheel.listing.project} {wheel.listing.version}"
        below = _below(self._root(wheel.listing), target).partition("/")[0]
        if _PROTECTED.fullmatch(target) or _PROTECTED.match(target.partition("/")[0] + "/"):
            raise CannotPlan(f"{name} would replace {target} of the environment itself. Nothing was changed.")
        if below.endswith(".dist-info") and below != wheel.listing.info:
            raise CannotPlan(f"{name} would write {target}, which is another project's. Nothing was changed.")
        if self._scheme.windows:
            parts = target.split("/")
            if _NOT_ON_WINDOWS.search(target) or any(_DEVICES.fullmatch(one) or one[-1] in ". " for one in parts):
                raise CannotPlan(f"{name} has the file {target}, which Windows cannot have. Nothing was changed.")

    def _put(self, placed: _Placed) -> None:
        """The later wheel wins; the earlier one's RECORD forgets the file where it was another."""
        key = folded(placed.target) if self._scheme.folds_case else placed.target
        earlier = self._winners.get(key)
        self._winners[key] = placed
        if earlier is None or earlier.wheel == placed.wheel:
            return
        if earlier.content != placed.content or earlier.target != placed.target:
            self._lose(earlier, placed)

    def _lose(self, loser: _Placed, winner: _Placed) -> None:
        if loser.origin == "tree":
            self._conflicts.append(Conflict(winner.target, winner.wheel, loser.wheel))
        self._rewritten.add(loser.wheel)

    def _drop_files_in_the_way(self) -> None:
        """Where one path is a file and another lies below it, no environment can hold both: the directory wins."""
        directories = set(_directories(list(self._winners)))
        for key in sorted(directories & self._winners.keys()):
            file = self._winners.pop(key)
            self._lose(file, next(one for below, one in self._winners.items() if below.startswith(key + "/")))

    def _drop_orphaned_bytecode(self) -> None:
        """Byte code whose source lost its place would run in the winner's name."""
        for key in [key for key, one in self._winners.items() if one.origin == "bytecode"]:
            source = self._winners.get(_source_of(key))
            if source is None or source.wheel != self._winners[key].wheel:
                del self._winners[key]

    def _winners_targets(self) -> list[str]:
        return [one.target for one in self._winners.values()]

    def _links(self, placed: list[_Placed]) -> Iterator[Links]:
        groups: dict[tuple[int, Origin, str, str], list[str]] = {}
        for one in placed:
            source, target = one.source.rpartition("/")[0], one.target.rpartition("/")[0]
            key = (one.wheel, one.origin, source and source + "/", target and target + "/")
            groups.setdefault(key, []).append(one.target.rpartition("/")[2])
        for (wheel, origin, source, target), names in groups.items():
            yield Links(wheel, origin, source, target, names)

    def _record(self, number: int) -> Record:
        wheel = self._wheels[number]
        root = self._root(wheel.listing)
        path = _join(root, f"{wheel.listing.info}/RECORD")
        base = "" if number in self._rewritten else f"{wheel.listing.info}/RECORD"
        rows = [record_row(_below(root, write.path), *_digest_and_size(write.text)) for write in self._writes(number)]
        if not base:
            rows += [record_row(_below(root, path)), *self._own_rows(number, root)]
        bytecode = [one for one in self._own(number) if one.origin == "bytecode"]
        rows += [record_row(_below(root, one.target)) for one in bytecode]
        return Record(number, path, base, "".join(rows))

    def _own_rows(self, number: int, root: str) -> Iterator[str]:
        """A row for each linked file, also for those that another wheel brings with the same content."""
        written = self._written_here(self._wheels[number].listing)
        for entry in self._wheels[number].listing.entries:
            target = self._target(self._wheels[number].listing, entry)
            if target not in written and not entry.shebang and self._is_kept(target, entry.sha256):
                yield record_row(_below(root, target), entry.sha256, entry.size_bytes)

    def _is_kept(self, target: str, content: str) -> bool:
        winner = self._winners.get(folded(target) if self._scheme.folds_case else target)
        return winner is not None and winner.target == target and winner.content == content

    def _own(self, number: int) -> list[_Placed]:
        if not self._by_wheel:
            for one in self._winners.values():
                self._by_wheel.setdefault(one.wheel, []).append(one)
        return self._by_wheel.get(number, [])

    def _script(self, placed: _Placed) -> Script:
        assert placed.kind is not None
        root = self._root(self._wheels[placed.wheel].listing)
        written = script_name(placed.target, windows=self._scheme.windows)
        return Script(placed.wheel, placed.target, _below(root, written), placed.kind, placed.source)

    def _writes(self, number: int) -> list[Write]:
        wheel = self._wheels[number]
        info = _join(self._root(wheel.listing), wheel.listing.info)
        writes = [Write(f"{info}/INSTALLER", f"{self._installer}\n")]
        if wheel.requested:
            writes.append(Write(f"{info}/REQUESTED", ""))
        if wheel.direct_url is not None:
            writes.append(Write(f"{info}/direct_url.json", wheel.direct_url))
        return writes

    def _planned(self, wheel: ReadyWheel) -> PlannedWheel:
        listing = wheel.listing
        return PlannedWheel(
            listing.project, listing.version, wheel.filename, wheel.sha256, wheel.requested, listing.startup_files()
        )


def _join(directory: str, path: str) -> str:
    return f"{directory}/{path}" if directory else path


def _below(root: str, path: str) -> str:
    """The path as RECORD writes it: relative to the directory that holds the .dist-info."""
    prefix = root and root + "/"
    return path[len(prefix) :] if path.startswith(prefix) else posixpath.relpath(path, root or ".")


def _plain(project: str) -> str:
    return re.sub(r"[-_.]+", "-", project).lower()


def _digest_and_size(text: str) -> tuple[str, int]:
    content = text.encode()
    return record_digest(content), len(content)


def _source_of(bytecode: str) -> str:
    """The path of the module that `a/__pycache__/b.cpython-312.opt-1.pyc` was compiled from (PEP 3147, PEP 488)."""
    directory, _, name = bytecode.rpartition("/")
    return _join(directory.removesuffix("__pycache__").rstrip("/"), name.partition(".")[0] + ".py")


def _directories(paths: Sequence[str]) -> list[str]:
    """The directories that these files need, parents first."""
    found: set[str] = set()
    for path in paths:
        at = path.rfind("/")
        while at > 0 and path[:at] not in found:
            found.add(path[:at])
            at = path.rfind("/", 0, at)
    return sorted(found)
