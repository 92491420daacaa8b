"""The p2pcdn that this node was started from: whether it still lies there, or another was put in its place."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import p2pcdn
from p2pcdn.errors import Leaving, Replaced

_NOT_THE_SAME = "Another p2pcdn is installed now than the one that this node was started from"


class InstalledPackage:
    """The `p2pcdn.world.Installed` of the real world. Used by one trio loop; a look costs one system call.

    leave: ends the node, where whoever started it starts another one.
    """

    def __init__(
        self,
        leave: Callable[[], None] | None = None,
        *,
        package: Path = Path(p2pcdn.__file__).parent,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._leave = leave
        self._restart = _restart(environ)
        # RECORD names every file by its hash; in a checkout there is none, and the version must do.
        record = package.parent / f"p2pcdn-{p2pcdn.__version__}.dist-info" / "RECORD"
        self._file = record if record.exists() else package / "__init__.py"
        self._seen = _mark(self._file)
        self._code = _code(self._file)

    def check(self) -> None:
        seen = _mark(self._file)
        if seen == self._seen:
            return
        if _code(self._file) == self._code:  # installed again, or linked anew
            self._seen = seen
            return
        if self._leave is None:
            raise Replaced(f"{_NOT_THE_SAME}; restart the node: {self._restart}. Nothing was done.")
        self._leave()
        raise Leaving(f"{_NOT_THE_SAME}, so it ends; the next command starts another. Nothing was done.")


def _restart(environ: Mapping[str, str]) -> str:
    """How, in a user's words."""
    if "NOTIFY_SOCKET" not in environ:
        return f"end it (process {os.getpid()}) and run `p2pcdn serve`"
    # Only the services of a user's own systemd know of that (systemd.exec(5)).
    return f"`systemctl{' --user' if 'MANAGERPID' in environ else ''} restart p2pcdn`"


def _mark(file: Path) -> tuple[int, ...]:
    try:
        status = file.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _code(file: Path) -> frozenset[str]:
    """The lines that say which code it is: what else stands in a RECORD, installers and byte code add."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(line for line in lines if file.name != "RECORD" or ".py,sha256=" in line)
