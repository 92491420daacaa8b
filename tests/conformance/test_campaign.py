"""The campaign of the most used packages, on an index of four made ones."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.bench.clients import NoTool, tool
from tests.bench.upstream import FaultyUpstream, Style
from tests.bench.wheels import make_wheel, read_wheel
from tests.build.makers import wheel
from tests.conformance import campaign
from tests.conformance.import_script import modules_of
from tests.conformance.results import Journal, Row, share_failed, table


@pytest.fixture
def pip_is_here() -> None:
    try:
        tool("pip-new")
    except NoTool as why:
        pytest.skip(str(why))


@pytest.mark.usefixtures("pip_is_here")
def test_each_project_is_installed_and_imported_and_failures_are_told_with_pips_word(tmp_path: Path) -> None:
    lame = read_wheel(wheel(tmp_path, "lame", {"lame/__init__.py": "import a_library_that_is_not_there\n"}))
    files = (make_wheel("good"), lame, make_wheel("alone", requires=["nobody-has-this>=1"]))
    journal = Journal(tmp_path / "results.jsonl")
    with FaultyUpstream(files, Style(other_host=False)) as index:
        modules = {"good": ["good", "json"]}
        rows = campaign.walk(["good", "lame", "alone"], journal, tmp_path, index.url, modules=modules)
        good, lame_row, alone = rows
        assert (good.version, good.packages, good.modules, good.failed) == ("1.0", 1, ("good", "json"), "")
        assert (lame_row.failed, lame_row.pip) == ("import", "the same")
        assert "a_library_that_is_not_there" in lame_row.reason
        assert (alone.failed, alone.pip) == ("install", "the same")
        assert "nobody-has-this" in alone.reason
        assert not (tmp_path / "place").exists()
    # The index is gone: what was seen is not tried again.
    assert campaign.walk(["good", "lame", "alone"], journal, tmp_path, index.url) == rows


def test_a_journal_that_was_cut_off_goes_on_with_its_last_whole_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "results.jsonl")
    journal.add(Row("one", failed="import", reason="first"))
    journal.add(Row("one", version="2"))
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"project": "two", "vers')
    assert journal.rows() == {"one": Row("one", version="2")}


def test_the_table_is_toml_whatever_a_package_says() -> None:
    said = 'a "quoted"\\path\x7f\x00 and ü'
    rows = [Row("good", "1"), Row("bad", "2", failed="import", reason=said, pip="works"), Row("odd", failed="install")]
    read = tomllib.loads(table(rows, {"odd": "needs a compiler"}, "PyPI"))
    assert (read["projects"], read["installed"], read["imported"]) == (3, 2, 1)
    assert [one["project"] for one in read["failure"]] == ["bad", "odd"]
    assert read["failure"][0]["reason"] == said
    assert read["failure"][1]["known"] == "needs a compiler"
    assert read["versions"] == {"good": "1", "bad": "2"}


def test_only_failed_installs_without_a_known_reason_count() -> None:
    rows = [Row("a"), Row("b", failed="import"), Row("c", failed="install"), Row("d", failed="install")]
    assert share_failed(rows, {"d": "needs a compiler"}) == 0.25


def test_modules_are_found_as_an_import_finds_them() -> None:
    assert modules_of(["a/__init__.py", "a/b/__init__.py", "a/c.py", "a-1.dist-info/RECORD", "../../bin/a"]) == ["a"]
    assert modules_of(["space/part/__init__.py", "space/part/x.py", "tests/__init__.py"]) == ["space.part"]
    assert modules_of(["one.py", "_fast.abi3.so", "__pycache__/one.cpython-311.pyc"]) == ["_fast", "one"]
    assert modules_of(["space/api/late.py", "space/one.py", "space/two.py"]) == ["space.one", "space.two"]
    assert modules_of(["requests-stubs/__init__.pyi", "x-1.dist-info/METADATA"]) == []


def test_the_list_is_long_enough_and_names_nothing_twice() -> None:
    listed = tomllib.loads(campaign.POPULAR.read_text())
    names = listed["projects"]["names"]
    assert len(names) == len(set(names)) >= 200
    assert {*listed["known"], *listed["modules"]} <= set(names)
