"""Tables and metadata of the configured index, fetched for the benchmark of the resolver and kept on its shelf."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import httpx

from benchmarks.resolve_shelf import Shelf
from p2pcdn.errors import P2pcdnError
from p2pcdn.fetch.wheel import wheel_metadata
from p2pcdn.resolve import Metadata, Need, Source, Table, read_metadata, table_of
from p2pcdn.simple import File, parse_page, told
from p2pcdn_daemon.clients.client_config import pypi

# What the public index takes without complaint, and what fills a line of 20 ms.
CONNECTIONS_MAX = 24
# Nothing is built here: what an sdist's PKG-INFO says is taken at its word, and a large one is left alone.
SDIST_SIZE_BYTES_MAX = 20_000_000
# Three thousand small answers in a row: some are lost on the way.
TRIES = 4
ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"


class Fetcher:
    """Fills the shelf with what a resolver needs and is not there yet."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        # By project and version; None for a project that does not exist.
        self._files: dict[str, dict[str, list[File]] | None] = {}
        limits = httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX)
        self._client = httpx.Client(timeout=60.0, follow_redirects=True, limits=limits)

    def fetch(self, need: Need) -> None:
        projects, sources = self._shelf.missing(need)
        with ThreadPoolExecutor(CONNECTIONS_MAX) as threads:
            tables = list(threads.map(self._table, projects))
            list(threads.map(self._page, {one.project for one in sources}))
            self._shelf.keep(tables, threads.map(self._metadata, sources))

    def _table(self, project: str) -> Table:
        files = self._page(project)
        if files is None:
            return Table(project, missing=f"there is no project {project}")
        return table_of(project, told([file for several in files.values() for file in several]), index=pypi().url)

    def _page(self, project: str) -> dict[str, list[File]] | None:
        if project not in self._files:
            answer = self._get(f"{pypi().url}{project}/", {"Accept": ACCEPT})
            self._files[project] = None if answer.status_code == httpx.codes.NOT_FOUND else _by_version(project, answer)
        return self._files[project]

    def _metadata(self, source: Source) -> Metadata:
        files = self._page(source.project)
        assert files is not None
        file = min(files[source.version], key=_is_sdist)
        try:
            if not _is_sdist(file):
                return read_metadata(source, self._of_wheel(file))
            if (file.size_bytes or 0) > SDIST_SIZE_BYTES_MAX:
                return Metadata(source, broken="its sdist is too large to look into here")
            return read_metadata(source, _pkg_info(self._get(file.url).raise_for_status().content))
        except (tarfile.TarError, P2pcdnError, ValueError) as error:
            return Metadata(source, broken=f"its metadata could not be read ({error})")

    def _of_wheel(self, file: File) -> str:
        beside = self._get(file.url + ".metadata")
        if beside.is_success:
            return beside.text
        assert file.size_bytes is not None
        return _now(wheel_metadata(file.filename, file.size_bytes, partial(self._read, file.url))).decode()

    async def _read(self, url: str, offset: int, size_bytes: int) -> bytes:
        asked = {"Range": f"bytes={offset}-{offset + size_bytes - 1}"}
        return self._get(url, asked).raise_for_status().content

    def _get(self, url: str, headers: dict[str, str] | None = None) -> httpx.Response:
        for _ in range(TRIES - 1):
            with suppress(httpx.TransportError):
                return self._client.get(url, headers=headers)
        return self._client.get(url, headers=headers)


def _by_version(project: str, answer: httpx.Response) -> dict[str, list[File]]:
    kind = answer.raise_for_status().headers.get("content-type", "")
    found: dict[str, list[File]] = {}
    for file in parse_page(answer.content, kind, str(answer.url), project).files:
        for release in table_of(project, told([file])).releases:
            found.setdefault(release.version, []).append(file)
    return found


def _is_sdist(file: File) -> bool:
    return not file.filename.endswith(".whl")


def _now(coroutine: Coroutine[object, None, bytes]) -> bytes:
    """What a coroutine returns that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        content: bytes = end.value
        return content
    raise AssertionError("it waited")


def _pkg_info(sdist: bytes) -> str:
    with tarfile.open(fileobj=io.BytesIO(sdist)) as archive:
        name = min((one for one in archive.getnames() if one.endswith("/PKG-INFO")), key=len)
        member = archive.extractfile(name)
        assert member is not None
        return member.read().decode("utf-8", "replace")
