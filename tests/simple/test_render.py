"""Pages as clients get them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from p2pcdn.digest import Sha256
from p2pcdn.simple import File, MediaType, ProjectPage, parse_page, render_html, render_json

URL = "https://index.example/simple/sample/"
A, B, C = "a" * 64, "b" * 64, "c" * 64
KEYS = ("core-metadata", "dist-info-metadata", "data-dist-info-metadata")


def page_of(*files: dict[str, Any], **top: Any) -> ProjectPage:
    whole = [{"filename": "s-1.whl", "url": "s-1.whl", "hashes": {"sha256": A}} | keys for keys in files]
    described = {"meta": {"api-version": "1.4"}, "name": "sample", "files": whole} | top
    return parse_page(json.dumps(described).encode(), MediaType.JSON, URL, "sample")


def here(file: File) -> str:
    return f"/packages/{file.filename}"


def none_made(file: File) -> None:
    return None


def all_made(file: File) -> Sha256:
    return Sha256(C)


@pytest.mark.parametrize(
    ("said", "alone", "with_ours"),
    [
        ({}, {}, {"core-metadata": {"sha256": C}}),
        ({"core-metadata": True}, {}, {"core-metadata": {"sha256": C}}),
        ({"core-metadata": True, KEYS[1]: True, KEYS[2]: True}, {}, {key: {"sha256": C} for key in KEYS}),
        ({"core-metadata": {"md5": "0"}}, {}, {"core-metadata": {"sha256": C}}),
        ({"core-metadata": False}, {"core-metadata": False}, {"core-metadata": {"sha256": C}}),
        ({"core-metadata": {"sha256": B, "x": "y"}},) * 2 + ({"core-metadata": {"sha256": B, "x": "y"}},),
        ({KEYS[1]: {"sha256": B}},) + ({key: {"sha256": B} for key in KEYS[:2]},) * 2,
        ({KEYS[0]: {"sha256": B}, KEYS[2]: True},) + ({KEYS[0]: {"sha256": B}, KEYS[2]: {"sha256": B}},) * 2,
    ],
)
def test_core_metadata_is_advertised_only_with_a_sha256(
    said: dict[str, Any], alone: dict[str, Any], with_ours: dict[str, Any]
) -> None:
    page = page_of(said)
    for made, expected in ((none_made, alone), (all_made, with_ours)):
        (file,) = json.loads(render_json(page, here, made))["files"]
        assert {key: file[key] for key in KEYS if key in file} == expected
        text = render_html(page, here, made).decode()
        sha256 = expected["core-metadata"]["sha256"] if expected.get("core-metadata") else None
        for attribute in ("data-core-metadata", "data-dist-info-metadata"):
            assert (f'{attribute}="sha256={sha256}"' in text) if sha256 else (attribute not in text)


def test_rendering_does_not_change_the_page() -> None:
    page = page_of({"core-metadata": True, "yanked": ""})
    before = dict(page.files[0].raw)
    render_json(page, here, none_made)
    render_html(page, here, all_made)
    assert page.files[0].raw == before


def test_html_carries_what_html_can_carry() -> None:
    page = page_of(
        {"requires-python": ">=3.8", "yanked": True, "gpg-sig": True, "provenance": "https://index.example/i"},
        {"yanked": "it's <broken>", "hashes": {"md5": "12ab", "sha512": "34cd"}},
        **{"project-status": {"status": "archived", "reason": "no & more"}},
    )
    lines = render_html(page, here, none_made).decode().splitlines()
    assert lines[:7] == [
        "<!DOCTYPE html>",
        "<html>",
        "<head>",
        '<meta name="pypi:repository-version" content="1.4">',
        '<meta name="pypi:project-status" content="archived">',
        '<meta name="pypi:project-status-reason" content="no &amp; more">',
        "<title>Links for sample</title>",
    ]
    first = (
        f'<a href="/packages/s-1.whl#sha256={A}" data-requires-python="&gt;=3.8" data-yanked=""'
        ' data-gpg-sig="true" data-provenance="https://index.example/i">s-1.whl</a><br>'
    )
    assert lines[-4:] == [
        first,
        '<a href="/packages/s-1.whl#sha512=34cd" data-yanked="it&#x27;s &lt;broken&gt;">s-1.whl</a><br>',
        "</body>",
        "</html>",
    ]


def test_html_claims_no_version_after_the_one_it_was_frozen_at() -> None:
    page = page_of(meta={"api-version": "1.12"})
    assert b'content="1.4"' in render_html(page, here, none_made)
    assert json.loads(render_json(page, here, none_made))["meta"] == {"api-version": "1.12"}


def test_nothing_that_an_index_says_becomes_markup() -> None:
    evil = "\"'><script>&"
    page = page_of(
        {"filename": evil, "requires-python": evil, "yanked": evil, "provenance": evil, "hashes": {"md5": evil}},
        **{"project-status": {"status": evil, "reason": evil}},
    )
    text = render_html(page, lambda file: "/p/" + file.filename, none_made).decode()
    assert "<script" not in text
    again = parse_page(text.encode(), "text/html", URL, "sample")
    assert again.raw["project-status"] == {"status": evil, "reason": evil}


def test_a_lone_surrogate_survives_in_json_and_becomes_a_question_mark_in_html() -> None:
    page = page_of({"yanked": "\ud800"})
    assert json.loads(render_json(page, here, none_made))["files"][0]["yanked"] == "\ud800"
    assert b'data-yanked="?"' in render_html(page, here, none_made)


def test_a_page_that_was_html_becomes_json_of_version_1_0() -> None:
    text = (
        f'<html><meta name="pypi:repository-version" content="1.3"><a href="sample-1.zip#sha256={A}" data-yanked>x</a>'
    )
    page = parse_page(text.encode(), "text/html", URL, "sample")
    assert json.loads(render_json(page, here, none_made)) == {
        "meta": {"api-version": "1.0"},
        "name": "sample",
        "versions": ["1"],
        "files": [
            {"filename": "sample-1.zip", "url": "/packages/sample-1.zip", "hashes": {"sha256": A}, "yanked": True}
        ],
    }


def test_the_same_page_is_written_as_the_same_bytes() -> None:
    page = page_of({"yanked": "x"}, {"size": 1})
    assert render_json(page, here, none_made) == render_json(page, here, none_made)
    assert render_html(page, here, none_made) == render_html(page, here, none_made)
