"""What is installed, as lines of a requirements file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from p2pcdn_shim.zephyr.pip import repositories
from p2pcdn_shim.zephyr.pip.controls import normalize
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.installed import Distribution
from p2pcdn_shim.zephyr.pip.selection import pinned
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

# Lines of a requirements file that are taken over as they are, each once.
_TAKEN_OVER = (
    "-r", "--requirement", "-f", "--find-links", "-i", "--index-url", "--pre", "--trusted-host",
    "--process-dependency-links", "--extra-index-url", "--use-feature",
)  # fmt: skip
Tell = Callable[[str], None]


def lines_of(one: Distribution, warn: Tell) -> list[str]:
    """Of one package: comments, and the requirement."""
    if not one.is_editable:
        direct = one.direct_url
        return [direct_reference(direct, one.name) if direct is not None else pinned(one)]
    location = os.path.normcase(os.path.abspath(one.editable_location or ""))  # noqa: PTH100 - links stay
    comments: list[str] = []
    text = location
    try:
        known = repositories.frozen(Path(location), one.name)
        if known is None:
            comments = [f"# Editable install with no version control ({pinned(one)})"]
        text = known or location
    except repositories.NoRemote:
        comments = [f"# Editable Git install with no remote ({pinned(one)})"]
    except repositories.BadRemote as bad:
        comments = [
            f"# Editable Git install ({pinned(one)}) with either a deleted local remote or invalid URI:",
            f"# '{bad.url}'",
        ]
    except PipError as error:
        warn(f"Error when trying to get requirement for VCS system {error}")
        comments = ["## !! Could not determine repository location"]
    return [*comments, f"-e {text}"]


def direct_reference(direct: dict[str, Any], name: str) -> str:
    """`name @ URL` of a direct_url.json (PEP 610, PEP 440)."""
    fragments = []
    if "vcs_info" in direct:
        url = f"{direct['vcs_info']['vcs']}+{direct['url']}@{direct['vcs_info']['commit_id']}"
    else:
        url = direct["url"]
        info = direct.get("archive_info") or {}
        hashes = info.get("hashes") or {}
        if "sha256" in hashes:
            fragments.append(f"sha256={hashes['sha256']}")
        elif info.get("hash"):
            fragments.append(str(info["hash"]))
    if direct.get("subdirectory"):
        fragments.append(f"subdirectory={direct['subdirectory']}")
    return f"{name} @ {url}" + (f"#{'&'.join(fragments)}" if fragments else "")


def freeze(
    found: Iterable[Distribution], files: Iterable[str], skip: set[str], tell: Tell, warn: Tell
) -> Iterator[str]:
    """All lines: first those that the requirements files name, in their order, then the others by name.

    skip: projects that are left out of the others. Raises PipError for a file that cannot be read.
    """
    frozen = {one.project: (one, lines_of(one, warn)) for one in found}
    files = list(files)
    if files:
        yield from _in_the_order_of(files, frozen, tell, warn)
        yield "## The following requirements were added by pip freeze:"
    for project, (_, lines) in sorted(frozen.items(), key=lambda item: item[1][0].name.lower()):
        if project not in skip:
            yield from lines


def _in_the_order_of(
    files: list[str], frozen: dict[str, tuple[Distribution, list[str]]], tell: Tell, warn: Tell
) -> Iterator[str]:
    seen: set[str] = set()
    named: dict[str, list[str]] = {}
    for file in files:
        for line in _lines(file):
            if not line.strip() or line.strip().startswith("#") or line.startswith(_TAKEN_OVER):
                if line.rstrip() not in seen:
                    seen.add(line.rstrip())
                    yield line.rstrip()
                continue
            text = re.sub(r"(^|\s+)#.*$", "", line).strip()
            name = _name_in(text)
            if not name:
                tell(f"Skipping line in requirement file [{file}] because it's not clear what it would install: {text}")
                tell("  (add #egg=PackageName to the URL to avoid this warning)")
            elif (project := normalize(name)) in frozen:
                yield from frozen.pop(project)[1]
                named.setdefault(name, []).append(file)
            elif name in named:
                named[name].append(file)
            else:
                warn(f"Requirement file [{file}] contains {text}, but package {name!r} is not installed")
    for name, several in named.items():
        if len(several) > 1:
            warn(f"Requirement {name} included multiple times [{', '.join(sorted(set(several)))}]")


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PipError(f"Could not open requirements file: {error}") from error


def _name_in(text: str) -> str:
    for flag in ("--editable", "-e"):
        text = text.removeprefix(flag).lstrip("= ")
    if "://" in text.partition("@")[0] or text.startswith(("file:", ".", "/")):
        match = re.search(r"egg=([A-Za-z0-9._-]+)", urlsplit(text).fragment)
        return match[1] if match else ""
    match = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", text)
    return match[0] if match else ""
