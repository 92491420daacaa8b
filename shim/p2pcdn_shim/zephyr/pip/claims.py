"""What packages say of themselves, as the solver wants to hear it, and where that cannot be right."""

from __future__ import annotations

from p2pcdn.resolve import Metadata, Source
from p2pcdn_shim.zephyr.pip.controls import normalize
from p2pcdn_shim.zephyr.pip.installed import Distribution
from p2pcdn_shim.zephyr.pip.sources import Prepared


def of_installed(source: Source, one: Distribution) -> Metadata:
    return Metadata(
        source,
        str(one.version),
        tuple(one.requires_texts),
        tuple(normalize(extra) for extra in one.extras),
        str(one.metadata.get("Requires-Python") or ""),
    )


def inconsistency(metadata: Metadata, prepared: Prepared, project: str, version: str) -> str:
    """Where a file says other things than its name."""
    from packaging.version import InvalidVersion, Version

    name = name_of(prepared.metadata)
    if name and normalize(name) != project:
        return f"inconsistent Name: expected {project!r}, but metadata has {name!r}"
    try:
        same = Version(metadata.version) == Version(version)
    except InvalidVersion:
        return f"invalid metadata: Invalid version: {metadata.version!r}"
    return "" if same else f"inconsistent version: expected {version!r}, but metadata has {metadata.version!r}"


def name_of(text: str) -> str:
    for line in text.splitlines():
        if not line.strip():
            break
        if line.lower().startswith("name:"):
            return line.partition(":")[2].strip()
    return ""


def unreadable(metadata: Metadata) -> str:
    """What is wrong with the requirements of a package; "" where nothing is."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        for text in filter(None, metadata.requires_dist):
            Requirement(text)
    except InvalidRequirement as error:
        return str(error)
    return ""
