"""What is to be done to make an environment, ready to be carried out: directories, links, and the few files to write.

A plan knows no machine and no venv: paths are relative to the environment's root, trees are named by their wheel's
place in `wheels`, and interpreters are filled in when it is carried out. So one plan serves everybody with the same
lock and platform.
"""

from __future__ import annotations

import json

# No dataclass: this file is on zephyr's hot path (see __init__).
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, Literal

    # Of what a link is made: of the wheel's tree, or of the byte code that the node compiled for it.
    Origin = Literal["tree", "bytecode"]
    # What a script is made of: an entry point ("a.b:c.d"), or a file of the tree whose first line is replaced.
    Kind = Literal["console", "gui", "file", "guifile"]

FORMAT = 1


class PlannedWheel:
    """A wheel of the plan. startup: its files that run code at each start of the interpreter (.pth, sitecustomize)."""

    __slots__ = ("filename", "project", "requested", "sha256", "startup", "version")

    def __init__(
        self, project: str, version: str, filename: str, sha256: str, requested: bool, startup: Sequence[str] = ()
    ) -> None:
        self.project = project
        self.version = version
        self.filename = filename
        self.sha256 = sha256
        self.requested = requested
        self.startup = tuple(startup)

    def row(self) -> list[Any]:
        return [self.project, self.version, self.filename, self.sha256, self.requested, list(self.startup)]


class Links:
    """Files that are linked from one directory into one other under their own names.

    wheel: whose. origin: out of its tree, or out of its byte code. source, target: the directories, "" or with a
    slash at the end.
    """

    __slots__ = ("names", "origin", "source", "target", "wheel")

    def __init__(self, wheel: int, origin: Origin, source: str, target: str, names: list[str]) -> None:
        self.wheel = wheel
        self.origin = origin
        self.source = source
        self.target = target
        self.names = names

    def row(self) -> list[Any]:
        return [self.wheel, self.origin, self.source, self.target, self.names]


class Record:
    """The RECORD of one wheel, as far as it can be known beforehand.

    path: where it is written. base: the tree's own RECORD that it begins with, "" for none. rows: what is added.
    bytecode: the paths of linked byte code, which RECORD lists without a hash. Rows of scripts are added when they
    are written.
    """

    __slots__ = ("base", "path", "rows", "wheel")

    def __init__(self, wheel: int, path: str, base: str, rows: str) -> None:
        self.wheel = wheel
        self.path = path
        self.base = base
        self.rows = rows

    def row(self) -> list[Any]:
        return [self.wheel, self.path, self.base, self.rows]


class Script:
    """A file that names the interpreter of its environment.

    path: where it is written (without `.exe`). recorded: its path in RECORD. kind: what value is. value:
    "module:attribute", or the path in the tree.
    """

    __slots__ = ("kind", "path", "recorded", "value", "wheel")

    def __init__(self, wheel: int, path: str, recorded: str, kind: Kind, value: str) -> None:
        self.wheel = wheel
        self.path = path
        self.recorded = recorded
        self.kind = kind
        self.value = value

    def row(self) -> list[Any]:
        return [self.wheel, self.path, self.recorded, self.kind, self.value]


class Write:
    """A small file with text that is known beforehand: INSTALLER, REQUESTED, direct_url.json."""

    __slots__ = ("path", "text")

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text

    def row(self) -> list[Any]:
        return [self.path, self.text]


class Conflict:
    """Two wheels that bring the same path with different content; winner and loser are places in `Plan.wheels`."""

    __slots__ = ("loser", "path", "winner")

    def __init__(self, path: str, winner: int, loser: int) -> None:
        self.path = path
        self.winner = winner
        self.loser = loser

    def row(self) -> list[Any]:
        return [self.path, self.winner, self.loser]


