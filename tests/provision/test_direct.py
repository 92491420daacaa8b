"""Packages by direct URL: what the URL itself promises is held to."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from p2pcdn.errors import DigestMismatch, P2pcdnError, Refused
from p2pcdn.provision.direct import Direct, Terms
from p2pcdn.resolve import Source
from tests.bench.wheels import make_wheel
from tests.worlds import INDEX, InlineThreads, open_store

DEMO = make_wheel("demo")


@pytest.mark.parametrize(
    ("fragment", "error"),
    [(f"sha256={'0' * 64}", DigestMismatch), ("sha256=no-hash", Refused)],
)
async def test_a_file_that_is_not_what_its_url_says_is_refused(
    tmp_path: Path, fragment: str, error: type[P2pcdnError]
) -> None:
    file = tmp_path / DEMO.filename
    file.write_bytes(DEMO.content)
    async with open_store(tmp_path / "store") as store:
        nothing = cast(Any, None)  # it does not come to that
        direct = Direct(store, nothing, nothing, nothing, nothing, InlineThreads(), INDEX)
        with pytest.raises(error, match="sha256"):
            await direct.of(Source("demo", url=f"{file.as_uri()}#{fragment}"), Terms())
        with pytest.raises(Refused, match="cannot be read"):
            await direct.of(Source("demo", url="https://h.example:port/demo-1.0.tar.gz"), Terms())
