"""Made pages, read by us and by pypi-simple; and the way from page to bytes and back."""

from __future__ import annotations

import json
from html import escape
from typing import Any
from urllib.parse import urljoin

import pypi_simple
from hypothesis import example, given, settings
from hypothesis import strategies as st

from p2pcdn.digest import Sha256
from p2pcdn.errors import RemoteProtocolError
from p2pcdn.simple import MediaType, ProjectPage, links, parse_page, render_html, render_json

URL = "https://index.example/simple/sample/"
# The same pages in every run: a found case goes into the suite as an @example.
hundred = settings(max_examples=100, derandomize=True, deadline=None, database=None)

digests = st.text("0123456789abcdef", min_size=64, max_size=64)
words = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00", exclude_categories=["Cs"]), max_size=12)
versions = st.from_regex(r"[1-9]\.[0-9](rc1|\.post2|\+cpu)?", fullmatch=True)
filenames = st.one_of(
    st.builds("sample-{}-py3-none-any.whl".format, versions),
    st.builds("sample-{}.tar.gz".format, versions),
    st.builds("sample-{}.zip".format, versions),
)
metadata = st.one_of(st.booleans(), st.builds(lambda digest: {"sha256": digest}, digests))
files = st.fixed_dictionaries(
    {
        "filename": filenames,
        "url": st.sampled_from(["https://files.example/aa/{}", "../../p/{}", "/p/{}", "{}", "//cdn.example/{}"]),
        "hashes": st.one_of(st.just({}), st.builds(lambda d: {"sha256": d}, digests), st.just({"md5": "0" * 32})),
    },
    optional={
        "requires-python": st.sampled_from([">=3.8", "<4,>=3.11", "!=3.9.*"]),
        "core-metadata": metadata,
        "yanked": st.one_of(st.booleans(), words.filter(lambda word: word.strip() != "")),
        "gpg-sig": st.booleans(),
        "size": st.integers(0, 2**40),
        "provenance": st.just("https://index.example/integrity/x"),
    },
)
pages = st.fixed_dictionaries(
    {"meta": st.just({"api-version": "1.4"}), "name": st.just("sample"), "files": st.lists(files, max_size=4)},
    optional={"project-status": st.just({"status": "archived", "reason": "done"}), "versions": st.just(["1.0"])},
)


def with_urls(described: dict[str, Any]) -> dict[str, Any]:
    for file in described["files"]:
        file["url"] = file["url"].format(file["filename"].replace("+", "%2B"))
    return described


def as_html(described: dict[str, Any]) -> str:
    """The page as an old index would write it: hashes in fragments, no sizes."""
    lines = ['<!DOCTYPE html><html><head><meta name="pypi:repository-version" content="1.0"></head><body>']
    for file in described["files"]:
        fragment = "".join(f"#{name}={digest}" for name, digest in file["hashes"].items())
        attributes = [f'href="{file["url"]}{fragment}"']
        if "requires-python" in file:
            attributes.append(f"data-requires-python='{escape(file['requires-python'])}'")
        if "core-metadata" in file:
            said = file["core-metadata"]
            attribute = f"sha256={said['sha256']}" if isinstance(said, dict) else str(said).lower()
            attributes.append(f"data-core-metadata={attribute}")
        if file.get("yanked"):
            attributes.append(f'data-yanked="{escape(file["yanked"]) if isinstance(file["yanked"], str) else ""}"')
        if "gpg-sig" in file:
            attributes.append(f"data-gpg-sig={str(file['gpg-sig']).lower()}")
        lines.append(f"<a\n {' '.join(attributes)} >{file['filename']}</a><br/>")
    return "\n".join(lines)


def assert_same(ours: ProjectPage, oracle: pypi_simple.ProjectPage) -> None:
    assert len(ours.files) == len(oracle.packages)
    for file, package in zip(ours.files, oracle.packages, strict=True):
        assert file.filename == package.filename
        assert file.url == package.url
        assert file.raw["hashes"] == package.digests
        assert file.sha256 == package.digests.get("sha256")
        assert file.size_bytes == package.size
        assert file.requires_python == package.requires_python
        assert (file.yanked is not False) == package.is_yanked
        assert (file.yanked if isinstance(file.yanked, str) else "") == (package.yanked_reason or "")
        assert (file.core_metadata is not False) == bool(package.has_metadata)
        assert (package.metadata_digests or {}).get("sha256") == (
            file.core_metadata if isinstance(file.core_metadata, Sha256) else None
        )
        assert file.raw.get("gpg-sig") == package.has_sig


