"""Links on their way: fetched, held against their hashes, and asked what they say of themselves."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from p2pcdn_shim.zephyr.pip import hashing, repositories
from p2pcdn_shim.zephyr.pip.building import Builds, Source
from p2pcdn_shim.zephyr.pip.controls import normalize
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.job import Job
from p2pcdn_shim.zephyr.pip.link import ARCHIVES, STRONG, Link
from p2pcdn_shim.zephyr.pip.web import NotThere
from p2pcdn_shim.zephyr.pip.wheel_cache import key_of
from p2pcdn_shim.zephyr.pip.wheel_file import wheel_metadata
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from typing import Any

    from p2pcdn_shim.zephyr.pip.asked import Settings


class Prepared(Value):
    """A link whose metadata is known. path: the file or directory; None for one whose metadata lay beside it.

    commit: of a repository, what was checked out. wheel: it is one, or became one.
    """

    link: Link
    metadata: str
    path: Path | None
    editable: bool = False
    commit: str = ""
    wheel: Path | None = None
    settings: Any = None


class Sources:
    """Of one command; nothing is fetched or asked twice."""

    def __init__(self, job: Job, builds: Builds) -> None:
        self._job = job
        self.builds = builds
        self._fetched: dict[str, Path] = {}
        self._prepared: dict[tuple[str, bool], Prepared] = {}
        self._header = ""
        # Where `download` puts files: what lies there already is not fetched again.
        self.kept: Path | None = None

    def announce(self, link: Link, shown: str, origin: str, *, editable: bool = False) -> None:
        """Says what is being looked at, as often as it is another one."""
        whence = f" (from {origin})" if origin else ""
        if editable:
            line = f"Obtaining {shown}{whence}"
        elif link.is_file:
            line = f"Processing {displayed(link.path)}{whence}"
        else:
            line = f"Collecting {shown}{whence}"
        if line != self._header:
            self._header = line
            self._job.voice.info(line)

    def prepared(
        self, link: Link, project: str, *, editable: bool = False, settings: Settings | None = None, shown: str = "",
        allowed: hashing.Allowed | None = None,
    ) -> Prepared:  # fmt: skip
        """What stands at a link. allowed: the digests that it must have. Raises PipError."""
        key = (link.same, editable)
        if key in self._prepared:
            path = self._prepared[key].path
            if allowed and path is not None and path.is_file():
                hashing.check(path, allowed, shown or project)  # what was asked for twice must please both
        else:
            self._prepared[key] = self._prepare(link, project, editable, settings or {}, shown or project, allowed)
        return self._prepared[key]

    def file(self, link: Link, project: str, shown: str, allowed: hashing.Allowed | None = None) -> Path:
        """The file behind a link, with the right hash. Raises PipError."""
        known = self._fetched.get(link.url)
        if known is None:
            known = self._fetched[link.url] = self._there_already(link) or self._fetch(link, project)
        if allowed:
            hashing.check(known, allowed, shown or link.url)
        own = {name: frozenset([digest]) for name, digest in link.hashes.items()}
        if own and not allowed:
            hashing.check(known, own, shown or link.url)
        return known

    def _prepare(
        self, link: Link, project: str, editable: bool, settings: Settings, shown: str, allowed: hashing.Allowed | None
    ) -> Prepared:
        if link.is_vcs:
            return self._prepare_commit(link, project, editable, settings, shown)
        if link.is_directory:
            _check_project(link.path / link.subdirectory)
            source = Source(link.path, None, link.subdirectory, editable, settings)
            return Prepared(link, self.builds.metadata(source, shown), link.path, editable, "", None, settings)
        if not allowed and (beside := self._beside(link, project)) is not None:
            return Prepared(link, beside, None, settings=settings)
        path = self.file(link, project, shown, allowed)
        if link.is_wheel:
            return Prepared(link, wheel_metadata(path, project or link.filename.partition("-")[0]), path, wheel=path)
        _check_archive(path, link)
        key = key_of(self._job.target, hashing.digest_of(path), link.subdirectory, settings)
        if (cached := self._job.cache.find(key)) is not None:
            with self._job.voice.indented():
                self._job.voice.info(f"Using cached {cached.name}")
            return Prepared(link, wheel_metadata(cached, project or cached.name.partition("-")[0]), path, wheel=cached)
        source = Source(path, hashing.digest_of(path), link.subdirectory, False, settings)
        return Prepared(link, self.builds.metadata(source, shown), path, False, "", None, settings)

    def _beside(self, link: Link, project: str) -> str | None:
        """The metadata file beside a wheel (PEP 658); of what comes through the node as the node gets it."""
        if link.through_node and link.is_wheel:
            return self._job.node.metadata(normalize(project), link.filename, link.url)
        if link.metadata is None or link.through_node:
            return None
        url = f"{link.plain}.metadata"
        to = self._job.scratch / f"{link.filename}.metadata"
        try:
            if link.is_file:
                shutil.copyfile(f"{link.path}.metadata", to)
            else:
                self._job.web.download(url, to)
        except (NotThere, OSError) as error:
            raise PipError(
                f"{error}" if isinstance(error, NotThere) else f"404 Client Error: FileNotFoundError for url: {url}"
            ) from error
        known = {name: frozenset([digest.lower()]) for name, digest in link.metadata.items() if name in STRONG}
        if known:
            hashing.check(to, known, url)
        return to.read_text(encoding="utf-8", errors="replace")

    def _fetch(self, link: Link, project: str) -> Path:
        voice = self._job.voice
        if link.is_file:
            if not link.path.exists():
                raise PipError(
                    f"Could not install packages due to an OSError: [Errno 2] No such file or directory:"
                    f" {str(link.path)!r}\n"
                )
            return link.path
        with voice.indented():
            if link.through_node:
                path = self._job.node.file(normalize(project), link.filename, link.url)
                voice.info(f"Using {link.filename} ({_size(path)}) out of the node's store")
                return path
            to = self._job.scratch / f"{len(self._fetched)}" / link.filename
            to.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._job.web.download(link.plain, to)
            except NotThere as error:
                voice.error(f"HTTP error {str(error).partition(' ')[0]} while getting {link.plain}")
                raise PipError(f"{error}") from error
            voice.info(f"Downloading {link.filename} ({_size(to)})")
        return to

    def _there_already(self, link: Link) -> Path | None:
        place = self.kept / link.filename if self.kept is not None else None
        if place is None or not place.is_file():
            return None
        own = {name: frozenset([digest]) for name, digest in link.hashes.items()}
        try:
            if own:
                hashing.check(place, own, link.url)
        except PipError:
            self._job.voice.warn(f"Previously-downloaded file {place} has bad hash. Re-downloading.")
            place.unlink()
            return None
        self._job.voice.info(f"File was already downloaded {displayed(place)}")
        return place

    def _prepare_commit(self, link: Link, project: str, editable: bool, settings: Settings, shown: str) -> Prepared:
        path, commit = self._checked_out(link, project, editable)
        if not editable and link.repository[1] == commit:
            key = key_of(self._job.target, f"{link.plain} {commit}", link.subdirectory, settings)
            if (cached := self._job.cache.find(key)) is not None:
                with self._job.voice.indented():
                    self._job.voice.info(f"Using cached {cached.name}")
                told = wheel_metadata(cached, project or cached.name.partition("-")[0])
                return Prepared(link, told, path, False, commit, cached, settings)
        source = Source(path, None if editable else hashing.digest_of(path), link.subdirectory, editable, settings)
        return Prepared(link, self.builds.metadata(source, shown), path, editable, commit, None, settings)

    def _checked_out(self, link: Link, project: str, editable: bool) -> tuple[Path, str]:
        """The node clones it: into a directory to work in, or into an archive of its store; and the commit."""
        url, revision = link.repository
        name = project or link.egg[0] or link.filename.removesuffix(".git")
        directory = self.src / normalize(name) if editable else None
        switch = directory is not None and directory.exists() and self._make_room(directory, url)
        with self._job.voice.indented():
            self._job.voice.info(
                f"Cloning {url}{f' (to revision {revision})' if revision else ''}"
                f"{f' to {directory}' if directory is not None else ''}"
            )
            if directory is not None:
                directory.parent.mkdir(parents=True, exist_ok=True)
            trusted = self._job.options.trusted_hosts
            path, commit = self._job.node.check_out(name, link.plain, directory, trusted, switch=switch)
            self._job.voice.info(f"Resolved {url} to commit {commit}")
        return path, commit

    def _make_room(self, directory: Path, url: str) -> bool:
        """What lies where a checkout goes may be the user's work: it goes where --exists-action says so, else stays.

        Whether a checkout of another repository is to become one of this. Raises PipError.
        """
        is_checkout = (directory / ".git").exists()
        if is_checkout and repositories.is_of(directory, url):
            return False  # the node looks whether somebody works there
        action = next(iter(getattr(self._job.options, "exists_action", None) or ()), "a")
        if is_checkout and action == "s":
            return True
        if action == "w":
            shutil.rmtree(directory)
        elif action == "b":
            names = (directory.with_name(f"{directory.name}.bak{number or ''}") for number in range(1000))
            directory.rename(next(name for name in names if not os.path.lexists(name)))
        else:
            what = "a checkout of another repository" if is_checkout else "no checkout of git"
            raise PipError(
                f"{directory} exists and is {what}; it was left as it is. Move it away, name another directory with"
                " --src, or say with --exists-action what is to become of it ((s)witch, (w)ipe, (b)ackup)."
            )
        return False

    @property
    def src(self) -> Path:
        """Where editable projects of repositories are checked out."""
        given = getattr(self._job.options, "src_dir", None)
        if given:
            return Path(os.path.abspath(given))  # noqa: PTH100
        target = self._job.target
        return Path(target.prefix) / "src" if target.is_environment else Path.cwd() / "src"


def displayed(path: Path) -> str:
    """As a user would write it: from here, where it lies below."""
    here = os.getcwd()  # noqa: PTH109
    text = os.path.abspath(path)  # noqa: PTH100
    return f".{text[len(here) :]}" if text.startswith(here + os.sep) else text


def _check_project(directory: Path) -> None:
    if not any((directory / name).is_file() for name in ("setup.py", "pyproject.toml")):
        raise PipError(
            f"{directory.as_uri()} does not appear to be a Python project: neither 'setup.py' nor 'pyproject.toml'"
            " found."
        )


def _check_archive(path: Path, link: Link) -> None:
    if not link.filename.lower().endswith(ARCHIVES):
        raise PipError(
            f"Cannot unpack file {path} (downloaded from {link.url}, content-type: None); cannot detect archive format"
        )


def _size(path: Path) -> str:
    size = path.stat().st_size
    if size > 1000 * 1000:
        return f"{size / 1000.0 / 1000:.1f} MB"
    return f"{size / 1000.0:.1f} kB" if size > 10 * 1000 else f"{size} bytes"
