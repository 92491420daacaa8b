"""`p2pcdn setup pip|uv|poetry|pdm`: an installer's own settings file is pointed at this node, and back again.

Only the lines that name the index change; a record in our state directory remembers what stood there. Undo gives the
file back byte for byte where nobody has edited it since, and else takes back only what setup had put in.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from p2pcdn_daemon.clients.client_config import ClientIndexes, FoundUpstream, leads_to
from p2pcdn_daemon.clients.installer import Client, User, addresses, read_text
from p2pcdn_daemon.clients.setup_pip import Pip
from p2pcdn_daemon.clients.setup_toml import Pdm, Poetry, Uv
from p2pcdn_daemon.configuration.config import ConfigError

ETC = Path("/etc")
CLIENTS: dict[str, Client] = {"pip": Pip(), "uv": Uv(), "poetry": Poetry(), "pdm": Pdm()}


@dataclass(frozen=True, slots=True)
class Change:
    """What `apply` or `undo` did.

    changed: False where all was as it should be. previous_upstreams: the indexes that the installer used instead of us
    until now, to become the node's own upstreams, in order; they may hold credentials, so they are not printed. Empty
    where nothing was configured: the node then finds by itself what it needs. notes: sentences for the user.
    """

    client: str
    path: Path
    changed: bool
    previous_upstreams: tuple[FoundUpstream, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()


def apply(
    client: str,
    index_url: str,
    *,
    project: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    etc: Path = ETC,
) -> Change:
    """Points an installer at index_url, this node's Simple API; a second time with the same URL changes nothing.

    project: the directory of a poetry project; the others have settings of the user's. A file that gets a URL with a
    token in its path becomes readable by its owner only. Raises ConfigError, one sentence, where that is impossible.
    """
    kind = _client(client)
    user = User(environ, etc)
    path = kind.path(user, project)
    record_path = _record_path(client, path, environ)
    record = _Record.read(record_path)
    before = read_text(path)
    text = before or ""
    if kind.uses(text, index_url):
        return Change(client, path, False, (), tuple(kind.notes(text, index_url, user)))
    if record is not None and kind.uses(text, record.index_url):
        # Our URL of an earlier time, with another port or token: what stood there before us stays remembered.
        text = kind.restore(text, record.before or "", record.index_url)
        original, mode = record.before, record.mode
        previous: tuple[FoundUpstream, ...] = ()
    else:
        original, mode = before, _mode(path)
        previous = _previous(kind.indexes(text, user), index_url)
    after = kind.point(text, index_url, user)
    _Record(index_url, original, _digest(after), mode).write(record_path)
    _write(path, after, 0o600 if _is_private(index_url) or mode is None else mode)
    return Change(client, path, True, previous, tuple(kind.notes(after, index_url, user)))


def undo(
    client: str, *, project: Path | None = None, environ: Mapping[str, str] = os.environ, etc: Path = ETC
) -> Change:
    """Takes back what `apply` changed; without an earlier `apply` nothing changes and a note says so."""
    kind = _client(client)
    user = User(environ, etc)
    path = kind.path(user, project)
    record_path = _record_path(client, path, environ)
    record = _Record.read(record_path)
    if record is None:
        return Change(client, path, False, (), (f"{path} was not changed by `p2pcdn setup {client}`.",))
    text = read_text(path)
    notes: tuple[str, ...] = ()
    changed = True
    if text is not None and _digest(text) == record.after:
        _put_back(path, record.before, record.mode)
    elif text is not None and kind.uses(text, record.index_url):
        _write(path, kind.restore(text, record.before or "", record.index_url), record.mode or 0o600)
        notes = (f"{path} was edited since; only the index of this node was taken out of it.",)
    else:
        changed = False
        notes = (f"{path} does not name this node any more; it was left as it is.",)
    record_path.unlink(missing_ok=True)
    return Change(client, path, changed, (), notes)


def _client(name: str) -> Client:
    if name not in CLIENTS:
        raise ConfigError(f"{name!r} is not one of {', '.join(CLIENTS)}.")
    return CLIENTS[name]


def _previous(indexes: ClientIndexes, index_url: str) -> tuple[FoundUpstream, ...]:
    ours = addresses(index_url)
    default = next((found for found in indexes.defaults if not leads_to(found.url, ours)), None)
    if default is None:
        return ()
    ordered = (*indexes.extras, default) if indexes.before_default else (default, *indexes.extras)
    once = {found.url_with_credentials: found for found in reversed(ordered) if not leads_to(found.url, ours)}
    return tuple(reversed(once.values()))


def _is_private(index_url: str) -> bool:
    """Whether the URL is a secret: it has a password, or a path with more than the public index's."""
    parts = urlsplit(index_url)
    return "@" in parts.netloc or parts.path.strip("/") not in ("", "simple")


@dataclass(frozen=True, slots=True)
class _Record:
    """What undo needs: before is the file's text (None: there was none), after the sha256 of what setup wrote."""

    index_url: str
    before: str | None
    after: str
    mode: int | None

    @classmethod
    def read(cls, path: Path) -> _Record | None:
        try:
            said = json.loads(path.read_text("utf-8"))
            before = None if said["before"] is None else base64.b64decode(said["before"]).decode()
            return cls(str(said["index_url"]), before, str(said["after"]), said["mode"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}, which says how to undo, cannot be read: {error}") from error

    def write(self, path: Path) -> None:
        before = None if self.before is None else base64.b64encode(self.before.encode()).decode("ascii")
        said = {"index_url": self.index_url, "before": before, "after": self.after, "mode": self.mode}
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(path, json.dumps(said), 0o600)


def _record_path(client: str, path: Path, environ: Mapping[str, str]) -> Path:
    named = environ.get("XDG_STATE_HOME", "")
    state = Path(named) if named.startswith("/") else Path(environ.get("HOME") or Path.home()) / ".local" / "state"
    return state / "p2pcdn" / "setup" / f"{client}-{hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:16]}.json"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        return None


def _put_back(path: Path, before: str | None, mode: int | None) -> None:
    if before is None:
        path.unlink()
    else:
        _write(path, before, mode or 0o600)


def _write(path: Path, text: str, mode: int) -> None:
    """Replaces the file in one step; where it is a link, the file behind it (dotfiles are often links)."""
    target = path.resolve()
    temporary: str | None = None
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(text.encode())
            os.fchmod(opened.fileno(), mode)
            if os.geteuid() == 0 and target.exists():
                os.fchown(opened.fileno(), target.stat().st_uid, target.stat().st_gid)
            opened.flush()
            os.fsync(opened.fileno())
        Path(temporary).replace(target)
    except OSError as error:
        if temporary is not None:
            with suppress(FileNotFoundError):
                Path(temporary).unlink()
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from error
