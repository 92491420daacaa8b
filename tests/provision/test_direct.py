"""Packages by direct URL: what the URL itself promises is held to."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, cast

import pytest

from p2pcdn.errors import DigestMismatch, P2pcdnError, Refused
from p2pcdn.provision.direct import Direct, Terms
from p2pcdn.provision.local import keep_file
from p2pcdn.provision.promised import ALGORITHMS, check, promises
from p2pcdn.resolve import Source
from tests.bench.wheels import make_wheel
from tests.worlds import INDEX, InlineThreads, open_store

DEMO = make_wheel("demo")


@pytest.mark.parametrize(
    ("fragment", "error"),
    [
        (f"sha256={'0' * 64}", DigestMismatch),
        (f"sha512={'0' * 128}", DigestMismatch),
        (f"egg=demo&SHA384={'0' * 96}", DigestMismatch),
        (f"md5={'0' * 32}", DigestMismatch),
        (f"sha256={DEMO.sha256}&sha512={'0' * 128}", DigestMismatch),
        (f"sha256={DEMO.sha256}&sha256={'0' * 64}", DigestMismatch),
        ("sha256=no-hash", Refused),
        ("sha256=", Refused),
        (f"sha512={DEMO.sha256}", Refused),
    ],
)
async def test_a_file_that_is_not_what_its_url_says_is_refused(
    tmp_path: Path, fragment: str, error: type[P2pcdnError]
) -> None:
    file = tmp_path / DEMO.filename
    file.write_bytes(DEMO.content)
    async with open_store(tmp_path / "store") as store:
        nothing = cast(Any, None)  # it does not come to that
        direct = Direct(store, nothing, nothing, nothing, nothing, InlineThreads(), INDEX)
        with pytest.raises(error, match="(?i)" + re.findall(r"(\w+)=", fragment)[-1]):
            await direct.of(Source("demo", url=f"{file.as_uri()}#{fragment}"), Terms())
        with pytest.raises(Refused, match="cannot be read"):
            await direct.of(Source("demo", url="https://h.example:port/demo-1.0.tar.gz"), Terms())


@pytest.mark.parametrize("size_bytes", [0, 9_000_000])
async def test_a_file_that_is_what_its_url_says_is_so_by_every_hash(tmp_path: Path, size_bytes: int) -> None:
    async with open_store(tmp_path / "store") as store:
        demo = make_wheel("demo", size_bytes=size_bytes)
        (file := tmp_path / demo.filename).write_bytes(demo.content)
        blob = await keep_file(store, InlineThreads(), file, "demo")
        right = [f"{name}={hashlib.new(name, demo.content).hexdigest()}" for name in sorted(ALGORITHMS)]
        await check(demo.filename, blob, promises("demo", "&".join([*right, "subdirectory=x"])), InlineThreads())
        for wrong in (f"{name}={'0' * 2 * hashlib.new(name).digest_size}" for name in ALGORITHMS):
            with pytest.raises(DigestMismatch):
                await check(demo.filename, blob, promises("demo", "&".join([*right, wrong])), InlineThreads())
