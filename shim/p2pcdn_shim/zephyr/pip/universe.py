"""What there is to choose from, in the words of `p2pcdn.resolve`: tables and metadata of the finder's files, and
of what is installed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from p2pcdn.resolve import Metadata, Release, Source, Table, read_metadata
from p2pcdn_shim.zephyr.pip import hashing
from p2pcdn_shim.zephyr.pip.asked import Ask
from p2pcdn_shim.zephyr.pip.claims import inconsistency, name_of, of_installed, unreadable
from p2pcdn_shim.zephyr.pip.controls import normalize
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.installed import Distribution
from p2pcdn_shim.zephyr.pip.job import Job
from p2pcdn_shim.zephyr.pip.judge import Candidate, allows
from p2pcdn_shim.zephyr.pip.link import STRONG, Link, link_at
from p2pcdn_shim.zephyr.pip.sources import Prepared, Sources
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.version import Version


class NamesUrl(Exception):
    """Metadata of an index's file requires a URL: the search begins anew, and knows of it from the beginning."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Universe:
    """Of one resolution. held: what is installed and may stay, by project."""

    def __init__(
        self, job: Job, sources: Sources, held: Mapping[str, Distribution], *, dependencies: bool, known_urls: set[str]
    ) -> None:
        self._job = job
        self._sources = sources
        self._dependencies = dependencies
        self.held = held
        self.binary_first = bool(getattr(job.options, "prefer_binary", False))
        self.places: dict[str, tuple[Link, Ask | None]] = {}
        self.prepared: dict[Source, Prepared] = {}
        self.known_urls = known_urls
        # Who asked for a project first, as pip writes it: the requirement, and whence.
        self.origins: dict[str, tuple[str, str]] = {}
        # Projects that keep what is installed, as long as that does.
        self.closed: set[str] = set()
        # Extras that somebody asked for, by project.
        self.extras: dict[str, set[str]] = {}
        # What constraints say of versions, by project.
        self.constrained: Mapping[str, list[str]] = {}
        # The user's own requirements, by project.
        self.roots: dict[str, Ask] = {}
        self._candidates: dict[str, dict[str, Candidate]] = {}
        # (requirement, parent and its version) of all that was seen.
        self.statements: list[tuple[str, str, str]] = []

    # -- places -------------------------------------------------------------------------------------------------------

    def name_place(self, project: str, link: Link, ask: Ask | None) -> str:
        """A direct URL becomes part of the universe; what a requirement calls it. An editable ask outweighs others."""
        url = link.same
        known = self.places.get(url)
        if known is None or (ask is not None and (known[1] is None or (ask.editable and not known[1].editable))):
            self.places[url] = (link, ask)
        return url

    # -- tables -------------------------------------------------------------------------------------------------------

    def table(self, project: str) -> Table:
        """Of what is installed, and is not to rise, only that: indexes are asked where it does not do."""
        held = self.held.get(project)
        if project in self.closed and held is not None and held.version is not None:
            return Table(project, (Release(str(held.version), sdist=True),))
        return self._whole_table(project)

    def unmet(self) -> list[str]:
        """The closed projects of which something needs another version than the one that is installed."""
        from packaging.requirements import InvalidRequirement, Requirement

        found = []
        for text, _, _ in self.statements:
            try:
                one = Requirement(text)
            except InvalidRequirement:
                continue
            held = self.held.get(normalize(one.name))
            if normalize(one.name) not in self.closed or held is None or held.version is None:
                continue
            if one.url or not one.specifier.contains(held.version, prereleases=True):
                found.append(normalize(one.name))
        return found

    def _whole_table(self, project: str) -> Table:
        best: dict[str, Candidate] = {}
        yanked: dict[str, bool] = {}
        for one in self._job.finder.candidates(project):
            version = str(one.version)
            best.setdefault(version, one)
            yanked[version] = yanked.get(version, True) and one.link.yanked is not None
        if self.binary_first and any(one.link.is_wheel for one in best.values()):
            best = {version: one for version, one in best.items() if one.link.is_wheel}
        self._candidates[project] = best
        releases = [Release(version, yanked=(best[version].link.yanked or "") if yanked[version] else None, sdist=True)
                    for version in best]  # fmt: skip
        installed = self.held.get(project)
        if installed is not None and installed.version is not None and str(installed.version) not in best:
            releases.append(Release(str(installed.version), sdist=True))
        return Table(project, tuple(releases))

    def versions(self, project: str) -> list[str]:
        """All that can be taken, in the order of versions."""
        if project not in self._candidates:
            self._whole_table(project)
        return sorted(self._candidates[project], key=_version)

    def candidate(self, project: str, version: str) -> Candidate | None:
        return self._candidates.get(project, {}).get(version)

    def is_held(self, source: Source) -> Distribution | None:
        """The installed one that a source stands for; None where it is another."""
        one = self.held.get(source.project)
        if source.url or one is None or one.version is None or str(one.version) != source.version:
            return None
        return one

    # -- metadata -----------------------------------------------------------------------------------------------------

    def metadata(self, source: Source) -> Metadata:
        """Raises PipError where a build fails; NamesUrl."""
        if (installed := self.is_held(source)) is not None:
            return self._told(source, of_installed(source, installed))
        if source.url:
            return self._told(source, self._of_place(source))
        candidate = self.candidate(source.project, source.version)
        if candidate is None:
            return Metadata(source, broken="nobody has it any more")
        shown, origin = self.origins.get(source.project, (source.project, ""))
        self._sources.announce(candidate.link, shown, origin)
        allowed = self._allowed(source.project, candidate.link, shown, origin)
        root = self.roots.get(source.project)
        settings = root.settings if root is not None else None
        prepared = self._sources.prepared(
            candidate.link, source.project, shown=shown, allowed=allowed, settings=settings
        )
        metadata = read_metadata(source, prepared.metadata)
        wrong = inconsistency(metadata, prepared, source.project, source.version)
        if wrong:
            whole = f"Requested {shown} from {candidate.link.url} {f'(from {origin}) ' if origin else ''}has {wrong}"
            self._job.voice.info(f"Discarding {candidate.link.url}: {whole}")
            return Metadata(source, broken=wrong)
        self.prepared[source] = prepared
        if (wrong := unreadable(metadata)) != "":
            self._job.voice.warn(
                f"Ignoring version {metadata.version} of {source.project} since it has invalid metadata:\n{wrong}"
            )
            return Metadata(source, broken=f"its metadata cannot be read: {wrong}")
        return self._told(source, metadata)

    def prepare_place(self, link: Link, ask: Ask | None, project: str) -> Prepared:
        """What stands at a URL, said once. Raises PipError."""
        shown = ask.shown if ask is not None else link.url
        origin = ask.origin if ask is not None else self.origins.get(project, ("", ""))[1]
        editable = ask.editable if ask is not None else False
        text = link.url if editable or project == "" else (str(ask.requirement) if ask and ask.requirement else project)
        self._sources.announce(link, text, origin, editable=editable)
        given = {name: frozenset(digests) for name, digests in ask.hashes.items()} if ask is not None else {}
        if self._job.requires_hashes and editable:
            raise PipError(
                f"The editable requirement {shown} cannot be installed when requiring hashes, because there is no"
                " single file to hash."
            )
        allowed = (
            given
            if given and not project
            else self._allowed(project, link, shown, origin, direct=True, named=ask is not None)
        )
        owner = self.roots.get(project) if ask is None or ask.constraint else ask
        settings = owner.settings if owner is not None else None
        return self._sources.prepared(link, project, editable=editable, settings=settings, shown=text, allowed=allowed)

    def _of_place(self, source: Source) -> Metadata:
        link, ask = self.places[source.url]
        if link.is_wheel and not self._is_supported(link):
            return Metadata(source, "0", broken=f"{link.filename} is not a supported wheel on this platform")
        prepared = self.prepared[source] = self.prepare_place(link, ask, source.project)
        metadata = read_metadata(source, prepared.metadata)
        name = name_of(prepared.metadata)
        if name and normalize(name) != source.project:
            text = ask.shown if ask is not None else source.project
            if link.egg[0]:
                self._job.voice.warn(
                    f"Generating metadata for package {link.egg[0]} produced metadata for project name"
                    f" {normalize(name)}. Fix your"
                    f" #egg={link.egg[0]} fragments."
                )
            why = (
                f"Requested {text} has inconsistent name: expected {source.project!r}, but metadata has"
                f" {normalize(name)!r}"
            )
            self._job.voice.info(f"Discarding {link}: {why}")
            raise PipError(why)
        return metadata

    def _is_supported(self, link: Link) -> bool:
        from packaging.utils import InvalidWheelFilename, parse_wheel_filename

        try:
            tags = parse_wheel_filename(link.filename)[3]
        except InvalidWheelFilename:
            return False
        return not frozenset(map(str, tags)).isdisjoint(self._job.tags)

    def _told(self, source: Source, metadata: Metadata) -> Metadata:
        """What counts of it in this command. What is not for this Python needs nothing: its URLs are not fetched."""
        python = self._job.requires_python
        requires_python = metadata.requires_python if python is not None else ""
        requires: tuple[str, ...] = ()
        if self._dependencies and (python is None or not requires_python or allows(requires_python, python)):
            requires = tuple(self._requires(source, metadata))
        version = metadata.version
        return Metadata(source, version, requires, metadata.provides_extra, requires_python, metadata.broken)

    def _requires(self, source: Source, metadata: Metadata) -> Iterator[str]:
        from packaging.requirements import InvalidRequirement, Requirement

        for text in filter(None, metadata.requires_dist):
            try:
                one = Requirement(text)
            except InvalidRequirement:
                yield text
                continue
            project = normalize(one.name)
            marker = one.marker
            wanted = ("", *sorted(self.extras.get(source.project, ())))
            if marker is None or any(marker.evaluate({**self._job.markers, "extra": extra}) for extra in wanted):
                self._remember(source, metadata, one, project)
                self.extras.setdefault(project, set()).update(map(normalize, one.extras))
            if not one.url:
                yield text
                continue
            url = self.name_place(project, link_at(one.url), None)
            extras = f"[{','.join(sorted(one.extras))}]" if one.extras else ""
            condition = f" ; {marker}" if marker is not None else ""
            applies = one.marker is None or one.marker.evaluate({**self._job.markers, "extra": ""})
            if not source.url and applies and f"{project} @ {url}" not in self.known_urls:
                raise NamesUrl(f"{project} @ {url}")
            yield f"{one.name}{extras} @ {url}{condition}"

    def _remember(self, source: Source, metadata: Metadata, one: object, project: str) -> None:
        text = str(one).partition(";")[0].strip()
        self.statements.append((text, source.project, metadata.version))
        if project not in self.origins:
            shown, origin = self.origins.get(source.project, (source.project, ""))
            if (extra := re.search(r"""extra *== *["']([^"']+)["']""", str(one))) is not None:
                shown = f"{source.project}[{extra[1]}]"
            self.origins[project] = (text, f"{shown}->{origin}" if origin else shown)

    def _allowed(
        self, project: str, link: Link, shown: str, origin: str, *, direct: bool = False, named: bool = False
    ) -> hashing.Allowed | None:
        """The digests that a file must have; None outside of hash-checking mode. Raises PipError where none can do."""
        allowed = self._job.hashes.get(project)
        if not self._job.requires_hashes:
            return allowed
        whole = f"{shown} (from {origin})" if origin else shown
        if link.is_vcs:
            raise hashing.vcs(whole)
        if link.is_directory:
            raise hashing.directory(whole)
        root = self.roots.get(project)
        texts = [str(root.requirement) if root is not None else shown]
        texts += [f"{project}{constraint}" for constraint in self.constrained.get(project, ())]
        if not direct and not any(map(_is_pinned, texts)):
            raise hashing.unpinned(shown, origin)
        if allowed and (any(allowed.values()) or (root is not None and root.hashes)):
            return allowed
        if named and any(name in STRONG for name in link.hashes):
            return {name: frozenset([digest]) for name, digest in link.hashes.items()}
        raise hashing.missing(self._sources.file(link, project, shown), shown)


def _is_pinned(text: str) -> bool:
    """Whether a requirement names one version, as pip sees it: another one would have another hash."""
    from packaging.requirements import Requirement

    specifiers = Requirement(text).specifier
    return len(specifiers) == 1 and next(iter(specifiers)).operator in ("==", "===")


def _version(text: str) -> Version:
    from packaging.version import Version

    return Version(text)
