"""A small TOML file is parsed once; what was kept of it is what tomllib said, or is not used."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from p2pcdn_shim.zephyr.configuration import parsed
from tests.shim.test_startup import loaded
from tests.shim.zephyr import zephyr

TEXT = '[project]\nname = "ünïcode"\nlist = [1, 2.5, true, { a = "b" }]\n[tool.zephyr]\nlink-mode = "copy"\n'


def test_a_text_comes_back_as_it_was_parsed_and_no_other_text_does(tmp_path: Path) -> None:
    environ = {"ZEPHYR_CACHE_DIR": str(tmp_path)}
    assert parsed.recall(TEXT, environ) is None
    parsed.keep(TEXT, tomllib.loads(TEXT), environ)
    assert parsed.recall(TEXT, environ) == tomllib.loads(TEXT)
    assert parsed.recall(TEXT + "# more", environ) is None
    (record,) = (tmp_path / "parsed").iterdir()
    record.write_text(record.read_text().replace("copy", "link", 1))  # another text has its place now
    assert parsed.recall(TEXT, environ) is None
    record.write_text("[")
    assert parsed.recall(TEXT, environ) is None


@pytest.mark.parametrize("text", ["a = 2024-01-01", "a = 07:32:00", "a = nan", "a = [inf]", f"a = '{'x' * 70_000}'"])
def test_what_json_cannot_say_is_parsed_each_time(text: str, tmp_path: Path) -> None:
    environ = {"ZEPHYR_CACHE_DIR": str(tmp_path)}
    parsed.keep(text, tomllib.loads(text), environ)
    assert parsed.recall(text, environ) is None


def test_a_file_with_a_password_is_copied_nowhere_and_no_copy_is_for_others_to_read(tmp_path: Path) -> None:
    environ = {"ZEPHYR_CACHE_DIR": str(tmp_path)}
    text = 'index-url = "https://me:hunter2@example.org/simple/"'
    parsed.keep(text, tomllib.loads(text), environ)
    assert not list(tmp_path.iterdir())
    parsed.keep(TEXT, tomllib.loads(TEXT), environ)
    (record,) = (tmp_path / "parsed").iterdir()
    assert not record.stat().st_mode & 0o077


def test_a_project_is_read_again_without_tomllib_until_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text('[tool.zephyr]\nlink-mode = "copy"\n')
    assert "copy" in zephyr("config", home=tmp_path).stdout
    assert "tomllib" not in loaded(["config"], tmp_path)
    file.write_text('[tool.zephyr]\nlink-mode = "hardlink"\n')
    assert "hardlink" in zephyr("config", home=tmp_path).stdout