class Plan:
    """All of an environment that comes from wheels.

    site: where the packages go, relative to the root. directories: parents first. windows: scripts are launchers.
    """

    __slots__ = (
        "_content",
        "_digest",
        "_encoded",
        "conflicts",
        "directories",
        "links",
        "python",
        "records",
        "scripts",
        "site",
        "wheels",
        "windows",
        "writes",
    )

    def __init__(
        self,
        *,
        python: str,
        site: str,
        windows: bool,
        wheels: Sequence[PlannedWheel],
        directories: Sequence[str],
        links: Sequence[Links],
        records: Sequence[Record],
        scripts: Sequence[Script],
        writes: Sequence[Write],
        conflicts: Sequence[Conflict],
    ) -> None:
        self.python = python
        self.site = site
        self.windows = windows
        self.wheels = tuple(wheels)
        self.directories = tuple(directories)
        self.links = tuple(links)
        self.records = tuple(records)
        self.scripts = tuple(scripts)
        self.writes = tuple(writes)
        self.conflicts = tuple(conflicts)
        self._encoded = b""
        self._digest = ""
        self._content = ""

    def encode(self) -> bytes:
        """The same bytes for the same plan."""
        if not self._encoded:
            value = {
                "format": FORMAT,
                "python": self.python,
                "site": self.site,
                "windows": self.windows,
                "wheels": [wheel.row() for wheel in self.wheels],
                "directories": self.directories,
                "links": [links.row() for links in self.links],
                "records": [record.row() for record in self.records],
                "scripts": [script.row() for script in self.scripts],
                "writes": [write.row() for write in self.writes],
                "conflicts": [conflict.row() for conflict in self.conflicts],
            }
            self._encoded = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        return self._encoded

    @classmethod
    def decode(cls, encoded: bytes, digest: str = "", content: str = "") -> Plan:
        """Raises ValueError for what this version did not write. Whoever gives it must be trusted: paths are not
        checked, nor are digest and content, where they told them.
        """
        value = json.loads(encoded)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise ValueError("not a plan of this format")
        try:
            plan = cls(
                python=value["python"],
                site=value["site"],
                windows=value["windows"],
                wheels=[PlannedWheel(*row) for row in value["wheels"]],
                directories=value["directories"],
                links=[Links(*row) for row in value["links"]],
                records=[Record(*row) for row in value["records"]],
                scripts=[Script(*row) for row in value["scripts"]],
                writes=[Write(*row) for row in value["writes"]],
                conflicts=[Conflict(*row) for row in value["conflicts"]],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a plan of this format: {error!r}") from error
        plan._encoded = encoded
        plan._digest = digest
        plan._content = content
        return plan

    def digest(self) -> str:
        """The sha256 of its encoding: two environments with one digest hold the same."""
        if not self._digest:
            self._digest = _sha256(self.encode())
        return self._digest

    def content(self) -> str:
        """The sha256 of what decides all but the byte code: whatever store the wheels came out of, and when."""
        if not self._content:
            rows = [[one.row() for one in some] for some in (self.wheels, self.scripts, self.writes)]
            value = [self.python, self.site, self.windows, *rows, [record.path for record in self.records]]
            self._content = _sha256(json.dumps(value).encode())
        return self._content

    def outside_site(self) -> Plan:
        """What is left to do where site-packages are one link to a tree (link mode `env`): a tenth, as a rule.

        And what says whence packages came, which is not done: whoever asks for them again looks for it in a plan.
        """
        below = f"{self.site}/"
        return Plan(
            python=self.python,
            site=self.site,
            windows=self.windows,
            wheels=self.wheels,
            directories=[path for path in self.directories if not path.startswith(below)],
            links=[links for links in self.links if not links.target.startswith(below)],
            records=[record for record in self.records if not record.path.startswith(below)],
            scripts=self.scripts,
            writes=[
                write
                for write in self.writes
                if not write.path.startswith(below) or write.path.endswith("/direct_url.json")
            ],
            conflicts=self.conflicts,
        )

    def paths(self) -> Iterator[str]:
        """Every file that it makes, scripts under their written names."""
        for links in self.links:
            for name in links.names:
                yield links.target + name
        yield from self.written()

    def distributions(self) -> list[str]:
        """The names of its .dist-info directories."""
        return [record.path.split("/")[-2] for record in self.records]

    def written(self) -> Iterator[str]:
        """Those of them that are no links."""
        for record in self.records:
            yield record.path
        for script in self.scripts:
            yield script_name(script.path, windows=self.windows)
        for write in self.writes:
            yield write.path

    def told(self) -> list[str]:
        """The conflicts as sentences."""
        names = [f"{wheel.project} {wheel.version}" for wheel in self.wheels]
        pairs = [(one.path, names[one.winner], names[one.loser]) for one in self.conflicts]
        return [
            f"{path} is in {loser} and in {winner}, and not the same: {winner}'s was taken."
            for path, winner, loser in pairs
        ]


def _sha256(octets: bytes) -> str:
    from hashlib import sha256  # OpenSSL takes 3 ms to load; who was told a digest has no need of it.

    return sha256(octets).hexdigest()


def script_name(path: str, *, windows: bool) -> str:
    return path + ".exe" if windows else path
