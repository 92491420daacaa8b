"""Sources become wheels, or tell their metadata, in the node's sandbox; the build requirements are chosen and brought
here.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from p2pcdn_shim.zephyr.pip import build_system
from p2pcdn_shim.zephyr.pip.errors import BuildError, PipError
from p2pcdn_shim.zephyr.pip.installed import Distribution
from p2pcdn_shim.zephyr.pip.job import Job
from p2pcdn_shim.zephyr.pip.voice import is_public
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from typing import Any

# Installs wheels that fit these requirements into a fresh environment at this directory; returns their pins.
Bring = Callable[[Sequence[str], Path, "Source"], list[str]]


# What compilers and backends are told by variables. Others stay outside: a build would write them into its wheel.
_VARIABLES = re.compile(
    r"CC|CXX|CPP|LD|AR|FC|(C|CPP|CXX|LD|ARCH|MAKE|F|RUST)FLAGS|SOURCE_DATE_EPOCH|MAX_JOBS|PKG_CONFIG(_\w+)?"
    r"|CPATH|C(PLUS)?_INCLUDE_PATH|(LD_)?LIBRARY_PATH|(HATCH|PDM)_BUILD_\w+"
    r"|(CMAKE|SETUPTOOLS|CARGO|CYTHON|NPY|SKBUILD|PYO3|MATURIN|MESON|NINJA)_\w+"
)
_SECRETS = re.compile("TOKEN|PASS|SECRET|AUTH|CREDENTIAL")


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Those of the user's variables that a build sees."""
    known = {name: value for name, value in environ.items() if _VARIABLES.fullmatch(name)}
    return {name: value for name, value in known.items() if not _SECRETS.search(name) and is_public(value)}


class Source(Value):
    """path: a directory, or an archive with its sha256. settings: for the backend (--config-settings)."""

    path: Path
    sha256: str | None
    subdirectory: str = ""
    editable: bool = False
    settings: Any = None


