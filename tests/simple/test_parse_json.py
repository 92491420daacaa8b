"""JSON pages, as indexes send them and as they should not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from p2pcdn.digest import Sha256
from p2pcdn.errors import RemoteProtocolError
from p2pcdn.simple import File, ProjectPage, parse, parse_page, render_json

URL = "https://index.example/simple/sample/"
JSON = "application/vnd.pypi.simple.v1+json"
A, B = "a" * 64, "b" * 64


def page_of(*files: Any, **top: Any) -> ProjectPage:
    described = {"meta": {"api-version": "1.4"}, "name": "sample", "files": list(files)} | top
    return parse_page(json.dumps(described).encode(), JSON, URL, "sample")


def file_of(**keys: Any) -> File:
    described = {
        "filename": "sample-1.0-py3-none-any.whl",
        "url": "https://files.example/s.whl",
        "hashes": {"sha256": A},
    }
    (file,) = page_of(described | keys).files
    return file


def test_every_field_is_read() -> None:
    file = file_of(
        **{
            "size": 1234,
            "upload-time": "2026-01-02T03:04:05.678901Z",
            "requires-python": ">=3.11",
            "yanked": "broken",
            "core-metadata": {"sha256": B},
        }
    )
    assert file.sha256 == Sha256(A)
    assert file.size_bytes == 1234
    assert file.upload_time == "2026-01-02T03:04:05.678901Z"
    assert file.requires_python == ">=3.11"
    assert file.yanked == "broken"
    assert file.core_metadata == Sha256(B)


def test_unknown_keys_and_unknown_names_pass_untouched() -> None:
    described = {
        "filename": "sample-1.0-variants.json",
        "url": URL + "x",
        "hashes": {},
        "new": {"deep": [1, None, "é"]},
    }
    top = {"namespaces": {"prefix": "s"}, "alternate-locations": ["https://other.example/"], "versions": ["1.0"]}
    page = page_of(described, meta={"api-version": "1.7", "_last-serial": 5, "tracks": []}, **top)
    written = json.loads(render_json(page, lambda file: "/packages/x", lambda file: None))
    assert written == {
        "meta": {"api-version": "1.7", "_last-serial": 5, "tracks": []},
        "name": "sample",
        "files": [described | {"url": "/packages/x"}],
        **top,
    }


@pytest.mark.parametrize(
    ("link", "url"),
    [
        ("../../packages/s.whl", "https://index.example/packages/s.whl"),
        ("/packages/s.whl", "https://index.example/packages/s.whl"),
        ("s.whl", URL + "s.whl"),
        ("//cdn.example/s.whl", "https://cdn.example/s.whl"),
        ("https://cdn.example/s%2Bcpu.whl#sha256=0", "https://cdn.example/s%2Bcpu.whl"),
        ("https://cdn.example/s+cpu.whl?X-Sign=a%2Fb&c", "https://cdn.example/s+cpu.whl?X-Sign=a%2Fb&c"),
        ("HTTPS://cdn.example:8443/é s.whl", "https://cdn.example:8443/%C3%A9%20s.whl"),
        ("http://[2001:db8::1]:80/s.whl", "http://[2001:db8::1]:80/s.whl"),
    ],
)
def test_a_link_becomes_absolute(link: str, url: str) -> None:
    assert file_of(url=link).url == url


@pytest.mark.parametrize(
    "link",
    [
        "file:///etc/passwd", "ftp://files.example/s.whl", "javascript:alert(1)", "data:,x", "http:///s.whl",
        "https://files.example/s\r\nHost: x", "https://files.example/\x00", "https://files.example\\@other.example/",
        "http://[::1/s.whl", "http://files.example:99999/s.whl", "https://files.example/\ud800", "https://bücher.example/",
        "https://files.example/" + "x" * 9000,
    ],
)  # fmt: skip
def test_a_file_whose_link_must_not_be_followed_is_left_out(link: str) -> None:
    page = page_of({"filename": "sample-1.0.tar.gz", "url": link, "hashes": {}})
    assert (page.files, page.left_out) == ((), 1)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b.whl", "a\\b.whl", "a\nb.whl", "a\x7f", "\ud800", "x" * 256])
def test_a_file_with_an_unsafe_name_is_left_out(name: str) -> None:
    page = page_of({"filename": name, "url": "s.whl", "hashes": {}})
    assert (page.files, page.left_out) == ((), 1)


@pytest.mark.parametrize("digest", ["", "a" * 63, "g" * 64, "a" * 65, 7, ["a"], "../../etc/passwd"])
def test_a_file_with_a_sha256_that_is_none_is_left_out_and_does_not_pass_for_one_without(digest: Any) -> None:
    page = page_of({"filename": "s.whl", "url": "s.whl", "hashes": {"sha256": digest}})
    assert (page.files, page.left_out) == ((), 1)


def test_a_file_page_may_link_to_files_beside_it() -> None:
    content = json.dumps({"files": [{"filename": "s.whl", "url": "../../s.whl", "hashes": {}}]}).encode()
    page = parse_page(content, "", "file:///srv/simple/sample/index.json", "sample")
    assert page.files[0].url == "file:///srv/s.whl"
    assert page.raw == {"meta": {"api-version": "1.0"}, "name": "sample"}


def test_an_upper_case_hash_is_the_same_hash() -> None:
    assert file_of(hashes={"sha256": "AB" * 32}).sha256 == Sha256("ab" * 32)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, False),
        ({"core-metadata": False}, False),
        ({"core-metadata": True}, True),
        ({"core-metadata": {}}, True),
        ({"core-metadata": {"sha512": "ab"}}, True),
        ({"core-metadata": {"sha256": "short"}}, True),
        ({"core-metadata": {"sha256": B}}, Sha256(B)),
        ({"dist-info-metadata": {"sha256": B}}, Sha256(B)),
        ({"data-dist-info-metadata": {"sha256": B}}, Sha256(B)),
        ({"core-metadata": False, "dist-info-metadata": {"sha256": B}}, False),
        ({"core-metadata": "yes"}, False),
    ],
)
def test_core_metadata_is_read_by_its_newest_name(keys: dict[str, Any], expected: Sha256 | bool) -> None:
    assert file_of(**keys).core_metadata == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(True, True), (False, False), (None, False), ("", False), ("why", "why"), (1, False)]
)
def test_yanked_is_true_or_a_reason(value: Any, expected: bool | str) -> None:
    assert file_of(yanked=value).yanked == expected


@pytest.mark.parametrize("size", [-1, True, "12", 1.5, None, 2**63, [1]])
def test_a_size_that_is_no_size_is_unknown(size: Any) -> None:
    assert file_of(size=size).size_bytes is None


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b'"files"', b"<html></html>", b"{}", b'{"files": {}}', b'{"files": null}',
        b'{"files": [1]}', b'{"files": [{}]}', b'{"files": [{"filename": "a"}]}', b'{"files": [{"url": "a"}]}',
        b'{"files": [{"filename": 1, "url": "a"}]}', b'{"files": [], "meta": []}',
        b'{"files": [], "meta": {"api-version": "2.0"}}', b'{"files": [], "meta": {"api-version": "10.0"}}',
        b'{"files": [], "meta": {"api-version": "one"}}', b'{"files": [], "meta": {"api-version": null}}',
        b'{"files": [], "x": NaN}', b'{"files": [], "x": Infinity}', b'{"files": [], "x": ' + b"9" * 5000 + b"}",
        b'{"files": [], "x": "\xff"}', '{"files": []}'.encode("utf-16"), b"[" * 100_000,
        b'{"files": [], "x": ' + b"[" * 40 + b"]" * 40 + b"}",
        b'{"files": [{"filename": "a", "url": "a", "x": ' + b'{"y":' * 40 + b"1" + b"}" * 41 + b"]}",
    ],
)  # fmt: skip
def test_garbage_is_refused(content: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_page(content, JSON, URL, "sample")


@pytest.mark.parametrize(
    "content_type", ["application/vnd.pypi.simple.v2+json", "text/plain", "image/png", ";", "json"]
)
def test_another_content_type_is_refused(content_type: str) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_page(b'{"files": []}', content_type, URL, "sample")


def test_a_content_type_may_have_parameters_and_capitals() -> None:
    assert parse_page(b'{"files": []}', "Application/VND.pypi.simple.v1+JSON; charset=utf-8", URL, "sample").files == ()


def test_a_page_has_a_limit_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse, "FILES_MAX", 2)
    one = {"filename": "s.whl", "url": "s.whl", "hashes": {}}
    assert len(page_of(one, one).files) == 2
    with pytest.raises(RemoteProtocolError, match="more than 2 files"):
        page_of(one, one, one)
