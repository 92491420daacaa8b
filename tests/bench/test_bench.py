"""The bench is honest: real installers install from it, its faults are what they say, and it counts right."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.bench.clients import NoTool, Workplace, tool
from tests.bench.node import get
from tests.bench.upstream import OLD_HTML, PLAIN, PYTORCH, Cut, FaultyUpstream, ShortBody, Status, Style, WrongBytes
from tests.bench.wheels import make_sdist, make_wheel, real_wheels

TOP = make_wheel("demo-top", requires=["demo-base"], size_bytes=100_000)
FILES = (TOP, make_wheel("demo-base"), make_sdist("demo-source"))


@pytest.mark.parametrize("style", [Style(), OLD_HTML, PLAIN, PYTORCH], ids=["like PyPI", "old", "plain", "PyTorch"])
@pytest.mark.parametrize("name", ["pip-old", "pip-new", "uv"])
def test_installers_install_from_every_style_of_index(tmp_path: Path, name: str, style: Style) -> None:
    try:
        installer = tool(name)
    except NoTool as why:
        pytest.skip(str(why))
    place = Workplace(tmp_path)
    with FaultyUpstream(FILES, style) as upstream:
        install = place.uv if name == "uv" else place.pip
        done = install(installer, upstream.url, "demo-top")
    assert done.returncode == 0, done.stdout + done.stderr
    assert place.installed() == {"demo-top": "1.0", "demo-base": "1.0"}


def test_faults_are_what_they_say() -> None:
    with FaultyUpstream(FILES) as upstream:
        url = upstream.file_url(TOP.filename)
        path = "/" + url.split("/", 3)[3]
        address = ("127.0.0.1", int(url.split("/")[2].rpartition(":")[2]))
        upstream.fault("*.whl", Cut(at_bytes=1000), times=1)
        cut = get(address, path)
        assert (len(cut.body), cut.whole) == (1000, False)
        rest = get(address, path, {"Range": "bytes=1000-", "If-Range": cut.headers["etag"]})
        assert rest.status == 206
        assert cut.body + rest.body == TOP.content
        upstream.fault("*.whl", WrongBytes(), times=1)
        wrong = get(address, path)
        assert wrong.whole
        assert sum(left != right for left, right in zip(wrong.body, TOP.content, strict=True)) == 1
        upstream.fault("*.whl", ShortBody(10), times=1)
        assert get(address, path).body == TOP.content[:10]
        upstream.fault("*.whl", Status(429, retry_after_s=7), times=1)
        assert get(address, path).headers["retry-after"] == "7"
        assert get(address, path).body == TOP.content
        assert [one.status for one in upstream.file_gets()] == [200, 206, 200, 200, 429, 200]


def test_a_stopped_upstream_is_gone_and_comes_back_where_it_was() -> None:
    with FaultyUpstream(FILES) as upstream:
        url = upstream.url + "demo-base/"
        assert urllib.request.urlopen(url, timeout=5).status == 200
        upstream.stop()
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(url, timeout=5)
        upstream.start()
        assert urllib.request.urlopen(url, timeout=5).status == 200


@pytest.mark.upstream
def test_the_real_wheels_are_what_the_list_pins() -> None:
    real = real_wheels()
    if real.why_made:
        pytest.skip(real.why_made)
    assert len(real.files) == len(real.top) >= 30
