"""A directory as an index: its three forms, what is remembered, and that nothing beside it is given out."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from pathlib import Path

import pytest
import trio

from p2pcdn.errors import Refused, Unavailable
from p2pcdn.world import Index, Upstream
from p2pcdn_daemon.upstream.credentials import Netrc
from p2pcdn_daemon.upstream.directory import DirectoryUpstream, Hashes
from p2pcdn_daemon.upstream.index_url import make_index
from p2pcdn_daemon.upstream.upstream import HttpxUpstream, RealUpstream, UpstreamSettings, open_upstream
from tests.contract.upstream import check_upstream

CONTENT = bytes(range(256)) * 9000
WHEEL = "demo_pkg-1.0-py3-none-any.whl"


def index_at(directory: Path) -> Index:
    return make_index(directory.as_uri(), 0, environment={}, netrc=Netrc())[0]


async def ask(upstream: Upstream, index: Index, url: str, **fields: str) -> tuple[int, dict[str, str], bytes]:
    asked = {name.replace("_", "-"): value for name, value in fields.items()}
    async with upstream.get(index, url, asked) as response:
        return response.status, dict(response.headers), b"".join([part async for part in response.body])


async def files_of(upstream: Upstream, index: Index, project: str) -> list[dict[str, object]]:
    status, headers, page = await ask(upstream, index, f"{index.url}{project}/")
    assert (status, headers["content-type"]) == (200, "application/vnd.pypi.simple.v1+json")
    parsed = json.loads(page)
    assert parsed["name"] == project
    assert parsed["meta"]["api-version"] == "1.1"
    return parsed["files"]


async def test_a_directory_keeps_the_contract_of_an_upstream(tmp_path: Path) -> None:
    (tmp_path / WHEEL).write_bytes(CONTENT)
    index = index_at(tmp_path)
    async with open_upstream([UpstreamSettings(index)], environment={"NETRC": os.devnull}) as upstream:
        await check_upstream(upstream, index, WHEEL, CONTENT)


async def test_a_flat_heap_of_files_has_a_page_for_each_project(tmp_path: Path) -> None:
    for name in (
        WHEEL,
        "demo-pkg-0.9.tar.gz",
        "Demo.Pkg-0.8.zip",
        "other-1.0.tar.gz",
        "notes.txt",
        "demo_pkg",
        ".hidden",
    ):
        (tmp_path / name).write_bytes(CONTENT)
    (tmp_path / f"{WHEEL}.metadata").write_bytes(b"Metadata-Version: 2.1\n")
    index, upstream = index_at(tmp_path), DirectoryUpstream()
    files = await files_of(upstream, index, "demo-pkg")
    assert [file["filename"] for file in files] == ["Demo.Pkg-0.8.zip", "demo-pkg-0.9.tar.gz", WHEEL]
    wheel = files[-1]
    assert wheel["hashes"] == {"sha256": hashlib.sha256(CONTENT).hexdigest()}
    assert wheel["size"] == len(CONTENT)
    assert wheel["core-metadata"] == {"sha256": hashlib.sha256(b"Metadata-Version: 2.1\n").hexdigest()}
    assert (await ask(upstream, index, str(wheel["url"])))[2] == CONTENT
    assert (await ask(upstream, index, f"{wheel['url']}.metadata"))[2] == b"Metadata-Version: 2.1\n"
    listed = json.loads((await ask(upstream, index, index.url))[2])
    assert [project["name"] for project in listed["projects"]] == ["demo-pkg", "other"]


async def test_a_project_directory_of_any_spelling_is_found(tmp_path: Path) -> None:
    place = tmp_path / "Demo.Pkg"
    place.mkdir()
    (place / WHEEL).write_bytes(CONTENT)
    (place / "stranger-1.0.tar.gz").write_bytes(CONTENT)
    files = await files_of(DirectoryUpstream(), index_at(tmp_path), "demo-pkg")
    assert [file["filename"] for file in files] == [WHEEL]


async def test_a_mirrors_pages_are_given_as_they_are_and_lead_to_files_beside_them(tmp_path: Path) -> None:
    page = f'<a href="../../files/{WHEEL}#sha256=00">{WHEEL}</a>'
    (tmp_path / "simple" / "demo-pkg").mkdir(parents=True)
    (tmp_path / "simple" / "demo-pkg" / "index.html").write_text(page)
    (tmp_path / "simple" / "index.html").write_text('<a href="demo-pkg/">demo-pkg</a>')
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / WHEEL).write_bytes(CONTENT)
    (tmp_path / "files" / "secret.txt").write_bytes(b"secret")
    index, upstream = index_at(tmp_path / "simple"), DirectoryUpstream()
    status, headers, content = await ask(upstream, index, f"{index.url}demo-pkg/")
    assert (status, headers["content-type"], content.decode()) == (200, "text/html; charset=utf-8", page)
    assert (await ask(upstream, index, index.url))[2].startswith(b"<a")
    for spelled in (f"{index.url}demo-pkg/../../files/{WHEEL}", f"{tmp_path.as_uri()}/files/{WHEEL}"):
        assert (await ask(upstream, index, spelled))[2] == CONTENT
    assert (await ask(upstream, index, f"{tmp_path.as_uri()}/files/secret.txt"))[0] == 404


async def test_what_is_not_there_is_not_found_and_a_directory_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "empty-project").mkdir()
    (tmp_path / "demo.whl").mkdir()
    index, upstream = index_at(tmp_path), DirectoryUpstream()
    for path in ("nothing/", "..%2f/", "%00/", "a b/", "nothing-1.0.whl", "demo.whl", "a/b/c.whl"):
        if path in ("%00/", "..%2f/"):
            with pytest.raises(Refused):
                await ask(upstream, index, index.url + path)
        else:
            assert (await ask(upstream, index, index.url + path))[0] == 404, path
    assert await files_of(upstream, index, "empty-project") == []
    gone = index_at(tmp_path / "gone")
    with pytest.raises(Unavailable, match=r"/gone/ cannot be read"):
        await ask(upstream, gone, gone.url + "demo/")


async def test_nothing_outside_of_the_tree_is_given_out(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "demo-pkg").mkdir(parents=True)
    outside.mkdir()
    secret = outside / WHEEL
    secret.write_bytes(b"secret")
    (root / "linked-1.0.tar.gz").symlink_to(secret)
    (root / "demo-pkg" / "index.html").symlink_to(secret)
    (root / "bad").symlink_to(outside)
    index, upstream = index_at(root), DirectoryUpstream()
    for url in (
        secret.as_uri(),
        f"{index.url}../outside/{WHEEL}",
        f"{index.url}%2e%2e/outside/{WHEEL}",
        f"{index.url}..%2Foutside%2F{WHEEL}",
        f"{index.url}linked-1.0.tar.gz",
        f"{index.url}bad/{WHEEL}",
        f"{index.url}demo-pkg/",
        "file:///etc/passwd",
        f"file://host{secret}",
        "http://203.0.113.7/",
    ):
        with pytest.raises(Refused):
            await ask(upstream, index, url)
    assert await files_of(upstream, index, "linked") == []
    # A neighbour whose name begins alike is outside too.
    (tmp_path / "root2").mkdir()
    (tmp_path / "root2" / WHEEL).write_bytes(b"secret")
    with pytest.raises(Refused):
        await ask(upstream, index, (tmp_path / "root2" / WHEEL).as_uri())


async def test_a_link_within_the_tree_is_followed(tmp_path: Path) -> None:
    (tmp_path / "simple" / "demo-pkg").mkdir(parents=True)
    (tmp_path / WHEEL).write_bytes(CONTENT)
    (tmp_path / "simple" / "demo-pkg" / WHEEL).symlink_to(f"../../{WHEEL}")
    index, upstream = index_at(tmp_path / "simple"), DirectoryUpstream()
    (file,) = await files_of(upstream, index, "demo-pkg")
    assert (await ask(upstream, index, str(file["url"])))[2] == CONTENT


async def test_a_pipe_or_socket_is_no_file_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "demo-1.0.tar.gz")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "demo-2.0.tar.gz"))
        index, upstream = index_at(tmp_path), DirectoryUpstream()
        assert (await ask(upstream, index, f"{index.url}demo-1.0.tar.gz"))[0] == 404
        with pytest.raises(Unavailable):
            await ask(upstream, index, f"{index.url}demo-2.0.tar.gz")
        assert (await ask(upstream, index, f"{index.url}demo/"))[0] == 404


async def test_ranges_of_every_form(tmp_path: Path) -> None:
    (tmp_path / WHEEL).write_bytes(CONTENT)
    index, upstream = index_at(tmp_path), DirectoryUpstream()
    size = len(CONTENT)
    for wanted, status, start, end in (
        ("bytes=0-0", 206, 0, 1),
        ("bytes=5-", 206, 5, size),
        ("bytes=-7", 206, size - 7, size),
        (f"bytes=-{size + 5}", 206, 0, size),
        (f"bytes=5-{size + 5}", 206, 5, size),
        ("bytes=-", 200, 0, size),
        ("bytes=1-2,4-5", 200, 0, size),
        ("pages=1-2", 200, 0, size),
    ):
        answered, headers, content = await ask(upstream, index, index.url + WHEEL, range=wanted)
        assert (answered, content) == (status, CONTENT[start:end]), wanted
        assert int(headers["content-length"]) == end - start
        if status == 206:
            assert headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
    for wanted in (f"bytes={size}-", "bytes=-0", "bytes=5-4"):
        answered, headers, content = await ask(upstream, index, index.url + WHEEL, range=wanted)
        assert (answered, headers["content-range"], content) == (416, f"bytes */{size}", b"")


async def test_a_page_that_did_not_change_is_not_sent_again_and_one_that_did_is(tmp_path: Path) -> None:
    (tmp_path / WHEEL).write_bytes(CONTENT)
    os.utime(tmp_path / WHEEL, (10**9, 10**9))
    index, upstream = index_at(tmp_path), DirectoryUpstream()
    page, file = index.url + "demo-pkg/", index.url + WHEEL
    for url in (page, file):
        _, headers, _ = await ask(upstream, index, url)
        assert headers["last-modified"] == "Sun, 09 Sep 2001 01:46:40 GMT"
        assert (await ask(upstream, index, url, if_none_match=headers["etag"]))[0] == 304
        assert (await ask(upstream, index, url, if_none_match=f'"x", W/{headers["etag"]}'))[0] == 304
        assert (await ask(upstream, index, url, if_modified_since=headers["last-modified"]))[0] == 304
        assert (await ask(upstream, index, url, if_modified_since="yesterday"))[0] == 200
    (tmp_path / WHEEL).write_bytes(CONTENT[::-1])
    for url in (page, file):
        assert (await ask(upstream, index, url, if_modified_since=headers["last-modified"]))[0] == 200
    _, _, content = await ask(upstream, index, page)
    assert hashlib.sha256(CONTENT[::-1]).hexdigest() in content.decode()


async def test_a_file_is_hashed_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / WHEEL
    path.write_bytes(CONTENT)
    hashes = Hashes()
    hashed: list[str] = []
    real = hashlib.file_digest

    def counted(file: object, digest: str) -> object:
        hashed.append(digest)
        return real(file, digest)  # type: ignore[arg-type]

    monkeypatch.setattr(hashlib, "file_digest", counted)
    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(trio.to_thread.run_sync, hashes.sha256, path)
    assert len(hashed) == 1
    os.utime(path, (1, 1))
    hashes.sha256(path)
    assert len(hashed) == 2


async def test_a_file_that_was_replaced_by_one_of_the_same_size_and_time_is_hashed_again(tmp_path: Path) -> None:
    """As a build with SOURCE_DATE_EPOCH makes it, and a copy that keeps times."""
    wheel, upstream, index = tmp_path / WHEEL, DirectoryUpstream(), index_at(tmp_path)
    for content in (b"first", b"other", b"third"):
        if content == b"third":
            wheel.write_bytes(content)  # the same inode
        else:
            beside = tmp_path / "beside"
            beside.write_bytes(content)
            os.utime(beside, (1_700_000_000, 1_700_000_000))
            beside.rename(wheel)
        os.utime(wheel, (1_700_000_000, 1_700_000_000))
        (listed,) = await files_of(upstream, index, "demo-pkg")
        assert listed["hashes"] == {"sha256": hashlib.sha256(content).hexdigest()}


async def test_a_page_that_takes_too_long_is_unavailable_and_the_work_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / WHEEL).write_bytes(CONTENT)
    index, hashes = index_at(tmp_path), Hashes()
    with pytest.raises(Unavailable, match="hashed"):
        await ask(DirectoryUpstream(hashes, page_time_s=0), index, index.url + "demo-pkg/")
    assert len(await files_of(DirectoryUpstream(hashes), index, "demo-pkg")) == 1


async def test_a_file_that_shrinks_while_it_is_read_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / WHEEL).write_bytes(CONTENT)
    index, upstream = index_at(tmp_path), DirectoryUpstream()
    with pytest.raises(Unavailable, match="shorter"):  # noqa: PT012
        async with upstream.get(index, index.url + WHEEL) as response:
            os.truncate(tmp_path / WHEEL, 100)
            async for _ in response.body:
                pass


async def test_an_index_over_http_cannot_send_us_into_the_file_system(tmp_path: Path) -> None:
    (tmp_path / WHEEL).write_bytes(CONTENT)
    index = make_index("https://index.example/simple/", 0, environment={}, netrc=Netrc())[0]
    upstream = RealUpstream(
        HttpxUpstream([UpstreamSettings(index)], environment={}, netrc=Netrc()), DirectoryUpstream()
    )
    for url in ((tmp_path / WHEEL).as_uri(), "FILE:///etc/passwd", "file:relative.whl"):
        with pytest.raises(Refused):
            await ask(upstream, index, url)
    with pytest.raises(Refused):
        await ask(DirectoryUpstream(), index, (tmp_path / WHEEL).as_uri())