class Builds:
    """Of one command. bring: how build requirements get into an environment of their own."""

    def __init__(self, job: Job, bring: Bring, above: Sequence[str] = ()) -> None:
        """above: the places of what is being built and waits for these builds."""
        self._job = job
        self._above = above
        self._bring = bring
        self._environments: dict[str, tuple[set[str], Path, list[str]]] = {}

    def metadata(self, source: Source, shown: str) -> str:
        """Raises PipError."""
        voice = self._job.voice
        editable = source.editable and self._job.makes_editables
        what = f"Preparing {'editable ' if editable else ''}metadata (pyproject.toml)"
        with voice.indented():
            goal = "editable-metadata" if editable else "metadata"
            answer = self._build(source, goal, shown, what, "Getting metadata")
        return str(answer["metadata"])

    def wheel(self, source: Source, shown: str) -> Path:
        """Raises BuildError."""
        goal = "editable" if source.editable else "wheel"
        what = f"Building {'editable' if source.editable else 'wheel'} for {shown} (pyproject.toml)"
        with self._job.voice.indented():
            return Path(self._build(source, goal, shown, what, what)["wheel"])

    def _build(self, source: Source, goal: str, shown: str, what: str, failing: str) -> dict[str, Any]:
        voice = self._job.voice
        isolated = bool(self._job.options.build_isolation)
        environment = self._isolated(source, shown) if isolated else self._own()
        if not isolated and goal.endswith("metadata"):
            self._check_own(source)
        told = False
        while True:
            if environment["satisfies"] is None or told or not goal.endswith("metadata"):
                voice.info(f"{what}: started")
            answer = self._job.node.build(
                {
                    "goal": goal,
                    "source": os.path.abspath(source.path),  # noqa: PTH100
                    "sha256": source.sha256,
                    "python": self._job.target.probe.base_executable,
                    "environment": environment,
                    "settings": dict(source.settings or {}),
                    "subdirectory": source.subdirectory,
                    "variables": variables(os.environ),
                    "allow_unsandboxed": False,
                    "fresh": self._job.cache.directory is None,
                }
            )
            if answer.get("needs"):
                told = True
                environment = self._bring_more(source, answer["needs"], shown)
                continue
            self._tell(answer, failing, shown, goal)
            voice.info(f"{what}: finished with status 'done'")
            return answer

    def _tell(self, answer: dict[str, Any], failing: str, shown: str, goal: str) -> None:
        voice = self._job.voice
        output = str(answer.get("output") or "")
        if "failed" not in answer:
            if output.strip():
                voice.detail_error(output.rstrip())
            return
        voice.info(f"{failing}: finished with status 'error'")
        voice.error(f"{failing} did not run successfully.")
        reason = str(answer["failed"]).partition(" could not be built: ")[2].partition(" What it wrote is in ")[0]
        if output.strip():
            voice.plain_error(output.rstrip())
        if not output.strip() or "failed: " not in reason:
            voice.plain_error(reason or str(answer["failed"]))
        if (hint := build_system.hint_for(str(answer["failed"]))) != "":
            raise PipError(f"Can not process {shown}", hint=hint)
        if "has no build_editable" in reason:
            voice.plain_error("Cannot build editable: the build backend is missing the 'build_editable' hook.")
        if (backend := re.search(r"its backend ('[^']*') cannot be imported", reason)) is not None:
            voice.plain_error(f"error: backend-unavailable\nCannot import build backend {backend[1]}.")
        if goal.endswith("metadata"):
            raise BuildError(
                "metadata-generation-failed", hint=f"Encountered error while generating package metadata.\n{shown}"
            )
        raise BuildError(f"Failed building {'editable' if goal == 'editable' else 'wheel'} for {shown}")

    def _own(self) -> dict[str, Any]:
        """The environment that is worked on, as it is (--no-build-isolation)."""
        target = self._job.target
        found = self._job.environment.packages()
        pins = [own_pin(one) for one in found]
        outside = [one for one in target.path if not one.startswith(target.prefix + os.sep) and Path(one).is_dir()]
        stdlib = (target.probe.base_prefix, sys.base_prefix)
        also = [one for one in outside if not any(one.startswith(prefix + os.sep) for prefix in stdlib)]
        python = _in(target.prefix, target.executable)
        return {"directory": target.prefix, "python": python, "pins": pins, "also": also, "satisfies": None}

    def _check_own(self, source: Source) -> None:
        """With --check-build-dependencies: whether the environment has what the tree asks for. Raises PipError."""
        if not getattr(self._job.options, "check_build_deps", False) or source.sha256 is not None:
            return
        system = build_system.build_system_of(source.path / source.subdirectory)
        if system is not None:
            held = {one.project: one.version for one in self._job.environment.packages() if one.version is not None}
            markers, place = self._job.markers, place_of(source)
            build_system.check(system.requires, held, markers, place, "the backend dependencies", missing=True)

    def _isolated(self, source: Source, shown: str = "") -> dict[str, Any]:
        key = _key(source)
        if (place := place_of(source)) in self._above:
            raise PipError(f"{place} is already being built: {shown} from {place}")
        if key not in self._environments:
            directory = self._job.scratch / f"build-env-{len(self._environments)}"
            self._environments[key] = (set(), directory, self._bring((), directory, source))
        satisfies, directory, pins = self._environments[key]
        python = str(directory / "bin" / "python")
        return {"directory": str(directory), "python": python, "pins": pins, "also": [], "satisfies": sorted(satisfies)}

    def _bring_more(self, source: Source, needs: Sequence[str], shown: str) -> dict[str, Any]:
        key = _key(source)
        satisfies, _, _ = self._environments[key]
        what = "Installing backend dependencies" if satisfies else "Installing build dependencies"
        markers = self._job.markers
        if satisfies:
            held = build_system.pinned_versions(self._environments[key][2])
            build_system.check(needs, held, markers, place_of(source), "the backend dependencies")
            if build_system.has_all(needs, held, markers):
                self._environments[key] = (satisfies | set(needs), *self._environments[key][1:])
                return self._isolated(source)
        if satisfies.issuperset(needs):
            raise PipError(f"{shown} asks for build requirements again that it has already: {', '.join(needs)}")
        self._job.voice.info(f"{what}: started")
        wanted = sorted(satisfies | set(needs))
        directory = self._job.scratch / f"build-env-{len(self._environments)}-{len(wanted)}"
        try:
            pins = self._bring(wanted, directory, source)
        except PipError as error:
            self._job.voice.info(f"{what}: finished with status 'error'")
            raise PipError(
                str(error), hint=f"Failed to build '{shown}' when installing build dependencies for {shown}"
            ) from error
        self._environments[key] = (set(wanted), directory, pins)
        system = build_system.build_system_of(source.path / source.subdirectory) if source.sha256 is None else None
        if system is not None and system.implied:
            held = build_system.pinned_versions(pins)
            build_system.check(system.implied, held, markers, place_of(source), "PEP 517/518 supported requirements")
        self._job.voice.info(f"{what}: finished with status 'done'")
        return self._isolated(source)


def own_pin(one: Distribution) -> str:
    """What names an installed package for the node, which keeps wheels by what they were built with.

    A name and a version say too little of an environment that its user changes: two of one version may differ, and one
    whose sources are in use may have changed since it was last asked.
    """
    record = None if one.is_editable else one.read("RECORD")
    told = sha256(record.encode("utf-8", "surrogateescape")).hexdigest() if record else f"unknown:{time.time_ns()}"
    return f"{one.name}=={one.version_text} --record={told}"


def place_of(source: Source) -> str:
    return Path(os.path.abspath(source.path)).as_uri()  # noqa: PTH100


def _key(source: Source) -> str:
    return json.dumps([str(source.path), source.subdirectory, source.editable])


def _in(prefix: str, executable: str) -> str:
    """The interpreter in its environment, so that the sandbox shows it."""
    if executable.startswith(prefix + os.sep):
        return executable
    return str(Path(prefix) / "bin" / "python")
