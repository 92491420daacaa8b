"""Lock files (pylock.toml, PEP 751) as a source of requirements, and as what `lock` writes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

from p2pcdn_shim.zephyr.pip.asked import Ask
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.link import Link, link_at
from p2pcdn_shim.zephyr.pip.web import NotThere
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pcdn.envs.model import Chosen, Target
    from p2pcdn_shim.zephyr.pip.voice import PipVoice
    from p2pcdn_shim.zephyr.pip.web import Web


def is_lock(file: str) -> bool:
    return re.fullmatch(r"pylock(\.[^.]+)?\.toml", file.rstrip("/").rpartition("/")[2]) is not None


def locked_asks(file: str, target: Target, web: Web, voice: PipVoice, links: dict[str, Link]) -> Iterator[Ask]:
    """What the lock chooses for the target, each pinned to its file and hashes. Raises PipError.

    links: gets the files of an index that the lock names, by project.
    """
    from p2pcdn.envs.pylock import read_lock
    from p2pcdn.envs.selection import select
    from p2pcdn.errors import P2pcdnError

    voice.warn(
        "Using pylock.toml as a requirements source is an experimental feature. It may be removed/changed in a future"
        " release without prior warning."
    )
    content = _content(file, web)
    try:
        lock = read_lock(content, file)
    except P2pcdnError as error:
        raise PipError(f"Invalid pylock file {file!r}: {error}") from error
    for note in lock.notes:
        voice.warn(note)
    try:
        chosen = select(lock, target, extras=(), groups=None)
    except P2pcdnError as error:
        raise PipError(f"Cannot select requirements from pylock file {file!r}: {error}") from error
    base = file if re.match(r"(https?|file):", file) else Path(file).absolute().as_uri()
    for one in chosen:
        yield _ask(one, base, file, links)


def _content(file: str, web: Web) -> bytes:
    try:
        if re.match(r"https?:", file):
            return web.page(file).content
        return Path(file.removeprefix("file://")).read_bytes()
    except (OSError, NotThere) as error:
        raise PipError(f"Error reading pylock file {file!r}: {error}") from error


def _ask(one: Chosen, base: str, file: str, links: dict[str, Link]) -> Ask:
    from packaging.requirements import Requirement

    package = one.package
    if package.directory is not None:
        place = urljoin(base.rpartition("/")[0] + "/", package.directory.path)
        sub = f"#subdirectory={package.directory.subdirectory}" if package.directory.subdirectory else ""
        link = link_at(place + sub)
        return Ask(
            package.name, Requirement(package.name), link, editable=package.directory.editable, origin=f"-r {file}"
        )
    if package.vcs is not None:
        sub = f"#subdirectory={package.vcs.subdirectory}" if package.vcs.subdirectory else ""
        where = package.vcs.url or urljoin(base.rpartition("/")[0] + "/", package.vcs.path or "")
        return Ask(
            package.name,
            Requirement(package.name),
            link_at(f"git+{where}@{package.vcs.commit_id}{sub}"),
            origin=f"-r {file}",
        )
    assert one.file is not None
    place = one.file.url or urljoin(base.rpartition("/")[0] + "/", one.file.path or "")
    sub = f"#subdirectory={one.file.subdirectory}" if one.file.subdirectory else ""
    hashes = {name: (digest,) for name, digest in one.file.hashes.items() if name in ("sha256", "sha384", "sha512")}
    uploaded = one.file.upload_time.isoformat() if one.file.upload_time is not None else ""
    known = {name: digests[0] for name, digests in hashes.items()}
    link = Link(place + sub, known, file, upload_time=uploaded)
    if one.kind == "archive":
        return Ask(package.name, Requirement(package.name), link, hashes=hashes, origin=f"-r {file}")
    links[package.name] = link
    pinned = Requirement(f"{package.name}=={package.version}" if package.version else package.name)
    return Ask(package.name, pinned, None, hashes=hashes, origin=f"-r {file}")
