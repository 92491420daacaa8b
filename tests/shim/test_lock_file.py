"""What a lock's text says of itself is found whatever git made of the ends of its lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pcdn_shim.zephyr.lock import lock_file

LOCK = f"""lock-version = "1.0"
extras = ["x"]
dependency-groups = ["dev", "Docs_all"]
default-groups = ["dev"]
created-by = "zephyr"

[[packages]]
name = "a"

[tool.zephyr]
inputs = "{"0" * 64}"
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_who_wrote_it_for_what_and_with_which_groups(tmp_path: Path, end: str) -> None:
    file = tmp_path / "pylock.toml"
    file.write_bytes(LOCK.replace("\n", end).encode())
    text = lock_file.read(file)
    assert text is not None
    assert lock_file.is_ours(text)
    assert lock_file.inputs_of(text) == "0" * 64
    assert lock_file.named_in(text, "extras") == ["x"]
    assert lock_file.named_in(text, "dependency-groups") == ["dev", "docs-all"]
    assert not lock_file.is_ours(text.replace('"zephyr"', '"pdm"'))
