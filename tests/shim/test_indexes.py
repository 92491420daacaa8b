"""Indexes: their order, whose credentials go with them, and which may be asked over plain http."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcdn.trust import is_trusted
from p2pcdn_shim.zephyr.configuration.config import Config, resolve
from p2pcdn_shim.zephyr.configuration.credentials import Credentials
from p2pcdn_shim.zephyr.configuration.indexes import indexes_of
from p2pcdn_shim.zephyr.configuration.settings import IndexSetting
from p2pcdn_shim.zephyr.configuration.urls import check_url, public_url
from p2pcdn_shim.zephyr.errors import UsageError

CORP = IndexSetting("https://corp.example/simple/", "corp")
NOWHERE = {"HOME": "/nonexistent"}


def test_named_indexes_stand_before_the_default_and_further_ones_after_it() -> None:
    config = Config(
        index=(CORP, IndexSetting("https://main.example/", "main", default=True)),
        extra_index_url=("https://more.example/simple", "https://CORP.example/simple/"),
    )
    found = indexes_of(config, NOWHERE)
    assert [one.url for one in found] == [
        "https://corp.example/simple/",
        "https://main.example/",
        "https://more.example/simple/",
    ]
    assert [one.default for one in found] == [False, True, False]
    assert [one.name for one in found] == ["corp", "main", None]


def test_without_a_setting_the_nodes_own_choice_counts() -> None:
    assert indexes_of(Config(), NOWHERE) == []


def test_an_index_on_the_command_line_wins_over_a_default_of_a_file() -> None:
    config = Config(
        index=(IndexSetting("https://main.example/", "main", default=True),), index_url="https://now.example/"
    )
    assert [one.url for one in indexes_of(config, NOWHERE)] == ["https://main.example/"]
    said = config.but(origins={"index-url": "flag --index-url"})
    assert [one.url for one in indexes_of(said, NOWHERE)] == ["https://now.example/"]


@pytest.mark.parametrize(
    ("second", "why"),
    [('name = "a"', "'a' is the name of two indexes"), ("default = true", "two indexes say that they are the default")],
)
def test_of_two_indexes_it_can_be_said_which_is_meant(tmp_path: Path, second: str, why: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        '[[index]]\nname = "a"\nurl = "https://a.example/"\ndefault = true\n'
        f'[[index]]\nurl = "https://b.example/"\n{second}\n'
    )
    config = resolve({}, tmp_path, {}, config_file=str(file))
    with pytest.raises(UsageError, match=f"{file}, line 5: {why}"):
        indexes_of(config, {})


def test_plain_http_is_only_for_hosts_that_are_trusted_by_name() -> None:
    for url in ("http://index.example/simple/", "http://index.example:8080/simple/"):
        with pytest.raises(UsageError, match=r"plain http.*trusted-host = \['index\.example"):
            indexes_of(Config(index_url=url), NOWHERE)
    assert indexes_of(Config(index_url="http://index.example/", trusted_host=("index.example",)), NOWHERE)
    assert indexes_of(Config(index_url="http://index.example:8080/", trusted_host=("index.example:8080",)), NOWHERE)
    assert indexes_of(Config(index_url="http://[::1]:80/"), NOWHERE)
    with pytest.raises(UsageError):
        indexes_of(Config(index_url="http://index.example/", trusted_host=("index.example:8080",)), NOWHERE)


def test_only_this_machine_is_trusted_unasked() -> None:
    for host in ("localhost", "127.0.0.1", "127.9.9.9", "[::1]"):
        assert is_trusted(f"http://{host}:8080/", ())
    for host in ("localhost.example", "127.0.0.1.example", "128.0.0.1", "xlocalhost", "[::2]", "a.localhost"):
        assert not is_trusted(f"http://{host}/", ())


def test_credentials_come_from_the_url_the_environment_or_netrc_in_that_order(tmp_path: Path) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine corp.example login net password rc\ndefault login anonymous password ftp\n")
    netrc.chmod(0o600)
    environ = {"HOME": str(tmp_path), "ZEPHYR_INDEX_CORP_USERNAME": "env", "ZEPHYR_INDEX_CORP_PASSWORD": "iron"}
    in_url = CORP.but(url="https://ur%40l:pass%2Fword@corp.example/simple/")
    assert credentials(in_url, environ) == Credentials("ur@l", "pass/word")
    assert credentials(CORP, environ) == Credentials("env", "iron")
    assert credentials(CORP, {"HOME": str(tmp_path)}) == Credentials("net", "rc")
    assert credentials(CORP, NOWHERE) is None
    assert credentials(IndexSetting("https://other.example/"), {"HOME": str(tmp_path)}) is None
    assert credentials(IndexSetting("file:///srv/wheels/"), environ | {"ZEPHYR_INDEX__USERNAME": "x"}) is None
    for prefix in ("UV", "P2PCDN"):
        assert credentials(CORP, {**NOWHERE, f"{prefix}_INDEX_CORP_PASSWORD": "p"}) == Credentials("", "p")
    unnamed = IndexSetting("https://my.corp-x.example/")
    assert credentials(unnamed, {**NOWHERE, "ZEPHYR_INDEX_MY_CORP_X_EXAMPLE_PASSWORD": "p"}) == Credentials("", "p")


def credentials(setting: IndexSetting, environ: dict[str, str]) -> Credentials | None:
    return indexes_of(Config(index=(setting,), keyring="never"), environ)[0].credentials


def test_the_index_that_is_asked_has_no_credentials_in_its_url() -> None:
    (one,) = indexes_of(Config(index_url="https://user:secret@x.example/simple"), NOWHERE)
    assert one.url == "https://x.example/simple/"
    assert "secret" not in repr(one)


def test_a_broken_netrc_is_told_without_its_words(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine corp.example login x password\n  secret-word extra words\n")
    with pytest.raises(UsageError, match=r"broken in line \d+") as caught:
        credentials(CORP, {"HOME": str(tmp_path)})
    assert "secret-word" not in str(caught.value)
    with pytest.raises(UsageError, match="cannot be read"):
        credentials(CORP, {"HOME": "/", "NETRC": str(tmp_path / "nowhere")})


def test_the_keyring_is_asked_for_the_password_of_a_known_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = tmp_path / "keyring"
    keyring.write_text('#!/bin/sh\n[ "$1 $2 $3" = "get https://corp.example/simple/ bob" ] && echo hunter2\n')
    keyring.chmod(keyring.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setitem(sys.modules, "keyring", None)  # what is installed beside us must not answer
    setting = CORP.but(url="https://bob@corp.example/simple/")
    config = Config(index=(setting,))
    assert indexes_of(config, NOWHERE)[0].credentials == Credentials("bob", "hunter2")
    assert indexes_of(config.but(keyring="never"), NOWHERE)[0].credentials == Credentials("bob", None)
    assert indexes_of(Config(index=(CORP,)), NOWHERE)[0].credentials is None


def test_a_table_of_an_index_is_read_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    first = '[[index]]\nname = "corp"\nurl = "https://corp.example/simple/"\nexplicit = true\n'
    file.write_text(first + '[[index]]\nurl = "/srv/wheels"')
    config = resolve({}, tmp_path, {"ZEPHYR_CONFIG_FILE": str(file)})
    assert config.index == (CORP.but(explicit=True), IndexSetting("file:///srv/wheels"))
    named = "corp=https://corp.example/simple/ https://b.example/"
    config = resolve({}, tmp_path, {**NOWHERE, "ZEPHYR_INDEX": named})
    assert config.index == (CORP, IndexSetting("https://b.example/"))


@settings(derandomize=True, deadline=None, database=None)
@given(st.text(alphabet="ab:?#%", max_size=20), st.text(alphabet="ab:?#%", max_size=20))
def test_no_password_is_ever_shown(user: str, password: str) -> None:
    secret = f"{password}SECRET"
    for url in (f"https://{user}:{secret}@x.example/", f"https://{secret}@x.example/simple"):
        assert "SECRET" not in public_url(url)
        with pytest.raises(ValueError, match=r"is not an http, https or file URL") as caught:
            check_url(url + " ")
        assert "SECRET" not in str(caught.value)