@hundred
@given(pages)
def test_json_is_read_as_pypi_simple_reads_it(described: dict[str, Any]) -> None:
    page = parse_page(json.dumps(with_urls(described)).encode(), MediaType.JSON, URL, "sample")
    assert_same(page, pypi_simple.ProjectPage.from_json_data(described, base_url=URL))


@hundred
@given(pages)
def test_html_is_read_as_pypi_simple_reads_it(described: dict[str, Any]) -> None:
    text = as_html(with_urls(described))
    page = parse_page(text.encode(), "text/html", URL, "sample")
    assert_same(page, pypi_simple.ProjectPage.from_html("sample", text, base_url=URL))


@hundred
@given(pages)
def test_what_we_write_says_to_pypi_simple_what_the_index_said(described: dict[str, Any]) -> None:
    """Except metadata without a hash, which is not passed on; and sizes, for which HTML has no place."""
    page = parse_page(json.dumps(with_urls(described)).encode(), MediaType.JSON, URL, "sample")
    expected = pypi_simple.ProjectPage.from_json_data(described, base_url=URL)
    from_json = pypi_simple.ProjectPage.from_json_data(json.loads(render_json(page, lambda f: f.url, lambda f: None)))
    from_html = pypi_simple.ProjectPage.from_html("sample", render_html(page, lambda f: f.url, lambda f: None).decode())
    for package in expected.packages:
        if package.has_metadata and not package.metadata_digests:
            package.has_metadata = package.metadata_digests = None
    assert from_json == expected
    for written, package in zip(from_html.packages, expected.packages, strict=True):
        assert written.size is None
        written.size = package.size
        written.has_metadata, package.has_metadata = bool(written.has_metadata), bool(package.has_metadata)
        written.metadata_digests, package.metadata_digests = (
            written.metadata_digests or {},
            package.metadata_digests or {},
        )
        written.yanked_reason, package.yanked_reason = written.yanked_reason or "", package.yanked_reason or ""
        assert written == package
    assert (from_html.status, from_html.status_reason) == (expected.status, expected.status_reason)


@hundred
@given(pages)
def test_html_written_and_read_again_is_the_same_html(described: dict[str, Any]) -> None:
    page = parse_page(json.dumps(with_urls(described)).encode(), MediaType.JSON, URL, "sample")
    once = render_html(page, lambda file: file.url, lambda file: None)
    again = parse_page(once, "text/html; charset=utf-8", "https://other.example/", "sample")
    twice = render_html(again, lambda file: file.url, lambda file: None)
    assert twice == once.replace(b'content="1.4"', b'content="1.0"')


pieces = st.sampled_from(
    [*"/.:#?%@&=;\\ \t+a1é", "..", "./", "../", "//", "http:", "https://", "h.example", "%2F", "[", "]"]
)


@settings(max_examples=1000, derandomize=True, deadline=None, database=None)
@given(st.lists(pieces, max_size=8).map("".join), st.sampled_from([URL, "http://h.example", "http://h.example/a?b#c"]))
@example("../x.whl", "http://h.example")
def test_the_short_way_for_plain_links_leads_where_the_long_way_leads(link: str, base: str) -> None:
    assert links.absolute_url(base, link) == links._joined(base, link.partition("#")[0])
    found = links.absolute_url(base, link)
    if found is not None:
        assert found.isascii()
        assert found.split("://")[0] in ("http", "https")
        if link.isascii() and " " not in link:
            assert found == urljoin(base, link.partition("#")[0].strip()).partition("#")[0]


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(st.binary(max_size=60), st.sampled_from([MediaType.JSON, "text/html", ""]))
def test_no_bytes_raise_anything_but_our_error(content: bytes, content_type: str) -> None:
    for whole in (content, b"<html>" + content, b'{"files":[' + content + b"]}"):
        try:
            parse_page(whole, content_type, URL, "sample")
        except RemoteProtocolError:
            continue


tags = st.sampled_from(
    ["<html>", "<!doctype html>", "<a", "<a ", "href=", '"s-1.zip#sha256=', '"', "'", ">", "</a>", "<!--", "-->", "<![",
     "]]>", "<script>", "</script>", "<base href=", "<meta name=", "pypi:repository-version", " content=1.0", "&#x",
     ";", "\x00", "/", "=", "\n"]
)  # fmt: skip


@settings(max_examples=500, derandomize=True, deadline=None, database=None)
@given(st.lists(tags, max_size=25).map("".join))
def test_no_markup_raises_anything_but_our_error(text: str) -> None:
    try:
        page = parse_page(text.encode(), "text/html", URL, "sample")
    except RemoteProtocolError:
        return
    render_json(page, lambda file: file.url, lambda file: None)
    render_html(page, lambda file: file.url, lambda file: None)
