"""A call that found nothing to do is answered at once, and only while everything that it stood on is as it was."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from p2pcdn_shim.zephyr import settled

LATER_NS = 10_000_000_000
WORDS = ["sync", "--frozen"]


class Place:
    """A project whose files are as old as they need to be."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "pylock.toml"
        self.absent = directory / "pyproject.toml"
        self.environ = {"ZEPHYR_CACHE_DIR": str(directory / "cache"), "TERM": "dumb"}
        self.file.write_text("a lock")

    def remember(self, printed: str = "all there\n") -> None:
        began_ns = settled.now_ns() + LATER_NS
        settled.remember(WORDS, [str(self.file), str(self.absent)], printed, began_ns=began_ns, environ=self.environ)

    def answer(self, *more: str, **variables: str) -> str | None:
        return settled.answer_to([*WORDS, *more], self.environ | variables)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path)


def test_the_same_call_is_answered_in_the_same_words(place: Place) -> None:
    assert place.answer() is None
    place.remember("ünïcode\nand two lines\n")
    assert place.answer() == "ünïcode\nand two lines\n"
    assert place.answer(TERM="another", SHLVL="7") is not None, "no command looks at these"


def test_another_call_is_not(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.remember()
    assert place.answer("--json") is None
    assert place.answer(ZEPHYR_LINK_MODE="copy") is None
    elsewhere = place.file.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert place.answer() is None


@pytest.mark.parametrize(
    "change",
    [
        lambda place: place.file.write_text("another"),
        lambda place: place.file.write_text("A LOCK"),
        lambda place: place.file.chmod(0o600),
        lambda place: place.file.unlink(),
        lambda place: place.absent.touch(),
        lambda place: os.utime(place.file, ns=(1, 1)),
    ],
    ids=["longer", "as long", "mode", "gone", "new", "time"],
)
def test_nothing_is_answered_once_a_file_has_changed(place: Place, change: Callable[[Place], object]) -> None:
    place.remember()
    assert place.answer() is not None
    change(place)
    assert place.answer() is None


def test_a_file_that_may_have_changed_meanwhile_is_not_relied_upon(place: Place) -> None:
    settled.remember(WORDS, [str(place.file)], "x", began_ns=settled.now_ns(), environ=place.environ)
    assert place.answer() is None


def test_no_password_is_written_down_and_nobody_else_reads_or_writes_an_answer(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.environ["UV_INDEX_OURS_PASSWORD"] = "hunter2"
    words, began_ns = ["sync", "--index-url=https://me:hunter2@example.org/"], settled.now_ns() + LATER_NS
    settled.remember(words, [str(place.file)], "all there", began_ns=began_ns, environ=place.environ)
    (record,) = (place.file.parent / "cache" / "settled").iterdir()
    assert "hunter2" not in record.read_text()
    assert not (record.stat().st_mode | record.parent.stat().st_mode) & 0o077
    assert settled.answer_to(words, place.environ) == "all there"
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)  # it is another user's, seen from there
    assert settled.answer_to(words, place.environ) is None


def test_what_cannot_be_read_or_written_is_as_nothing(place: Place) -> None:
    place.remember()
    (record,) = (place.file.parent / "cache" / "settled").iterdir()
    for broken in (b"", b"\0", b"\xff\xfe", record.read_bytes()[:40]):
        record.write_bytes(broken)
        assert place.answer() is None
    record.unlink()
    record.parent.rmdir()
    record.parent.touch()
    place.remember()
    assert place.answer() is None
