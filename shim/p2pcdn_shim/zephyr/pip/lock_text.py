"""What was chosen, as the text of a pylock.toml (PEP 751)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from p2pcdn_shim.zephyr.pip.hashing import digest_of
from p2pcdn_shim.zephyr.pip.making import Maker
from p2pcdn_shim.zephyr.pip.outcome import Chosen, Outcome
from p2pcdn_shim.zephyr.pip.web import public


def lock_text(maker: Maker, outcome: Outcome, base: Path) -> str:
    """base: the directory of the lock; paths in it begin there."""
    lines = ['lock-version = "1.0"', 'created-by = "zephyr"']
    for one in sorted(outcome.changes, key=lambda one: one.project):
        lines += ["", "[[packages]]", f"name = {_text(one.project)}", *_package(maker, one, base)]
    return "\n".join(lines) + "\n"


def _package(maker: Maker, one: Chosen, base: Path) -> Iterator[str]:
    prepared = one.prepared
    assert prepared is not None
    link = prepared.link
    below = [f"subdirectory = {_text(link.subdirectory)}"] if link.subdirectory else []
    if link.is_vcs:
        repository, revision = link.repository
        yield from ("", "[packages.vcs]", 'type = "git"', f"url = {_text(public(repository))}")
        if revision:
            yield f"requested-revision = {_text(revision)}"
        yield from (f"commit-id = {_text(prepared.commit)}", *below)
    elif link.is_directory:
        yield from ("", "[packages.directory]", f"path = {_text(_path(link.path, base))}")
        if prepared.editable:
            yield "editable = true"
        yield from below
    else:
        digest = link.hashes.get("sha256") or digest_of(maker.file(one))
        where = f"url = {_text(public(link.plain))}"
        if one.direct:
            if link.is_file:
                where = f"path = {_text(_path(link.path, base))}"
            yield from ("", "[packages.archive]", where, *below)
            yield from ("", "[packages.archive.hashes]", f"sha256 = {_text(digest)}")
            return
        yield f"version = {_text(one.version)}"
        kind = "[[packages.wheels]]" if link.is_wheel else "[packages.sdist]"
        table = "packages.wheels" if link.is_wheel else "packages.sdist"
        yield from ("", kind, f"name = {_text(link.filename)}", where)
        yield from ("", f"[{table}.hashes]", f"sha256 = {_text(digest)}")


def _path(path: Path, base: Path) -> str:
    return os.path.relpath(path, base).replace(os.sep, "/")


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
