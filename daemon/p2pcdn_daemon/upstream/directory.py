"""A directory of this machine as an index: a tree of project pages, project directories, or a flat heap of files."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from io import FileIO
from pathlib import Path
from urllib.parse import unquote, urlsplit

import trio

from p2pcdn.errors import NotFound, Refused, Unavailable
from p2pcdn.names import is_file_name, normalize_project, projects_of
from p2pcdn.world import Index, UpstreamResponse

JSON_TYPE = "application/vnd.pypi.simple.v1+json"

# Pages that generators write beside the files, the best first; the type that each is given out as.
PAGE_NAMES = {
    "index.v1_json": JSON_TYPE,
    "index.v1_html": "application/vnd.pypi.simple.v1+html",
    "index.html": "text/html; charset=utf-8",
}

# What may be read as a file: nothing else of the user's is given out, whatever a page links to.
FILE_SUFFIXES = (
    *(".whl", ".egg", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.Z", ".tar"),
    *(".metadata", ".asc", ".provenance", ".exe", ".msi", ".rpm", ".dmg", ".deb"),
)

# A read of a disk is quick; an answer is a few of them.
READ_SIZE_BYTES = 1024 * 1024

# Hashing goes on at some 1.5 GB/s; a client waits 15 s for its page (pip), so it hears "not yet" before that. What is
# hashed by then is remembered, and the work goes on.
PAGE_TIME_S = 10.0

_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a URL led to: a page made here (content), or an open file."""

    content_type: str
    etag: str
    modified_s: float
    size_bytes: int
    content: bytes = b""
    # Closed with its last reference: a thread that was left behind may open a file for nobody.
    file: FileIO | None = None


@dataclass(slots=True)
class Hashes:
    """The sha256 of files, as long as they are the same. Used by many threads; a file is hashed once at a time."""

    _known: dict[Path, tuple[_Stamp, str]] = field(default_factory=dict)
    _running: dict[Path, threading.Lock] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def sha256(self, path: Path) -> tuple[str, int]:
        """64 hexadecimal digits, and the size in bytes of what was hashed. Raises OSError."""
        with self._lock:
            running = self._running.setdefault(path, threading.Lock())
        with running:
            descriptor = os.open(path, _READING)
            with os.fdopen(descriptor, "rb") as file:
                state = os.fstat(descriptor)
                stamp, digest = self._known.get(path, (None, ""))
                if stamp != _stamp_of(state):
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            self._known[path] = _stamp_of(state), digest
            return digest, state.st_size


# Builds that can be repeated give their files a time of their own choice, and copies keep it: a new file of the same
# size and time is told by its inode, and a changed one by the time of that.
_Stamp = tuple[int, int, int, int]


def _stamp_of(state: os.stat_result) -> _Stamp:
    return state.st_ino, state.st_ctime_ns, state.st_mtime_ns, state.st_size


