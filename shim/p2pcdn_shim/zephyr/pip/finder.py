"""Which files there are of a project, in the indexes and at --find-links, and which of them can be taken."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urljoin

from p2pcdn_shim.zephyr.pip.checking import expanded
from p2pcdn_shim.zephyr.pip.controls import ALL, Control
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.html_links import links_of
from p2pcdn_shim.zephyr.pip.link import STRONG, Link, is_archive, link_to_path, listed, version_in
from p2pcdn_shim.zephyr.pip.web import NotThere, is_secure, redacted
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from typing import Any

    from packaging.version import Version

    from p2pcdn_shim.zephyr.pip.voice import PipVoice
    from p2pcdn_shim.zephyr.pip.web import Web

    # The node's page of a project: files in the form of PEP 691.
    NodePage = Callable[[str], list[Mapping[str, object]]]


class Candidate(Value):
    """A file that can be taken, and the version that its name says."""

    link: Link
    version: Version


class Rules(Value):
    """What may be taken. python: the version that Requires-Python is held against; None: it is not.

    hashes: by project, the digests that are allowed; a project that is not there has no rule.
    """

    tags: tuple[str, ...]
    python: str | None
    formats: Control
    releases: Control | None = None
    prefer_binary: bool = False
    uploaded_prior_to: datetime | None = None
    hashes: Mapping[str, Mapping[str, frozenset[str]]] = {}


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
        self._ranks = {tag: at for at, tag in enumerate(rules.tags)}
        # What was left out because of its Requires-Python: "1.0 Requires-Python >=4", by project.
        self.other_pythons: dict[str, set[str]] = {}

    @property
    def indexes(self) -> list[str]:
        """The indexes that are asked directly, by their URLs."""
        options = self._options
        named = [options.index_url] if options.index_url else []
        return [] if options.no_index else [*named, *options.extra_index_urls]

    @property
    def find_links(self) -> list[str]:
        return [_expanded_home(one) for one in self._options.find_links]

    def announce(self) -> None:
        """Where will be looked, where that is not the usual."""
        if len(self.indexes) > 1 or (self._options.index_url and not self._options.no_index):
            self._voice.info(f"Looking in indexes: {', '.join(redacted(one) for one in self.indexes)}")
        if self._options.no_index:
            self._voice.debug(f"Ignoring indexes: {redacted(self._options.index_url or 'those of the node')}")
        for one in self.indexes:
            if "://" not in one and not one.startswith("file:") and not Path(one).exists():
                self._voice.warn(f'The index url "{one}" seems invalid, please provide a scheme.')
        if self.find_links:
            self._voice.info(f"Looking in links: {', '.join(redacted(one) for one in self.find_links)}")

    def candidates(self, project: str, *, with_yanked: bool = True) -> list[Candidate]:
        """All that can be taken, the best first."""
        found = [one for link in self.links(project) if (one := self._judged(project, link)) is not None]
        found = [one for one in found if with_yanked or one.link.yanked is None]
        return sorted(self._with_right_hashes(project, found), key=self._rank, reverse=True)

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
        """Those at --find-links first, as for pip: of two equal files the first is taken."""
        if self._found_links is None:
            self._found_links = [link for place in self.find_links for link in self._at(place)]
        yield from self._found_links
        if self._node_page is not None and not self._options.no_index and not self._options.index_url:
            yield from listed(self._node_page(project), "", through_node=True)
        refresh = self._options.refresh_package if hasattr(self._options, "refresh_package") else set()
        for index in self.indexes:
            if "://" not in index and not index.startswith("file:"):
                if not Path(index).exists():
                    continue
                index = Path(index).absolute().as_uri()
            page = index.rstrip("/") + "/" + quote(project) + "/"
            yield from self._page(page, refresh=ALL in refresh or project in refresh)

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
        self._voice.debug(f"Getting page {redacted(url)}")
        try:
            if url.startswith("file:"):
                yield from self._local_page(url)
                return
            answer = self._web.page(url, refresh=refresh)
        except NotThere as error:
            self._complain(url, str(error))
            return
        except OSError as error:
            self._voice.debug(f"Could not fetch URL {redacted(url)}: {error} - skipping")
            return
        if "json" in answer.content_type:
            import json

            yield from listed(json.loads(answer.content)["files"], answer.url)
        elif "html" in answer.content_type:
            yield from links_of(answer.content.decode("utf-8", "replace"), answer.url)
        else:
            self._voice.warn(
                f"Skipping page {redacted(url)} because the GET request got Content-Type: {answer.content_type}."
                f" The only "
                "supported Content-Types are application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html, "
                "and text/html"
            )

    def _complain(self, url: str, why: str) -> None:
        tell = self._voice.debug if why.startswith("404") else self._voice.warn
        tell(f"Could not fetch URL {redacted(url)}: {why} - skipping")

    def _local_page(self, url: str) -> Iterator[Link]:
        path = Path(link_path(url))
        if path.is_dir():
            path, url = path / "index.html", urljoin(url.rstrip("/") + "/", "index.html")
        kind = mimetypes.guess_type(path.name)[0] or ""
        content = path.read_bytes()
        if kind == "application/json":
            import json

            yield from listed(json.loads(content)["files"], url)
        else:
            yield from links_of(content.decode("utf-8", "replace"), url)

    # -- judging ------------------------------------------------------------------------------------------------------

    def _judged(self, project: str, link: Link) -> Candidate | None:
        """None for a file of another project, and for one that cannot be taken; the reason is told with -vv."""
        found = self._version(project, link)
        if isinstance(found, str):
            if found:
                self._refuse(project, link, found)
            return None
        if not self._runs(project, link, found):
            return None
        if (why := self._too_new(link)) or (why := self._wrong_kind(project, found)):
            self._refuse(project, link, why)
            return None
        return Candidate(link, found)

    def _refuse(self, project: str, link: Link, why: str) -> None:
        """Raises PipError for the one file that a lock names."""
        if project in self._locked:
            raise PipError(f"Could not install locked package {project!r} from {link.page!r}: {why}")
        self._voice.debug(f"Skipping link: {why}: {link.url}")

    def _version(self, project: str, link: Link) -> Version | str:
        """The version, or why there is none; "" for another project's."""
        from packaging.version import InvalidVersion, Version

        if link.is_wheel:
            return self._of_wheel(project, link)
        text = version_in(link.filename, project) or _egg_version(link, project)
        if text is None:
            return ""
        if self.rules.formats.in_second(project):
            return f"No sources permitted for {project}"
        try:
            return Version(text)
        except InvalidVersion:
            return f"invalid version: {text}"

    def _of_wheel(self, project: str, link: Link) -> Version | str:
        from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

        if canonicalize_name(link.filename.partition("-")[0]) != project:
            return ""
        if self.rules.formats.in_first(project):
            return f"No binaries permitted for {project}"
        try:
            _, version, _, tags = parse_wheel_filename(link.filename)
        except InvalidWheelFilename:
            return "invalid wheel filename"
        if not any(str(tag) in self._ranks for tag in tags):
            return "none of the wheel's tags are compatible (run pip debug --verbose to show compatible tags)"
        return version

    def _runs(self, project: str, link: Link, version: Version) -> bool:
        python = self.rules.python
        if python is None or not link.requires_python or allows(link.requires_python, python):
            return True
        self.other_pythons.setdefault(project, set()).add(f"{version} Requires-Python {link.requires_python}")
        self._voice.detail(f"Link requires a different Python ({python} not in: {link.requires_python!r}): {link.url}")
        return False

    def _too_new(self, link: Link) -> str:
        before = self.rules.uploaded_prior_to
        if before is None or link.is_file:
            return ""
        if not link.upload_time:
            raise PipError(
                f"Index {link.page} does not provide upload-time metadata. Cannot use --uploaded-prior-to with"
                f" this index."
            )
        moment = datetime.fromisoformat(link.upload_time.replace("Z", "+00:00"))
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return f"Upload time {moment} not prior to {before}" if moment >= before else ""

    def _wrong_kind(self, project: str, version: Version) -> str:
        releases = self.rules.releases
        if releases is None or not releases.in_second(project) or not version.is_prerelease:
            return ""
        if project in self._locked:
            self._voice.error(
                f"A pre-release version {version} is specified in a provided lock file for {project} but only"
                f" final versions"
                " are allowed"
            )
            raise PipError(f"No matching distribution found for {project}")
        return f"{version} is a pre-release, and only final ones are wanted"

    def _with_right_hashes(self, project: str, found: list[Candidate]) -> list[Candidate]:
        """Where some have a hash that is allowed: those, and those without one."""
        allowed = self.rules.hashes.get(project)
        if not allowed:
            self._voice.debug(
                f"Given no hashes to check {len(found)} links for project {project!r}: discarding no candidates"
            )
            return found
        right = [one for one in found if _has_any(one.link, allowed)]
        without = [one for one in found if not any(name in STRONG for name in one.link.hashes)]
        kept = [one for one in found if one in right or one in without] if right else found
        wrong = [one.link.url for one in found if one not in kept]
        lines = "\n  ".join(wrong)
        discarded = f"discarding {len(wrong)} non-matches:\n  {lines}" if wrong else "discarding no candidates"
        number = sum(len(digests) for digests in allowed.values())
        self._voice.debug(
            f"Checked {len(found)} links for project {project!r} against {number} hashes ({len(right)} matches,"
            f" {len(without)} no digest): {discarded}"
        )
        return kept

    def _rank(self, one: Candidate) -> tuple[Any, ...]:
        allowed = self.rules.hashes.get(_project(one), {})
        binary = one.link.is_wheel if self.rules.prefer_binary else False
        build, rank = self._build_and_tag(one.link)
        return (_has_any(one.link, allowed), one.link.yanked is None, binary, one.version, build, rank)

    def _build_and_tag(self, link: Link) -> tuple[tuple[int, str], int]:
        """A wheel's build number (PEP 427), and how good its tags are; sources come last."""
        if not link.is_wheel:
            return (-1, ""), -len(self._ranks)
        parts = link.filename[:-4].split("-")
        build = (0, "")
        if len(parts) == 6:
            digits = "".join(letter for letter in parts[2] if letter.isdigit()) or "0"
            build = (int(digits), parts[2][len(digits) :])
        ranks = [self._ranks[tag] for tag in expanded("-".join(parts[-3:])) if tag in self._ranks]
        return build, -min(ranks, default=len(self._ranks))


def _has_any(link: Link, allowed: Mapping[str, frozenset[str]]) -> bool:
    return any(link.hashes.get(name) in digests for name, digests in allowed.items())


def _project(one: Candidate) -> str:
    from p2pcdn_shim.zephyr.pip.controls import normalize

    return normalize(one.link.filename.partition("-")[0])


def _egg_version(link: Link, project: str) -> str | None:
    """Of `#egg=name-version`."""
    egg = link.fragment.get("egg", "")
    return version_in(f"{egg}.zip", project) if egg and is_archive(link.filename) else None


def allows(requires_python: str, python: str) -> bool:
    """Whether a Requires-Python allows a version; one that cannot be read is no limit."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(requires_python).contains(python, prereleases=True)
    except InvalidSpecifier:
        return True


def link_path(url: str) -> str:
    from urllib.parse import unquote, urlsplit

    return unquote(urlsplit(url).path)


def _expanded_home(place: str) -> str:
    home = os.path.expanduser(place) if place.startswith("~") else place  # noqa: PTH111
    return home if home == place or Path(home).exists() else place


def _host(url: str) -> str:
    from urllib.parse import urlsplit

    return urlsplit(url).hostname or url
