"""HTML pages, as indexes send them, and the pages that others send in an index's place."""

from __future__ import annotations

import contextlib

import pytest

from p2pcdn.digest import Sha256
from p2pcdn.errors import RemoteProtocolError
from p2pcdn.simple import File, ProjectPage, parse_html, parse_page

URL = "https://index.example/simple/sample/"
A, B = "a" * 64, "b" * 64


def read(text: str, content_type: str = "text/html", url: str = URL) -> ProjectPage:
    return parse_page(text.encode(), content_type, url, "sample")


def link(attributes: str) -> File:
    (file,) = read(f"<!DOCTYPE html><html><body><a {attributes}>a text</a></body></html>").files
    return file


def test_a_link_says_what_json_would_say() -> None:
    file = link(
        f'href="/p/sample-1.0-py3-none-any.whl#sha256={A}" data-requires-python="&gt;=3.8,&lt;4"'
        f' data-yanked="a &quot;b&quot;" data-core-metadata="sha256={B}" data-dist-info-metadata="true"'
        ' data-gpg-sig="false" data-provenance="https://index.example/integrity/x"'
    )
    assert (file.sha256, file.core_metadata, file.size_bytes, file.upload_time) == (Sha256(A), Sha256(B), None, None)
    assert file.raw == {
        "filename": "sample-1.0-py3-none-any.whl",
        "url": "https://index.example/p/sample-1.0-py3-none-any.whl",
        "hashes": {"sha256": A},
        "requires-python": ">=3.8,<4",
        "core-metadata": {"sha256": B},
        "yanked": 'a "b"',
        "gpg-sig": False,
        "provenance": "https://index.example/integrity/x",
    }


@pytest.mark.parametrize("attribute", ["data-yanked", "data-yanked=''", 'DATA-YANKED=""'])
def test_a_file_may_be_yanked_without_a_reason(attribute: str) -> None:
    file = link(f"href=sample-1.0.zip {attribute}")
    assert file.yanked is True
    assert file.raw["yanked"] is True


def test_the_name_is_the_last_segment_of_the_path_decoded() -> None:
    file = link('href="/whl/cpu/torch-2.0.0%2Bcpu-cp311-cp311-linux_x86_64.whl?sign=a/b.zip"')
    assert file.filename == "torch-2.0.0+cpu-cp311-cp311-linux_x86_64.whl"
    assert file.url.endswith("/torch-2.0.0%2Bcpu-cp311-cp311-linux_x86_64.whl?sign=a/b.zip")


@pytest.mark.parametrize(
    "segment", ["a%2Fb.whl", "..%2F.whl", "a%00.whl", "a%0A.whl", "%FF.whl", "a%5Cb.whl", ".whl/.."]
)
def test_a_name_that_is_unsafe_once_decoded_is_left_out(segment: str) -> None:
    page = read(f'<html><a href="ok.whl">ok</a><a href="{segment}">x</a></html>')
    assert [file.filename for file in page.files] == ["ok.whl"]


def test_a_base_moves_all_links() -> None:
    page = read('<html><head><base href="../../files/"></head><a href="s-1.zip">s</a><base href="/no/"></html>')
    assert page.files[0].url == "https://index.example/files/s-1.zip"


def test_a_page_on_the_net_cannot_lead_to_files_of_this_machine() -> None:
    page = read('<html><base href="file:///etc/"><a href="s-1.zip">s</a><a href="file:///etc/t-1.zip">s</a></html>')
    assert [file.url for file in page.files] == [URL + "s-1.zip"]
    assert page.left_out == 1


@pytest.mark.parametrize(
    ("fragment", "hashes"),
    [
        ("", {}),
        ("#", {}),
        ("#sha256=", {}),
        ("#md5=0123", {"md5": "0123"}),
        (f"#egg=s&sha256={A}", {"sha256": A}),
        ("#egg=face", {}),
        ("#subdirectory=x", {}),
    ],
)
def test_hashes_stand_in_the_fragment(fragment: str, hashes: dict[str, str]) -> None:
    file = link(f'href="sample-1.0.zip{fragment}"')
    assert file.raw["hashes"] == hashes
    assert file.url == URL + "sample-1.0.zip"


def test_a_malformed_sha256_is_no_reason_to_skip_the_check() -> None:
    page = read('<html><a href="sample-1.0.zip#sha256=abc">x</a></html>')
    assert (page.files, page.left_out) == ((), 1)


def test_only_links_to_files_are_files() -> None:
    page = read(
        '<html><a href="../">up</a><a href="?C=M;O=A">sort</a><a name="x">no href</a>'
        '<a href="sample-1.0.tar.gz.asc">s</a>'
        '<a href="https://home.example/">home</a><a href="sample-1.0.tar.gz">x</a><!-- <a href="sample-2.zip">x</a> -->'
        "<script>'<a href=sample-3.zip>'</script></html>"
    )
    assert [file.filename for file in page.files] == ["sample-1.0.tar.gz"]


