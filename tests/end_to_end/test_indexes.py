"""Other kinds of upstream: old HTML, PyTorch's, plain directories, with credentials, several in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.clients import Tool, Workplace
from tests.bench.node import RunningNode
from tests.bench.upstream import OLD_HTML, PLAIN, PYTORCH, FaultyUpstream, Status, Style
from tests.bench.wheels import make_wheel
from tests.end_to_end.conftest import StartNode, StartUpstream
from tests.end_to_end.files import BASE, FILES, INSTALLED, TOP

LOCAL = make_wheel("demo-torch", "2.0+cpu", requires=["demo-base"], size_bytes=300_000)


@pytest.mark.parametrize(
    "style", [OLD_HTML, PLAIN, Style(sizes=False, core_metadata=False)], ids=["old", "plain", "bare"]
)
@pytest.mark.parametrize("name", ["pip", "uv"])
def test_every_kind_of_index_is_installed_from(
    request: pytest.FixtureRequest,
    start_upstream: StartUpstream,
    start_node: StartNode,
    place: Workplace,
    name: str,
    style: Style,
) -> None:
    tool = request.getfixturevalue("pip_new" if name == "pip" else "uv")
    node = start_node(start_upstream(style=style))
    done = getattr(place, name)(tool, node.index_url, "demo-top")
    assert done.returncode == 0, done.stdout + done.stderr
    assert place.installed() == INSTALLED


@pytest.mark.parametrize("name", ["pip", "uv"])
def test_an_index_like_pytorchs_is_installed_from_and_kept(
    request: pytest.FixtureRequest, start_upstream: StartUpstream, start_node: StartNode, tmp_path: Path, name: str
) -> None:
    tool = request.getfixturevalue("pip_new" if name == "pip" else "uv")
    upstream = start_upstream([LOCAL, BASE], PYTORCH)
    node = start_node(upstream)
    for number in range(2):
        place = Workplace(tmp_path / f"torch{number}")
        done = getattr(place, name)(tool, node.index_url, "demo-torch")
        assert done.returncode == 0, done.stdout + done.stderr
        assert place.installed() == {"demo-torch": "2.0+cpu", "demo-base": "2.0"}
    whole = [one for one in upstream.file_gets("*torch*") if one.range is None]
    assert len(whole) == 1


@pytest.mark.parametrize("name", ["pip", "uv"])
def test_a_directory_of_wheels_is_an_upstream(
    request: pytest.FixtureRequest, start_node: StartNode, place: Workplace, tmp_path: Path, name: str
) -> None:
    tool = request.getfixturevalue("pip_new" if name == "pip" else "uv")
    wheels = tmp_path / "wheels"
    FaultyUpstream(FILES).write_files(wheels)
    node = start_node(wheels.as_uri())
    done = getattr(place, name)(tool, node.index_url, "demo-top")
    assert done.returncode == 0, done.stdout + done.stderr
    assert place.installed() == INSTALLED
    assert node.get("/simple/no-such-project/").status == 404


def test_a_simple_tree_on_disk_is_an_upstream(start_node: StartNode, tmp_path: Path) -> None:
    root = tmp_path / "simple"
    (root / "demo-base").mkdir(parents=True)
    (root / "demo-base" / BASE.filename).write_bytes(BASE.content)
    link = f'<a href="{BASE.filename}#sha256={BASE.sha256}">{BASE.filename}</a>'
    (root / "demo-base" / "index.html").write_text(f"<html><body>{link}</body></html>")
    node = start_node(root.as_uri())
    assert node.get(node.path_of("demo-base", BASE.filename)).body == BASE.content


def test_the_first_index_that_has_a_name_owns_it(
    start_upstream: StartUpstream, start_node: StartNode, place: Workplace, uv: Tool
) -> None:
    ours = start_upstream([make_wheel("demo-base", "0.1")])
    theirs = start_upstream(FILES)
    node = start_node(ours, theirs)
    assert [row["filename"] for row in node.page("demo-base")["files"]] == ["demo_base-0.1-py3-none-any.whl"]
    done = place.uv(uv, node.index_url, "demo-top")
    assert done.returncode == 0, done.stderr
    assert place.installed() == INSTALLED | {"demo-base": "0.1"}
    assert theirs.seen("/simple/demo-base/") == []


def test_a_first_index_that_is_down_hands_its_names_to_nobody(
    start_upstream: StartUpstream, start_node: StartNode
) -> None:
    ours, theirs = start_upstream([make_wheel("demo-base", "0.1")]), start_upstream(FILES)
    ours.fault("*", Status(500))
    node = start_node(ours, theirs)
    assert node.get("/simple/demo-base/").status == 503
    assert theirs.seen("/simple/demo-base/") == []


def test_a_private_index_is_read_with_its_password_and_served_only_at_the_private_address(
    start_upstream: StartUpstream, start_node: StartNode, place: Workplace, uv: Tool
) -> None:
    upstream = start_upstream(FILES, Style(credentials=("reader", "s3cret"), other_host=False))
    node = start_node(upstream.url_with_credentials)
    assert node.get("/simple/demo-top/").status == 403
    private_url = node.status()["private_index_url"]
    done = place.uv(uv, private_url, "demo-top")
    assert done.returncode == 0, done.stderr
    assert place.installed() == INSTALLED
    assert "s3cret" not in node.log()
    assert "s3cret" not in str(node.status())


def test_names_are_normalized_without_a_redirect(node: RunningNode, upstream: FaultyUpstream) -> None:
    for spelling in ("Demo.Top", "demo_top", "DEMO--TOP", "demo-top"):
        for ending in ("", "/"):
            assert node.get(f"/simple/{spelling}{ending}").status == 200
    assert len(upstream.seen("/simple/*")) == 1


def test_the_list_of_projects_is_passed_through(node: RunningNode, upstream: FaultyUpstream) -> None:
    answer = node.get("/simple/", {"Accept": "application/vnd.pypi.simple.v1+json"})
    assert answer.status == 200
    assert b"demo-top" in answer.body
    upstream.forget()
    assert node.get("/simple/no-such-project/").status == 404
    assert upstream.seen("/simple/") == [], "a single miss never asks for the whole list"


def test_the_files_of_a_page_keep_what_the_index_says_of_them(node: RunningNode) -> None:
    row = next(row for row in node.page("demo-top")["files"] if row["filename"] == TOP.filename)
    assert row["hashes"] == {"sha256": TOP.sha256}
    assert row["size"] == len(TOP.content)
    assert row["upload-time"]
    assert row["core-metadata"]["sha256"]
