"""The upstream of a LAN of real hosts: the faulty upstream of the bench, as a process on a host of its own.

As a module it is that process: python -m tests.real_hosts.upstream ADDRESS, with a `Holds` as JSON in the first line of
its input; each further line asks for something, and gets one line back.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Self

from tests.bench.node import ROOT
from tests.bench.upstream import FaultyUpstream, Style
from tests.bench.wheels import Distribution, make_wheel, real_wheels
from tests.real_hosts.lan import Host

# What was written into a socket and not sent counts as sent; this bounds it (the kernel doubles it).
SEND_BUFFER_BYTES = 64 * 1024
END_TIME_S_MAX = 10.0


@dataclass(frozen=True)
class Made:
    """A wheel of noise to be made: `make_wheel`'s arguments."""

    project: str
    version: str = "1.0"
    size_bytes: int = 0
    requires: Sequence[str] = ()


@dataclass(frozen=True)
class Holds:
    """What the upstream is to hold. real: also the pinned list of real wheels. credentials: it asks for them."""

    made: Sequence[Made] = ()
    real: bool = False
    credentials: tuple[str, str] | None = None


@dataclass(frozen=True)
class Held:
    """A file that it holds."""

    filename: str
    project: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Sent:
    """One answer so far: to whom, of what, how many bytes of body."""

    client: str
    method: str
    path: str
    range: str | None
    status: int
    body_bytes: int


@dataclass
class RemoteUpstream:
    """`with RemoteUpstream(host, holds) as upstream:` serves on that host until the block ends.

    url: the root of its Simple API. file_host: HOST:PORT of its files.
    """

    host: Host
    holds: Holds
    url: str = ""
    file_host: str = ""
    files: dict[str, Held] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self.host.command(sys.executable, "-m", "tests.real_hosts.upstream", self.host.address),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,  # where -m finds this file
        )
        try:
            begun = self._ask(asdict(self.holds))
        except BaseException:
            self._end()
            raise
        self.url, self.file_host = begun["url"], begun["file_host"]
        self.files = {row["filename"]: Held(**row) for row in begun["files"]}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._end()

    @property
    def url_with_credentials(self) -> str:
        assert self.holds.credentials
        return self.url.replace("://", "://{}:{}@".format(*self.holds.credentials))

    def file_of(self, project: str) -> Held:
        """The only file of a project."""
        (held,) = (held for held in self.files.values() if held.project == project)
        return held

    def sent(self, filename: str = "") -> list[Sent]:
        """All answers so far, or those to GETs of one file; running ones too."""
        rows = [Sent(**row) for row in self._ask("sent")]
        return [row for row in rows if not filename or (row.method == "GET" and row.path.endswith(f"/{filename}"))]

    def sent_bytes(self, filename: str) -> int:
        return sum(one.body_bytes for one in self.sent(filename))

    def forget(self) -> None:
        """Counts from zero."""
        self._ask("forget")

    def _ask(self, question: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the upstream ended with {self._process.wait(END_TIME_S_MAX)}"
        return json.loads(answer)

    def _end(self) -> None:
        self._process.kill()
        self._process.communicate()


def main() -> None:
    holds = json.loads(sys.stdin.readline())
    files: list[Distribution] = []
    for made in holds["made"]:
        files.append(make_wheel(made.pop("project"), made.pop("version"), **made))
    if holds["real"]:
        files += real_wheels().files
    private = holds["credentials"]
    # Credentials go to the index's own host and port only.
    style = Style(credentials=(private[0], private[1]), other_host=False) if private else Style()
    with FaultyUpstream(files, style, address=sys.argv[1], send_buffer_bytes=SEND_BUFFER_BYTES) as upstream:
        held = [asdict(Held(one.filename, one.project, one.sha256, len(one.content))) for one in files]
        _say({"url": upstream.url, "file_host": upstream.file_host, "files": held})
        for line in sys.stdin:
            _say(_answer(upstream, json.loads(line)))


def _answer(upstream: FaultyUpstream, question: Any) -> Any:
    if question == "forget":
        return upstream.forget()
    rows = upstream.seen()
    return [asdict(Sent(one.client, one.method, one.path, one.range, one.status, one.body_bytes)) for one in rows]


def _say(answer: object) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
