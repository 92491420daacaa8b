"""Any content that a member could sign is a page or a protocol error; what we sign is what we would take."""

from __future__ import annotations

import zlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcdn import frames
from p2pcdn.errors import RemoteProtocolError
from p2pcdn.index.claimed import _content_of_row, _record_of, subject_of
from p2pcdn.index.shelf import checked_record
from tests.index.test_pages import page
from tests.worlds import INDEX, SECOND

ROW = {
    "body": zlib.compress(page("1.0")),
    "type": "application/vnd.pypi.simple.v1+json",
    "url": f"{INDEX.url}six/",
    "etag": '"secret"',
    "last_modified": None,
    "serial": 7,
    "checked_at": 1_800_000_000.0,
    "freshness": [600.0, 0.0],
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.binary(max_size=40) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.fixed_dictionaries({}, optional=dict.fromkeys(("body", "serial", "type", "url", "gone", "more"), VALUES))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | FIELDS.map(frames.encode) | VALUES.map(frames.encode))
def test_any_content_is_a_record_or_a_protocol_error(content: bytes) -> None:
    try:
        record = _record_of(content)
    except RemoteProtocolError:
        return
    kept = checked_record({**record, "checked_at": 1.0, "claim": b"x", "serial": None})
    assert _content_of_row(frames.encode(kept)) == content, "it is passed on as it came"


def test_what_we_sign_is_what_we_would_take() -> None:
    content = _content_of_row(frames.encode(ROW))
    assert content is not None
    record = _record_of(content)
    assert (record["body"], record["signed_serial"]) == (ROW["body"], 7)
    assert record["etag"] is None
    assert b"secret" not in content


def test_what_stands_behind_the_path_of_a_url_is_told_to_nobody() -> None:
    for url in (f"{INDEX.url}six/?token=secret", f"{INDEX.url}six/#secret", f"{INDEX.url}six/?a#secret"):
        content = _content_of_row(frames.encode({**ROW, "url": url}))
        assert content == _content_of_row(frames.encode(ROW))


def test_a_row_that_makes_no_sense_is_signed_by_nobody() -> None:
    odd: list[dict[str, Any]] = [{"body": 5}, {"type": None}, {"url": b""}, {"serial": "x"}, {"claim": 5}]
    for changed in odd:
        assert _content_of_row(frames.encode({**ROW, **changed})) is None
    assert _content_of_row(b"") is None


def test_a_subject_is_of_one_project_of_one_index() -> None:
    subjects = {subject_of(index, project) for index in (INDEX, SECOND) for project in ("six", "seven")}
    assert len(subjects) == 4
    assert all(len(subject) == 32 for subject in subjects)
