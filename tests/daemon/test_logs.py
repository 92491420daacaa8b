"""Log lines: text for people, JSON for programs, and no credential in either."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from p2pcdn_daemon.serve import logs

SECRET = "https://user:pass@s3cret@index.example/simple/"


@pytest.fixture
def sink() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions
    yield io.StringIO()
    root.handlers[:], logging.raiseExceptions = before[0], before[2]
    root.setLevel(before[1])


def test_extras_are_keys_of_the_json_line(sink: io.StringIO) -> None:
    logs.configure("info", "json", sink)
    logging.getLogger("p2pcdn.index").warning("kept %s", "it", extra={"project": "numpy", "size_bytes": 3})
    line = json.loads(sink.getvalue())
    assert line["message"] == "kept it"
    assert (line["level"], line["logger"], line["project"], line["size_bytes"]) == (
        "warning",
        "p2pcdn.index",
        "numpy",
        3,
    )
    assert line["time"].endswith("+00:00")


def test_extras_stand_at_the_end_of_the_text_line(sink: io.StringIO) -> None:
    logs.configure("info", "text", sink)
    logging.getLogger("p2pcdn.index").info("kept\nit", extra={"project": "a b", "n": 3})
    assert sink.getvalue().endswith(' info index: kept it project="a b" n=3\n')
    assert sink.getvalue().count("\n") == 1


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_credential_is_logged(form: str, sink: io.StringIO) -> None:
    logs.configure("debug", form, sink)
    log = logging.getLogger("p2pcdn")
    extra = {"url": SECRET, "headers": {"authorization": "Basic dXNlcjpzM2NyZXQ="}, "more": [SECRET, {"a": SECRET}]}
    log.info("asked %s", SECRET, extra=extra)
    try:
        raise ValueError(SECRET)
    except ValueError:
        log.exception("failed")
    assert "s3cret" not in sink.getvalue()
    assert "dXNlcjpzM2NyZXQ=" not in sink.getvalue()
    assert "index.example" in sink.getvalue()


def test_what_json_cannot_write_is_written_as_text(sink: io.StringIO) -> None:
    logs.configure("info", "json", sink)
    logging.getLogger().info("x", extra={"odd": object(), "octets": b"\xff", "when": {1: {2}}})
    assert json.loads(sink.getvalue())["when"] == {"1": [2]}


def test_the_level_is_obeyed_and_loud_libraries_are_quiet(sink: io.StringIO) -> None:
    logs.configure("info", "text", sink)
    logging.getLogger("p2pcdn").debug("too much")
    logging.getLogger("httpx").info("HTTP Request: GET")
    assert sink.getvalue() == ""
