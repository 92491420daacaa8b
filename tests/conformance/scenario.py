"""A scenario as packse writes it (TOML), and an index that has its packages, as a node's upstream answers (PEP 691)."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from p2pcdn.fetch import Wanted as WantedFile
from p2pcdn.names import normalize_project
from tests.worlds import INDEX, Answer

# What uv takes where a scenario says nothing.
REQUIRES_PYTHON = ">=3.12"
JSON = {"content-type": "application/vnd.pypi.simple.v1+json", "cache-control": "max-age=600"}
FILES = "https://files.example/"


@dataclass(frozen=True)
class Scenario:
    """One file. file_name: without its ending; uv's tests know it by that."""

    file_name: str
    fields: Mapping[str, Any]

    @classmethod
    def read(cls, file: Path) -> Scenario:
        return cls(file.stem, tomllib.loads(file.read_text()))

    @property
    def options(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.fields.get("resolver_options", {})
        return found

    @property
    def is_universal(self) -> bool:
        return bool(self.options.get("universal"))

    @property
    def is_satisfiable(self) -> bool:
        return bool(self.fields["expected"]["satisfiable"])

    @property
    def expected(self) -> dict[str, str]:
        """By project; empty where it does not say."""
        return {normalize_project(name): one for name, one in self.fields["expected"].get("packages", {}).items()}

    @property
    def question(self) -> dict[str, Any]:
        """What a node is asked for the lock of a project that requires the same."""
        return {
            "requirements": list(self.fields["root"]["requires"]),
            "requires_python": self._requires_python,
            "environments": list(self.options.get("required_environments", ())),
            "prefer": self.options.get("resolution", "highest"),
            "prereleases": "allow" if self.options.get("prereleases") else "if-necessary",
            "no_binary": list(self.options.get("no_binary", ())),
            "only_binary": list(self.options.get("no_build", ())),
        }

    @property
    def _requires_python(self) -> str:
        if self.fields.get("testgen", {}).get("kind") == "compile":
            # `uv pip compile --universal` goes on from the interpreter that runs it.
            return f">={self.fields['environment']['python']}"
        return str(self.fields["root"].get("requires_python", REQUIRES_PYTHON))

    def versions(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """(project, version, what is said of it)."""
        for name, package in self.fields.get("packages", {}).items():
            for version, said in package["versions"].items():
                yield normalize_project(name), version, said


@dataclass
class ScenarioIndex:
    """An index of the scenario's files, which have no bytes: only pages and metadata are asked for."""

    scenario: Scenario
    _pages: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _metadata: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for project, version, said in self.scenario.versions():
            content = metadata_of(project, version, said)
            for filename in filenames(project, version, said):
                self._metadata[filename] = content
                self._pages.setdefault(project, []).append(_row(filename, content, said))

    def answer(self, url: str, _: Mapping[str, str]) -> Answer:
        if url.startswith(INDEX.url):
            project = url.removeprefix(INDEX.url).strip("/")
            if project not in self._pages:
                return Answer(status=404)
            page = {"meta": {"api-version": "1.1"}, "name": project, "files": self._pages[project]}
            return Answer(json.dumps(page).encode(), headers=JSON)
        for filename, content in self._metadata.items():
            if url == f"{FILES}{quote(filename)}.metadata":
                return Answer(content)
        return Answer(status=404)

    async def of_sdist(self, wanted: WantedFile) -> bytes:
        """What a build would say."""
        return self._metadata[wanted.file.filename]


def filenames(project: str, version: str, said: Mapping[str, Any]) -> list[str]:
    stem = f"{project.replace('-', '_')}-{version}"
    tags = (said.get("wheel_tags") or ["py3-none-any"]) if said.get("wheel", True) else []
    return [*(f"{stem}-{tag}.whl" for tag in tags), *([f"{stem}.tar.gz"] if said.get("sdist", True) else [])]


def metadata_of(project: str, version: str, said: Mapping[str, Any]) -> bytes:
    requires_python = said.get("requires_python", REQUIRES_PYTHON)
    lines = ["Metadata-Version: 2.3", f"Name: {project}", f"Version: {version}"]
    lines += [f"Requires-Python: {requires_python}"] if requires_python else []
    lines += [f"Requires-Dist: {text}" for text in requires_of(said)]
    lines += [f"Provides-Extra: {extra}" for extra in said.get("extras", {})]
    return ("\n".join(lines) + "\n\n").encode()


def requires_of(said: Mapping[str, Any]) -> Iterator[str]:
    """What a version requires, its extras' with the marker that METADATA has for them."""
    yield from said.get("requires", ())
    for extra, several in said.get("extras", {}).items():
        for text in several:
            plain, semicolon, marker = text.partition(";")
            yield f'{plain}; ({marker}) and extra == "{extra}"' if semicolon else f'{plain}; extra == "{extra}"'


def _row(filename: str, content: bytes, said: Mapping[str, Any]) -> dict[str, Any]:
    row = {
        "filename": filename,
        "url": f"{FILES}{quote(filename)}",
        "hashes": {"sha256": hashlib.sha256(filename.encode()).hexdigest()},
        "requires-python": said.get("requires_python", REQUIRES_PYTHON) or None,
        "yanked": said.get("yanked", False),
        "upload-time": "2024-03-24T00:00:00Z",
    }
    if filename.endswith(".whl"):
        row["core-metadata"] = {"sha256": hashlib.sha256(content).hexdigest()}
    return row
