"""Which files there are of a project, in the indexes and at --find-links, and which of them can be taken."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, urljoin

from p2pcdn_shim.zephyr.pip.controls import ALL
from p2pcdn_shim.zephyr.pip.html_links import links_of
from p2pcdn_shim.zephyr.pip.judge import Candidate, Judge, Rules
from p2pcdn_shim.zephyr.pip.link import Link, checked, is_archive, link_to_path, listed
from p2pcdn_shim.zephyr.pip.web import NotThere, is_secure
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from p2pcdn_shim.zephyr.pip.voice import PipVoice
    from p2pcdn_shim.zephyr.pip.web import Web

    # The node's page of a project, and whether it must be of now: files in the form of PEP 691.
    NodePage = Callable[[str, bool], list[Mapping[str, object]]]


class Finder:
    """Of one command. node_page: asks the node's own indexes; None where they are not asked."""

    def __init__(
        self,
        options: Any,
        rules: Rules,
        voice: PipVoice,
        web: Web,
        node_page: NodePage | None,
        locked: Mapping[str, Link] | None = None,
    ) -> None:
        self._options = options
        self.rules = rules
        self._voice = voice
        self._web = web
        self._node_page = node_page
        self._locked = locked or {}
        self._links: dict[str, list[Link]] = {}
        self._found_links: list[Link] | None = None
        self.judge = Judge(rules, voice, self._locked)

    @property
    def indexes(self) -> list[str]:
        """The indexes that are asked directly, by their URLs."""
        options = self._options
        named = [options.index_url] if options.index_url else []
        return [] if options.no_index else [checked(one) for one in (*named, *options.extra_index_urls)]

    @property
    def find_links(self) -> list[str]:
        return [checked(_expanded_home(one)) for one in self._options.find_links]

    def announce(self) -> None:
        """Where will be looked, where that is not the usual."""
        if len(self.indexes) > 1 or (self._options.index_url and not self._options.no_index):
            self._voice.info(f"Looking in indexes: {', '.join(self.indexes)}")
        if self._options.no_index:
            self._voice.debug(f"Ignoring indexes: {self._options.index_url or 'those of the node'}")
        for one in self.indexes:
            if "://" not in one and not one.startswith("file:") and not Path(one).exists():
                self._voice.warn(f'The index url "{one}" seems invalid, please provide a scheme.')
        if self.find_links:
            self._voice.info(f"Looking in links: {', '.join(self.find_links)}")

    def candidates(self, project: str, *, with_yanked: bool = True) -> list[Candidate]:
        """All that can be taken, the best first; of equals the one that was found last, as for pip."""
        found = [one for link in self.links(project) if (one := self.judge.judged(project, link)) is not None]
        found = [one for one in found if with_yanked or one.link.yanked is None]
        return sorted(self.judge.with_right_hashes(project, found), key=self.judge.rank)[::-1]

    def latest(self, project: str, *, prereleases: bool) -> Candidate | None:
        found = self.candidates(project, with_yanked=False)
        finals = self.rules.releases
        allow = prereleases or (finals is not None and finals.in_first(project))
        if finals is not None and finals.in_second(project):
            allow = False
        return next((one for one in found if allow or not one.version.is_prerelease), None)

    def links(self, project: str) -> list[Link]:
        if project not in self._links:
            self._links[project] = []
            seen: set[str] = set()
            alone = [self._locked[project]] if project in self._locked else None
            for link in alone or self._all_links(project):
                if link.url not in seen:
                    seen.add(link.url)
                    self._links[project].append(link)
        return self._links[project]

    def _all_links(self, project: str) -> Iterator[Link]:
        """In pip's order, in which a later one wins over an equal one: local files, pages of links, indexes."""
        if self._found_links is None:
            found = [link for place in self.find_links for link in self._at(place)]
            local = sorted((link for link in found if not link.page), key=lambda link: link.url, reverse=True)
            self._found_links = [*local, *(link for link in found if link.page)]
        yield from self._found_links
        if self._node_page is not None and not self._options.no_index and not self._options.index_url:
            yield from listed(self._node_page(project, self._is_of_now(project)), "", through_node=True)
        for index in self.indexes:
            if "://" not in index and not index.startswith("file:"):
                if not Path(index).exists():
                    continue
                index = Path(index).absolute().as_uri()
            page = index.rstrip("/") + "/" + quote(project) + "/"
            yield from self._page(page, refresh=self._is_asked_anew(project))

    def _is_asked_anew(self, project: str) -> bool:
        refresh = getattr(self._options, "refresh_package", None) or ()
        return ALL in refresh or project in refresh

    def _is_of_now(self, project: str) -> bool:
        """Whoever looks for what is newer wants to see what was published a moment ago."""
        wishes = ("upgrade", "outdated", "uptodate")
        return self._is_asked_anew(project) or any(getattr(self._options, one, False) for one in wishes)

    def _at(self, place: str) -> Iterator[Link]:
        """What is found at a path or URL."""
        if place.startswith("file:"):
            path = Path(link_path(place))
        elif "://" not in place:
            path = Path(place)
        else:
            yield from self._page(place)
            return
        if path.is_dir():
            for one in sorted(path.iterdir()):
                if one.suffix == ".html":
                    yield from self._page(one.absolute().as_uri())
                elif is_archive(one.name):
                    yield link_to_path(one)
        elif path.is_file():
            if is_archive(path.name):
                yield link_to_path(path)
            else:
                yield from self._page(path.absolute().as_uri())
        else:
            self._voice.warn(
                f"Location '{place}' is ignored: it is either a non-existing path or lacks a specific scheme."
            )

    def _page(self, url: str, *, refresh: bool = False) -> Iterator[Link]:
        if not url.startswith("file:") and not is_secure(url, self._options.trusted_hosts):
            self._voice.warn(
                f"The repository located at {_host(url)} is not a trusted or secure host and is being ignored. If this "
                "repository is available via HTTPS we recommend you use HTTPS instead, otherwise you may silence this "
                f"warning and allow it anyway with '--trusted-host {_host(url)}'."
            )
            return
        self._voice.debug(f"Getting page {url}")
        try:
            if url.startswith("file:"):
                yield from self._local_page(url)
                return
            answer = self._web.page(url, refresh=refresh)
        except NotThere as error:
            self._complain(url, str(error))
            return
        except OSError as error:
            self._voice.debug(f"Could not fetch URL {url}: {error} - skipping")
            return
        if "json" in answer.content_type:
            yield from self._read(url, lambda: _of_json(answer.content, answer.url))
        elif "html" in answer.content_type:
            yield from self._read(url, lambda: list(links_of(answer.content.decode("utf-8", "replace"), answer.url)))
        else:
            self._voice.warn(
                f"Skipping page {url} because the GET request got Content-Type: {answer.content_type}."
                f" The only supported Content-Types are application/vnd.pypi.simple.v1+json,"
                " application/vnd.pypi.simple.v1+html, and text/html"
            )

    def _read(self, url: str, read: Callable[[], list[Link]]) -> list[Link]:
        """Of a page that is none: no links, and a warning."""
        try:
            return read()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._voice.warn(f"Skipping page {url}: it is no list of files ({type(error).__name__}: {error})")
            return []

    def _complain(self, url: str, why: str) -> None:
        tell = self._voice.debug if why.startswith("404") else self._voice.warn
        tell(f"Could not fetch URL {url}: {why} - skipping")

    def _local_page(self, url: str) -> Iterator[Link]:
        path = Path(link_path(url))
        if path.is_dir():
            path, url = path / "index.html", urljoin(url.rstrip("/") + "/", "index.html")
        kind = mimetypes.guess_type(path.name)[0] or ""
        content = path.read_bytes()
        if kind == "application/json":
            yield from self._read(url, lambda: _of_json(content, url))
        else:
            yield from self._read(url, lambda: list(links_of(content.decode("utf-8", "replace"), url)))


def _of_json(content: bytes, url: str) -> list[Link]:
    """PEP 691. Raises ValueError, KeyError, TypeError, AttributeError for what is none."""
    import json

    return list(listed(json.loads(content)["files"], url))


def link_path(url: str) -> str:
    from urllib.parse import unquote, urlsplit

    return unquote(urlsplit(url).path)


def _expanded_home(place: str) -> str:
    home = os.path.expanduser(place)  # noqa: PTH111
    return home if Path(home).exists() else place


def _host(url: str) -> str:
    from urllib.parse import urlsplit

    return urlsplit(url).hostname or url
