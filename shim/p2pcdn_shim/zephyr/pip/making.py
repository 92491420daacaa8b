"""From what was asked for to wheels in hand: versions chosen, files fetched, sources built; also for builds
themselves.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from p2pcdn_shim.zephyr.pip.asked import Ask, dependency
from p2pcdn_shim.zephyr.pip.building import Builds, Source, place_of
from p2pcdn_shim.zephyr.pip.errors import BuildError, PipError
from p2pcdn_shim.zephyr.pip.files import Reader
from p2pcdn_shim.zephyr.pip.hashing import digest_of
from p2pcdn_shim.zephyr.pip.job import Job
from p2pcdn_shim.zephyr.pip.outcome import Chosen, Outcome, Policy
from p2pcdn_shim.zephyr.pip.placing import build_environment
from p2pcdn_shim.zephyr.pip.resolving import resolve
from p2pcdn_shim.zephyr.pip.sources import Prepared, Sources
from p2pcdn_shim.zephyr.pip.voice import PipVoice
from p2pcdn_shim.zephyr.pip.wheel_cache import key_of

# A build requirement that must itself be built, and so on: honest chains have two or three links.
NESTED_BUILDS_MAX = 8


class Maker:
    """Of one command. above: the places of what is being built and waits for this."""

    def __init__(self, job: Job, above: tuple[str, ...] = ()) -> None:
        self.job = job
        self._above = above

    @cached_property
    def builds(self) -> Builds:
        return Builds(self.job, self._bring, self._above)

    @cached_property
    def sources(self) -> Sources:
        return Sources(self.job, self.builds)

    def chosen(self, asks: Sequence[Ask], policy: Policy) -> Outcome:
        """Raises PipError."""
        return resolve(self.job, self.sources, asks, policy)

    def file(self, one: Chosen) -> Path:
        """The file of what was chosen, fetched now if only its metadata was. Raises PipError."""
        assert one.prepared is not None
        if one.prepared.path is not None:
            return one.prepared.path
        path = self.sources.file(one.prepared.link, one.project, one.shown)
        if one.prepared.link.is_wheel:
            self._check_metadata(one, path)
        return path

    def _check_metadata(self, one: Chosen, path: Path) -> None:
        """What lay beside a wheel must say what the wheel says."""
        from email.parser import HeaderParser

        from packaging.requirements import Requirement

        from p2pcdn_shim.zephyr.pip.controls import normalize
        from p2pcdn_shim.zephyr.pip.wheel_file import wheel_metadata

        assert one.prepared is not None
        beside, inside = (
            HeaderParser().parsestr(text) for text in (one.prepared.metadata, wheel_metadata(path, one.project))
        )
        names = [normalize(str(told["Name"])) for told in (beside, inside)]
        if names[0] != names[1]:
            raise _mismatch(one, "Name", str(beside["Name"]), str(inside["Name"]))
        needs = [
            sorted(str(Requirement(str(text))) for text in told.get_all("Requires-Dist") or ())
            for told in (beside, inside)
        ]
        if needs[0] != needs[1]:
            raise _mismatch(one, "Requires-Dist", ", ".join(needs[0]), ", ".join(needs[1]))

    def wheels(self, chosen: Sequence[Chosen]) -> dict[str, Path]:
        """A wheel of each, by project. Raises PipError, where some were not built after the others were."""
        voice = self.job.voice
        ready: dict[str, Path] = {}
        to_build = []
        for one in chosen:
            assert one.prepared is not None
            if one.prepared.link.is_wheel:
                ready[one.project] = self.file(one)
            elif one.prepared.wheel is not None:
                ready[one.project] = one.prepared.wheel
            else:
                to_build.append(one)
        if not to_build:
            return ready
        voice.info(f"Building wheels for collected packages: {', '.join(name_of(one) for one in to_build)}")
        built, failed = [], []
        for one in to_build:
            try:
                ready[one.project] = self._built(one)
                built.append(name_of(one))
            except BuildError as error:
                voice.error(str(error))
                failed.append(name_of(one))
        if built:
            voice.info(f"Successfully built {' '.join(built)}")
        if failed:
            voice.info(f"Failed to build {' '.join(failed)}")
            listed = ", ".join(failed)
            raise PipError(f"Failed to build installable wheels for some pyproject.toml based projects\n╰─> {listed}")
        return ready

    def _built(self, one: Chosen) -> Path:
        prepared = one.prepared
        assert prepared is not None
        path = self.file(one)
        prepared = prepared.but(path=path)
        if prepared.editable and not self.job.makes_editables:
            prepared = prepared.but(editable=False)
        wheel = self.builds.wheel(source_of(prepared), name_of(one))
        size, digest = wheel.stat().st_size, digest_of(wheel)
        with self.job.voice.indented():
            kind = "editable" if prepared.editable else "wheel"
            self.job.voice.info(f"Created {kind} for {name_of(one)}: filename={wheel.name} size={size} sha256={digest}")
            wheel = self._kept(prepared, wheel)
            self.job.voice.info(f"Stored in directory: {wheel.parent}")
        return wheel

    def _kept(self, prepared: Prepared, wheel: Path) -> Path:
        """In the cache, where the same source gives the same wheel."""
        path, link = prepared.path, prepared.link
        assert path is not None
        if prepared.editable or (link.is_directory and not link.is_vcs):
            return wheel
        if not link.is_vcs:
            return self.job.cache.keep(
                key_of(self.job.target, digest_of(path), link.subdirectory, prepared.settings), wheel
            )
        if link.repository[1] == prepared.commit:
            what = f"{link.plain} {prepared.commit}"
            return self.job.cache.keep(key_of(self.job.target, what, link.subdirectory, prepared.settings), wheel)
        return wheel

    def _bring(self, requirements: Sequence[str], directory: Path, source: Source) -> list[str]:
        """Chooses build requirements and puts them into an environment of their own."""
        target = self.job.target
        base = target.probe.base_executable
        if not requirements:
            return build_environment([], directory, base, target.short_version)
        if len(self._above) >= NESTED_BUILDS_MAX:
            raise PipError(f"The build requirements {', '.join(requirements)} need themselves to be built.")
        job = _quiet(self.job)
        maker = Maker(job, (*self._above, place_of(source)))
        asks = [dependency(text, "") for text in requirements]
        asks += [
            one
            for file in getattr(self.job.options, "build_constraints", None) or ()
            for one in _reader(job).asks(file, constraint=True)
        ]
        outcome = maker.chosen(asks, Policy(ignore_installed=True))
        wheels = maker.wheels(outcome.changes)
        named = [(wheels[one.project], wheels[one.project].name) for one in outcome.order if one.project in wheels]
        return build_environment(named, directory, base, target.short_version)


def source_of(prepared: Prepared) -> Source:
    path = prepared.path
    assert path is not None
    digest = None if path.is_dir() else digest_of(path)
    return Source(path, digest, prepared.link.subdirectory, prepared.editable, prepared.settings)


def name_of(one: Chosen) -> str:
    """As whoever asked for it first wrote it; of a place without a name as the package calls itself."""
    match = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", one.shown)
    return match[0] if match is not None else one.project


def _quiet(job: Job) -> Job:
    """The same indexes and rules, for build requirements: no hashes, no target of another platform, fewer words."""
    child = Job.__new__(Job)
    child.run = job.run
    options = copy.copy(job.options)
    for name, value in (("require_hashes", False), ("platforms", None), ("python_version", None), ("abis", None),
                        ("implementation", None), ("ignore_dependencies", False), ("build_isolation", True),
                        ("uploaded_prior_to", getattr(job.options, "uploaded_prior_to", None))):  # fmt: skip
        setattr(options, name, value)
    child.options = options
    child.voice = PipVoice(min(job.voice.verbosity, 0) - 1, log=job.voice.log)
    child.voice.nested = True
    child.target = job.target
    child.asks, child.hashes, child.locked = [], {}, {}
    child.__dict__["node"] = job.node
    child.__dict__["web"] = job.web
    child.__dict__["scratch"] = job.scratch / f"job-{len(list(job.scratch.glob('job-*')))}"
    child.scratch.mkdir()
    return child


def _reader(job: Job) -> Reader:
    return Reader(job.options, job.voice, job.web)


def _mismatch(one: Chosen, field: str, beside: str, inside: str) -> PipError:
    return PipError(
        f"Requested {one.shown} has inconsistent {field} between its PEP 658 .metadata file and the wheel's METADATA:"
        " sidecar has"
        f" {beside!r}, wheel has {inside!r}"
    )
