"""Which files can be taken, why others cannot, and which of several is the better one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from p2pcdn_shim.zephyr.pip.checking import expanded
from p2pcdn_shim.zephyr.pip.controls import Control, normalize
from p2pcdn_shim.zephyr.pip.errors import DistributionNotFound, PipError
from p2pcdn_shim.zephyr.pip.link import STRONG, Link, is_archive, version_in
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from typing import Any

    from packaging.version import Version

    from p2pcdn_shim.zephyr.pip.voice import PipVoice


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


class Judge:
    """Of one command. locked: of what a lock file names, the one file that may be taken."""

    def __init__(self, rules: Rules, voice: PipVoice, locked: Mapping[str, Link]) -> None:
        self.rules = rules
        self._voice = voice
        self._locked = locked
        self._ranks = {tag: at for at, tag in enumerate(rules.tags)}
        # What was left out because of its Requires-Python: "1.0 Requires-Python >=4", by project.
        self.other_pythons: dict[str, set[str]] = {}

    def judged(self, project: str, link: Link) -> Candidate | None:
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
                f"Index {link.page} does not provide upload-time metadata. Cannot use --uploaded-prior-to with this"
                " index."
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
                f"A pre-release version {version} is specified in a provided lock file for {project} but only final"
                " versions are allowed"
            )
            raise DistributionNotFound(project)
        return f"{version} is a pre-release, and only final ones are wanted"

    def with_right_hashes(self, project: str, found: list[Candidate]) -> list[Candidate]:
        """Of a version of which some have a hash that is allowed: those, and those without one.

        Of another version all stay: where just that is wanted, its hash is wrong, and that is to be said.
        """
        allowed = self.rules.hashes.get(project)
        if not allowed:
            self._voice.debug(
                f"Given no hashes to check {len(found)} links for project {project!r}: discarding no candidates"
            )
            return found
        right = [one for one in found if _has_any(one.link, allowed)]
        without = [one for one in found if not any(name in STRONG for name in one.link.hashes)]
        versions = {one.version for one in right}
        kept = [one for one in found if one in right or one in without or one.version not in versions]
        wrong = [one.link.url for one in found if one not in kept]
        lines = "\n  ".join(wrong)
        discarded = f"discarding {len(wrong)} non-matches:\n  {lines}" if wrong else "discarding no candidates"
        number = sum(len(digests) for digests in allowed.values())
        self._voice.debug(
            f"Checked {len(found)} links for project {project!r} against {number} hashes ({len(right)} matches,"
            f" {len(without)} no digest): {discarded}"
        )
        return kept

    def rank(self, one: Candidate) -> tuple[Any, ...]:
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