def test_the_status_of_a_project_is_read() -> None:
    page = read(
        '<!DOCTYPE html><html><meta name="pypi:repository-version" content="1.4">'
        '<meta name="pypi:project-status" content="quarantined">'
        '<meta name="pypi:project-status-reason" content="a &lt; b">'
    )
    assert page.files == ()
    assert page.raw["project-status"] == {"status": "quarantined", "reason": "a < b"}
    assert page.raw["meta"] == {"api-version": "1.0"}  # there are no sizes, so it cannot be 1.1 (PEP 700)


def test_versions_are_told_only_where_every_name_tells_one() -> None:
    names = [
        "sample-1.10-py3-none-any.whl",
        "sample-1.9.tar.gz",
        "Sample-1.9.0-1-py3-none-any.whl",
        "sample-2.0rc1.zip",
    ]
    assert parse_html.versions_of("sample", names) == ["1.9", "1.10", "2.0rc1"]
    assert parse_html.versions_of("sample", [*names, "sample-1.0-variants.json"]) is None
    assert parse_html.versions_of("sample", [*names, "other-1.0.tar.gz"]) is None
    assert parse_html.versions_of("sample", [*names, "sample-latest.tar.gz"]) is None
    assert parse_html.versions_of("sample", []) == []


@pytest.mark.parametrize(
    "text",
    [
        "<!DOCTYPE html><html><body><h1>Links for sample</h1></body></html>",
        "<html></html>",
        "<!doctype html>",
        '<html><h1>Index of /simple/sample</h1><pre><a href="../">../</a></pre></html>',
        '<html><a href="?C=N;O=D">Name</a><a href="/simple/">Parent Directory</a></html>',
        '<meta name="pypi:repository-version" content="1.0"><a href="https://home.example/">home</a>',
    ],
)
def test_a_project_may_have_no_files(text: str) -> None:
    assert read(text).files == ()


@pytest.mark.parametrize(
    "text",
    [
        "", "plain words", "<p>Not found</p>", "{}", "<?xml version='1.0'?><feed/>",
        '<!DOCTYPE html><html><body>Please <a href="/login">log in</a></body></html>',
        '<!DOCTYPE html><html><body><a href="https://portal.example/">continue</a></body></html>',
        '<html><form action="/"><input name="room"></form></html>',
        "<html><script>location='https://portal.example/'</script></html>",
        '<html><meta http-equiv="Refresh" content="0; url=/login"></html>',
        '<html><iframe src="x"></iframe></html>',
    ],
)  # fmt: skip
def test_a_page_that_is_no_project_page_does_not_become_an_empty_one(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        read(text)


@pytest.mark.parametrize("version", ["2.0", "11.0", "x", ""])
def test_another_major_version_is_refused(version: str) -> None:
    with pytest.raises(RemoteProtocolError):
        read(f'<html><meta name="pypi:repository-version" content="{version}"><a href="s-1.zip">s</a></html>')


def test_a_page_that_is_cut_off_within_a_link_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="cut off"):
        read('<html><a href="s-1.zip">s</a><a href="s-2.zi')


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        ("<html><a href=é-1.zip>".encode(), "text/html"),
        ("<html><a href=é-1.zip>".encode(), "text/html; charset=UTF-8"),
        ("<html><a href=é-1.zip>".encode("latin-1"), "text/html; charset=iso-8859-1"),
        ('<html><meta charset="iso-8859-1"><a href=é-1.zip>'.encode("latin-1"), "text/html"),
        ("<html><a href=é-1.zip>".encode("utf-16"), "text/html"),
        ("<html><a href=é-1.zip>".encode("utf-8-sig"), "text/html; charset=ascii"),
        ("<html><a href=é-1.zip>".encode(), ""),
    ],
)
def test_a_page_is_read_in_the_charset_that_it_names(content: bytes, content_type: str) -> None:
    (file,) = parse_page(content, content_type, URL, "sample").files
    assert (file.filename, file.url) == ("é-1.zip", URL + "%C3%A9-1.zip")


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        ("<html><a href=é-1.zip>".encode("latin-1"), "text/html"),
        ("<html><a href=é-1.zip>".encode(), "text/html; charset=us-ascii"),
        (b"<html>", "text/html; charset=klingon"),
        (b"<html>", "text/html; charset=utf-7"),
        (b"<html>", "text/html; charset=zip"),
        (b"<html>", "text/html; charset=" + "x" * 5000),
    ],
)
def test_text_in_another_charset_is_refused(content: bytes, content_type: str) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_page(content, content_type, URL, "sample")


@pytest.mark.parametrize(
    "text", ["<![foo[", "<![CDATA[x", "<!ENTITY", "<!-- ", "<![if", "<a\x00b", "&#xFFFFFFFFFF;", "<a href='"]
)
def test_odd_markup_is_refused_or_read_but_never_raises_otherwise(text: str) -> None:
    for whole in (text, "<html>" + text, text * 50):
        with contextlib.suppress(RemoteProtocolError):
            read(whole)


def test_a_page_has_a_limit_of_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse_html, "FILES_MAX", 2)
    with pytest.raises(RemoteProtocolError, match="more than 2 links"):
        read("<html>" + '<a href="/x">x</a>' * 3)