class DirectoryUpstream:
    """The `p2pcdn.world.Upstream` for indexes whose URL is `file:///…/`. Nothing outside of their tree is read.

    Where the directory is named `simple`, its parent is the tree: mirrors put the files beside their pages.
    """

    def __init__(self, hashes: Hashes | None = None, page_time_s: float = PAGE_TIME_S) -> None:
        self._hashes = hashes or Hashes()
        self._page_time_s = page_time_s

    @asynccontextmanager
    async def get(
        self, index: Index, url: str, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[UpstreamResponse]:
        """See `p2pcdn.world.Upstream.get`. Knows If-None-Match, If-Modified-Since, Range of one range, and If-Range."""
        asked = {name.lower(): value for name, value in (headers or {}).items()}
        try:
            with trio.fail_after(self._page_time_s):
                # Left behind at the deadline, and not lost: what it hashes is remembered for the next who asks.
                found = await trio.to_thread.run_sync(self._find, index.url, url, abandon_on_cancel=True)
        except trio.TooSlowError as error:
            raise Unavailable("The files of a directory are still being hashed; ask again in a few seconds.") from error
        except NotFound:
            found = None
        except OSError as error:
            raise Unavailable(
                f"{index.url} cannot be read: {error.strerror}. Look at how it is written; offline, it is not asked."
            ) from error
        if found is None:
            yield UpstreamResponse(404, {"content-length": "0"}, url, _nothing())
            return
        with found.file or nullcontext():
            yield _response(found, url, asked)

    def _find(self, root_url: str, url: str) -> _Found:
        root, path = _path(root_url), _path(url)
        is_page = not root_url.endswith("/")
        tree = Path(os.path.realpath(root.parent if root.name == "simple" or is_page else root))
        if url == root_url and not url.endswith("/"):
            return _open(root, PAGE_NAMES["index.html"])  # a page of links (`Index.flat`)
        if url.endswith("/") and path == root:
            return self._project_list(root)
        if url.endswith("/") and path.parent == root:
            return self._project(root, tree, path.name)
        return _open_file(tree, path)

    def _project(self, root: Path, tree: Path, name: str) -> _Found:
        try:
            project = normalize_project(name)
        except ValueError as error:
            raise NotFound(f"{name[:80]!r} is not a project name.") from error
        directories = [root / project] if (root / project).is_dir() else []
        directories = directories or [found for found in _subdirectories(root) if _normalized(found.name) == project]
        for directory in directories:
            for page_name, content_type in PAGE_NAMES.items():
                with suppress(NotFound, FileNotFoundError):
                    return _open(_inside(tree, directory / page_name), content_type)
        files = [path for place in (*directories, root) for path in _files(place) if project in _owners(path.name)]
        if not files and not directories:
            raise NotFound(f"There is no {project} in the directory.")
        return self._page(tree, project, files)

    def _page(self, tree: Path, project: str, files: list[Path]) -> _Found:
        listed, seen, modified_s = [], set(), 0.0
        for path in sorted(files, key=lambda path: path.name):
            if path.name in seen:
                continue
            # A file may vanish, or lead out of the tree, while the page is made: then it is not on it.
            with suppress(OSError, Refused, NotFound):
                real = _inside(tree, path)
                digest, size_bytes = self._hashes.sha256(real)
                listed.append(
                    {
                        "filename": path.name,
                        "url": path.as_uri(),
                        "hashes": {"sha256": digest},
                        "size": size_bytes,
                        **self._core_metadata(tree, path),
                    }
                )
                seen.add(path.name)
                modified_s = max(modified_s, real.stat().st_mtime)
        return _made(
            {"meta": {"api-version": "1.1"}, "name": project, "versions": _versions(seen), "files": listed}, modified_s
        )

    def _core_metadata(self, tree: Path, path: Path) -> dict[str, object]:
        with suppress(OSError, Refused, NotFound):
            digest, _ = self._hashes.sha256(_inside(tree, path.with_name(path.name + ".metadata")))
            return {"core-metadata": {"sha256": digest}}
        return {}

    def _project_list(self, root: Path) -> _Found:
        for page_name, content_type in PAGE_NAMES.items():
            with suppress(NotFound, FileNotFoundError):
                return _open(_inside(Path(os.path.realpath(root)), root / page_name), content_type)
        names = {_normalized(directory.name) for directory in _subdirectories(root)}
        names.update(owner for path in _files(root) for owner in _owners(path.name))
        projects = [{"name": name} for name in sorted(names - {""})]
        return _made({"meta": {"api-version": "1.1"}, "projects": projects}, 0.0)


def _path(url: str) -> Path:
    """The path of a file: URL, dots taken out. Raises Refused for what is not one of this machine."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not path.startswith("/") or "\0" in path:
        raise Refused("A page of a directory led to something that is not a file of this machine.")
    return Path(os.path.normpath("/" + path.lstrip("/")))


def _inside(tree: Path, path: Path) -> Path:
    """The real path, all links resolved. Raises NotFound, and Refused where it is outside of the tree (a real path)."""
    try:
        real = Path(os.path.realpath(path, strict=True))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"There is no {path.name} in the directory.") from error
    if not real.is_relative_to(tree):
        raise Refused(f"{path.name} lies outside of the directory that was configured; it is not given out.")
    return real


def _open_file(tree: Path, path: Path) -> _Found:
    if not is_file_name(path.name) or not path.name.endswith(FILE_SUFFIXES):
        if not path.is_relative_to(tree):
            raise Refused("A page of a directory led out of it.")
        raise NotFound(f"There is no distribution {path.name!r}.")
    return _open(_inside(tree, path), "application/octet-stream")


def _open(real: Path, content_type: str) -> _Found:
    try:
        file = FileIO(os.open(real, _READING), "r")
    except IsADirectoryError as error:
        raise NotFound(f"{real.name} is not a file.") from error
    state = os.fstat(file.fileno())
    if not stat.S_ISREG(state.st_mode):
        file.close()
        raise NotFound(f"{real.name} is not a file.")
    etag = f'"{"-".join(f"{part:x}" for part in _stamp_of(state))}"'
    return _Found(content_type, etag, state.st_mtime, state.st_size, file=file)


def _made(page: Mapping[str, object], modified_s: float) -> _Found:
    content = json.dumps(page).encode()
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return _Found(JSON_TYPE, etag, modified_s, len(content), content=content)


def _subdirectories(root: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError, NotADirectoryError):
        yield from (Path(found.path) for found in os.scandir(root) if found.is_dir())


def _files(place: Path) -> Iterator[Path]:
    with os.scandir(place) as found:
        yield from (Path(one.path) for one in found if is_file_name(one.name) and one.is_file())


def _owners(filename: str) -> tuple[str, ...]:
    """The project of a distribution's file; none for what is no distribution (a `.metadata`, a `.asc`)."""
    return tuple(project for project, _ in zip(projects_of(filename), (0,), strict=False))


def _normalized(name: str) -> str:
    try:
        return normalize_project(name)
    except ValueError:
        return ""


def _versions(filenames: set[str]) -> list[str]:
    return sorted({name.split("-")[1] for name in filenames if name.endswith(".whl") and name.count("-") >= 4})


def _response(found: _Found, url: str, asked: Mapping[str, str]) -> UpstreamResponse:
    fields = {"etag": found.etag, "cache-control": "no-cache", "accept-ranges": "bytes"}
    if found.modified_s:
        fields["last-modified"] = formatdate(found.modified_s, usegmt=True)
    if _unchanged(found, asked):
        return UpstreamResponse(304, fields, url, _nothing())
    fields["content-type"] = found.content_type
    status, start, end = 200, 0, found.size_bytes
    wanted = _RANGE.fullmatch(asked.get("range", "").replace(" ", ""))
    if (
        wanted
        and any(wanted.groups())
        and asked.get("if-range", found.etag) in (found.etag, fields.get("last-modified"))
    ):
        start, end = _range(wanted[1], wanted[2], found.size_bytes)
        if start >= end:
            fields["content-range"] = f"bytes */{found.size_bytes}"
            return UpstreamResponse(416, fields | {"content-length": "0"}, url, _nothing())
        status = 206
        fields["content-range"] = f"bytes {start}-{end - 1}/{found.size_bytes}"
    fields["content-length"] = str(end - start)
    return UpstreamResponse(status, fields, url, _body(found, start, end))


def _unchanged(found: _Found, asked: Mapping[str, str]) -> bool:
    if tags := asked.get("if-none-match"):
        return tags.strip() == "*" or found.etag in (tag.strip().removeprefix("W/") for tag in tags.split(","))
    with suppress(ValueError, KeyError):
        return 0 < int(found.modified_s) <= parsedate_to_datetime(asked["if-modified-since"]).timestamp()
    return False


def _range(first: str, last: str, size_bytes: int) -> tuple[int, int]:
    """[start, end) of one range (RFC 9110, section 14.1.2); empty where it cannot be satisfied."""
    if not first:
        return max(0, size_bytes - int(last)), size_bytes
    return int(first), min(int(last) + 1, size_bytes) if last else size_bytes


async def _body(found: _Found, start: int, end: int) -> AsyncIterator[bytes]:
    if found.file is None:
        yield found.content[start:end]
        return
    descriptor = found.file.fileno()
    while start < end:
        try:
            part = await trio.to_thread.run_sync(os.pread, descriptor, min(READ_SIZE_BYTES, end - start), start)
        except OSError as error:
            raise Unavailable(f"A file of the directory cannot be read: {error.strerror}.") from error
        if not part:
            raise Unavailable("A file of the directory became shorter while it was read; nothing of it was kept.")
        start += len(part)
        yield part


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
