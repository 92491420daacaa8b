"""How a source tree says that it is built: its `[build-system]` (PEP 517, 518), or setuptools where it says nothing."""

from __future__ import annotations

import posixpath
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement

from p2pcdn.build.failure import Unbuilt

# A large one has 100 KiB.
PYPROJECT_SIZE_BYTES_MAX = 4 * 1024 * 1024
# Each is a wheel to install; scientific projects have a dozen.
REQUIREMENTS_MAX = 200


@dataclass(frozen=True, slots=True)
class BuildSystem:
    """requires: PEP 508 requirements. backend: `module:attribute`. backend_path: directories inside the tree."""

    requires: tuple[str, ...]
    backend: str
    backend_path: tuple[str, ...] = ()


# PEP 517: what a tree without a backend gets, `setup.py` or not.
LEGACY_BACKEND = "setuptools.build_meta:__legacy__"
LEGACY = BuildSystem(("setuptools>=40.8.0",), LEGACY_BACKEND)


def build_system(pyproject: bytes | None) -> BuildSystem:
    """From the content of pyproject.toml, or None where there is none. Raises Unbuilt with a sentence."""
    if pyproject is None:
        return LEGACY
    try:
        table = tomllib.loads(pyproject.decode("utf-8")).get("build-system")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unbuilt(f"its pyproject.toml cannot be read: {error}") from error
    if table is None:
        return LEGACY
    if not isinstance(table, Mapping) or "requires" not in table:
        raise Unbuilt("its [build-system] has no `requires`, which PEP 518 demands")
    requires = _strings(table["requires"], "build-system.requires")
    backend = table.get("build-backend", LEGACY_BACKEND)
    if not isinstance(backend, str) or not _is_object_path(backend):
        raise Unbuilt(f"its build-backend {backend!r} does not name a Python object")
    backend_path = _strings(table.get("backend-path", []), "build-system.backend-path")
    for path in backend_path:
        if path.startswith("/") or posixpath.normpath(path).startswith(".."):
            raise Unbuilt(f"its backend-path {path!r} leads outside of its directory, which PEP 517 forbids")
    return BuildSystem(checked_requirements(requires), backend, backend_path)


def checked_requirements(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The same. Raises Unbuilt unless each is a requirement (PEP 508), and there are not too many."""
    if len(texts) > REQUIREMENTS_MAX:
        raise Unbuilt(f"it asks for more than {REQUIREMENTS_MAX} requirements to be built")
    for text in texts:
        try:
            Requirement(text)
        except InvalidRequirement as error:
            raise Unbuilt(f"its build requirement {text[:200]!r} cannot be read: {error}") from error
    return texts


def _strings(value: object, what: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Unbuilt(f"its {what} is not a list of strings")
    return tuple(value)


def _is_object_path(backend: str) -> bool:
    module, _, attribute = backend.partition(":")
    parts = [*module.split("."), *(attribute.split(".") if attribute else [])]
    return all(part.isidentifier() for part in parts)
