"""What is known of an installed package, in the fields of pip's `show`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from p2pcdn_shim.zephyr.pip.controls import normalize
from p2pcdn_shim.zephyr.pip.installed import Distribution, Environment


def described(
    one: Distribution, among: Environment, markers: Mapping[str, str], *, files: bool, verbose: bool
) -> Iterator[str]:
    """The lines of one package."""
    metadata = one.metadata

    def field(name: str) -> str:
        return str(metadata.get(name, ""))

    yield f"Name: {one.name}"
    yield f"Version: {one.version_text}"
    yield f"Summary: {field('Summary')}"
    yield f"Home-page: {homepage(one)}"
    yield f"Author: {field('Author')}"
    yield f"Author-email: {field('Author-email')}"
    version = tuple(int(part) for part in re.findall(r"\d+", field("Metadata-Version")))
    if version >= (2, 4) and field("License-Expression"):
        yield f"License-Expression: {field('License-Expression')}"
    else:
        yield f"License: {field('License')}"
    yield f"Location: {one.location}"
    if one.editable_location is not None:
        yield f"Editable project location: {one.editable_location}"
    yield f"Requires: {', '.join(required(one, markers))}"
    yield f"Required-by: {', '.join(required_by(one, among, markers))}"
    if verbose:
        yield from _verbose(one)
    if files:
        yield "Files:"
        declared = one.declared_files()
        if declared is None:
            yield "Cannot locate RECORD or installed-files.txt"
        else:
            yield from (f"  {path.strip()}" for path in sorted(declared))


def _verbose(one: Distribution) -> Iterator[str]:
    yield f"Metadata-Version: {one.metadata.get('Metadata-Version', '')}"
    yield f"Installer: {one.installer}"
    yield "Classifiers:"
    yield from (f"  {line}" for line in one.metadata.get_all("Classifier") or ())
    yield "Entry-points:"
    yield from (f"  {line.strip()}" for line in (one.read("entry_points.txt") or "").splitlines())
    yield "Project-URLs:"
    yield from (f"  {line}" for line in one.metadata.get_all("Project-URL") or ())


def homepage(one: Distribution) -> str:
    """Of Home-page, else of the Project-URL that is called so (in whatever spelling)."""
    if one.metadata.get("Home-page"):
        return str(one.metadata["Home-page"])
    for line in one.metadata.get_all("Project-URL") or ():
        label, _, url = str(line).partition(",")
        if re.sub(r"[\W_]+", "", label).lower() == "homepage":
            return url.strip()
    return ""


def required(one: Distribution, markers: Mapping[str, str]) -> list[str]:
    """The projects that it needs; as it says it, where that cannot be read."""
    try:
        return sorted({requirement.name for requirement in one.requires(markers, strict=True)}, key=str.lower)
    except ValueError:
        return sorted(one.requires_texts, key=str.lower)


def required_by(one: Distribution, among: Environment, markers: Mapping[str, str]) -> list[str]:
    """The installed projects that need it; "#N/A" where what one of them needs cannot be read."""
    names = (
        other.name or "UNKNOWN"
        for other in among.all.values()
        if one.project in {normalize(requirement.name) for requirement in other.requires(markers, strict=True)}
    )
    try:
        return sorted(names, key=str.lower)
    except ValueError:
        return ["#N/A"]
