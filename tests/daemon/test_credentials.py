"""Where credentials are found, in which order, and that they are never shown."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from p2pcdn_daemon.upstream.credentials import Credentials, Netrc, from_environment, from_keyring
from p2pcdn_daemon.upstream.index_url import make_index
from p2pcdn_daemon.upstream.upstream import UpstreamSettings

NOBODY = Netrc()


def netrc_of(tmp_path: Path, text: str) -> Netrc:
    (tmp_path / "netrc").write_text(text)
    return Netrc.read({"NETRC": str(tmp_path / "netrc")})


def test_the_url_may_hold_them_and_is_plain_afterwards() -> None:
    index, credentials = make_index("https://me%40corp:p%3Aw@Index.Example:443/simple", 0, environment={}, netrc=NOBODY)
    assert credentials == Credentials("me@corp", "p:w")
    assert index.url == "https://index.example/simple/"
    assert (index.private, index.share) == (True, "never")


def test_the_environment_goes_before_the_url_and_the_url_before_netrc(tmp_path: Path) -> None:
    netrc = netrc_of(tmp_path, "machine index.example login n password np")
    environment = {"P2PCDN_INDEX_INDEX_EXAMPLE_USERNAME": "e", "P2PCDN_INDEX_INDEX_EXAMPLE_PASSWORD": "ep"}
    url = "https://u:up@index.example/simple/"
    assert make_index(url, 0, environment=environment, netrc=netrc)[1] == Credentials("e", "ep")
    assert make_index(url, 0, environment={}, netrc=netrc)[1] == Credentials("u", "up")
    assert make_index("https://index.example/simple/", 0, environment={}, netrc=netrc)[1] == Credentials("n", "np")
    assert make_index("https://n@index.example/", 0, environment={}, netrc=netrc)[1] == Credentials("n", "np")
    assert make_index("https://u@index.example/", 0, environment={}, netrc=netrc)[1] == Credentials("u", None)


def test_uvs_variables_count_too_and_a_name_may_be_given() -> None:
    environment = {"UV_INDEX_MY_CORP_PASSWORD": "token"}
    assert from_environment("my-corp", environment) == Credentials("", "token")
    assert from_environment("other", environment) is None
    assert make_index("https://h.example/", 0, name="my corp", environment=environment, netrc=NOBODY)[0].private


def test_a_default_of_netrc_makes_no_index_private(tmp_path: Path) -> None:
    netrc = netrc_of(tmp_path, "machine h.example login h password hp\ndefault login anonymous password me@home\n")
    assert netrc.of("h.example") == Credentials("h", "hp")
    for host in ("index.example", "default"):
        assert netrc.of(host) is None
    assert not make_index("https://index.example/simple/", 0, environment={}, netrc=netrc)[0].private


def test_a_broken_netrc_is_left_aside_and_its_password_is_not_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for text in ("machine h login a password hunter2 hunter3\n", "hunter2"):
        assert netrc_of(tmp_path, text).of("h") is None
    (tmp_path / "netrc").write_bytes(b"machine h login \xff password hunter2")
    Netrc.read({"NETRC": str(tmp_path / "netrc")})
    assert Netrc.read({"NETRC": str(tmp_path)}).of("h") is None
    assert Netrc.read({"NETRC": str(tmp_path / "missing")}).of("h") is None
    assert Netrc.read({"HOME": str(tmp_path)}).of("h") is None
    assert "netrc" in caplog.text
    assert "hunter" not in caplog.text


def test_they_are_in_no_repr_and_in_no_message(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    index, credentials = make_index("https://alice:hunter2@index.example/", 0, environment={}, netrc=NOBODY)
    settings = UpstreamSettings(index, proxy="http://alice:hunter2@proxy.example/", credentials=credentials)
    for bad in ("gopher://alice:hunter2@h/", "https://alice:hunter2@h/?q=1", "https://alice:hunter2@h:99999/"):
        with pytest.raises(ValueError) as caught:
            make_index(bad, 0, environment={}, netrc=NOBODY)
        assert "hunter2" not in str(caught.value)
    assert "hunter2" not in f"{settings!r} {index!r} {credentials!r} {caplog.text}"
    assert "alice" not in repr(settings)


def test_the_share_follows_from_the_url_and_can_be_overridden() -> None:
    def share(url: str) -> str:
        return make_index(url, 0, environment={}, netrc=NOBODY)[0].share

    assert share("https://index.example/simple/") == "lan"
    assert share("http://10.0.0.5:8080/simple/") == "group"
    assert share("http://localhost:3141/team/dev/+simple/") == "group"
    assert share("file:///srv/wheels") == "group"
    assert share("https://u:p@index.example/") == "never"
    assert make_index("https://u:p@index.example/", 0, "lan", environment={}, netrc=NOBODY)[0].share == "lan"


def test_an_indexs_key_depends_on_its_plain_url_alone() -> None:
    def key(url: str) -> str:
        return make_index(url, 3, environment={}, netrc=NOBODY)[0].key

    assert key("https://Index.example/simple") == key("https://u:p@index.example:443/simple/")
    assert key("https://index.example/simple") != key("https://index.example/other")
    assert len(key("file:///srv/wheels")) == 16
    assert key("file:/srv/wheels/../wheels/") == key("file://localhost/srv/wheels")


def test_what_is_no_index_is_said_in_one_sentence() -> None:
    for url in ("", "simple", "/srv/wheels", "file://host/share", "https://", "ftp://h/"):
        with pytest.raises(ValueError, match="is not "):
            make_index(url, 0, environment={}, netrc=NOBODY)


@pytest.fixture
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the keyring package, found by us and by the one who is asked; the path is its log of questions."""
    asked = tmp_path / "asked"
    (tmp_path / "keyring.py").write_text(
        "import sys, pathlib\n"
        f"pathlib.Path({str(asked)!r}).open('a').write(' '.join(sys.argv[1:]) + chr(10))\n"
        "if sys.argv[3] == 'prompts': input('password: ')\n"
        "passwords = {('index.example', 'known'): 'from-the-keyring'}\n"
        "found = passwords.get((sys.argv[2], sys.argv[3]))\n"
        "print(found) if found else sys.exit(1)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return asked


async def test_the_keyring_is_asked_for_the_url_then_for_the_host(keyring: Path) -> None:
    url = "https://index.example/simple/"
    assert await from_keyring(url, "index.example", "known") == Credentials("known", "from-the-keyring")
    assert await from_keyring(url, "index.example", "stranger") is None
    asked = [f"get {place} {user}" for user in ("known", "stranger") for place in (url, "index.example")]
    assert keyring.read_text().splitlines() == asked  # noqa: ASYNC240


async def test_a_keyring_that_would_prompt_gets_no_answer(keyring: Path) -> None:
    assert await from_keyring("https://index.example/", "index.example", "prompts") is None
