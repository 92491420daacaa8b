"""Which repositories a requirement may name, and how it is read; no git is asked."""

from __future__ import annotations

import pytest

from p2pcdn.envs.model import Vcs
from p2pcdn.errors import Refused
from p2pcdn.provision.repositories import Place, check_place, is_repository, parse_place, refuse_plain_http


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("git+https://h.example/a/b.git", Place("https://h.example/a/b.git")),
        ("git+https://h.example/a/b.git@v1", Place("https://h.example/a/b.git", "v1")),
        ("git+https://me:pw@h.example/b@refs/pull/7/head", Place("https://me:pw@h.example/b", "refs/pull/7/head")),
        ("git+ssh://git@h.example/b.git@1.0#subdirectory=x/y", Place("ssh://git@h.example/b.git", "1.0", "x/y")),
        ("git+file:///srv/b#egg=b&subdirectory=x", Place("file:///srv/b", None, "x")),
    ],
)
def test_a_requirement_is_read_as_pip_reads_it(url: str, place: Place) -> None:
    assert is_repository(url)
    assert parse_place("demo", url) == place


def test_a_place_is_shown_without_its_password() -> None:
    place = parse_place("demo", "git+https://me:pw@h.example/b")
    assert place.shown == "https://h.example/b"
    assert "pw" not in repr(place)
    assert parse_place("demo", "git+ssh://git@h.example/b").shown == "ssh://git@h.example/b"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("hg+https://example.invalid/x", "a hg repository, and only git's"),
        ("cvs+https://example.invalid/x", "no kind of repository"),
        ("git+ftp://example.invalid/x", "https, ssh or file"),
        ("git+ext::sh -c touch% /x", "https, ssh or file"),
        ("git+http://me:secret@example.invalid/x", "trusted-host = \\['example.invalid'\\]"),
        ("git+https://example.invalid/x@", "names no revision"),
        ("git+https://secret@example.invalid:abc/x", "cannot be read"),
        ("git+https://[::1/x", "cannot be read"),
        ("git+https://example.invalid/x@--upload-pack=touch", "that none can have"),
        ("git+https://-oProxyCommand=touch/x", "that none can have"),
        ("git+ssh://-oProxyCommand=touch@example.invalid/x", "that none can have"),
        ("git+https://example.invalid/x#subdirectory=../../etc", "that none can have"),
    ],
)
def test_what_cannot_be_taken_is_a_sentence_without_secrets(url: str, words: str) -> None:
    with pytest.raises(Refused, match=words) as told:
        parse_place("demo", url)
    assert "secret" not in str(told.value)


def test_plain_http_is_for_hosts_that_are_trusted_by_name_or_are_this_machine() -> None:
    parse_place("demo", "git+http://example.invalid/x", ("example.invalid",))
    parse_place("demo", "git+http://localhost:8080/x")
    with pytest.raises(Refused):
        parse_place("demo", "git+http://example.invalid:8080/x", ("example.invalid:80",))
    with pytest.raises(Refused, match="cannot be read"):
        refuse_plain_http("demo", "http://[::1/demo-1.0.tar.gz", ())


def test_a_commit_of_a_lock_is_judged_as_a_requirement_is() -> None:
    vcs = Vcs("git", "a" * 40, "http://example.invalid/x")
    with pytest.raises(Refused, match="plain http"):
        check_place("demo", Place(vcs.url or "", vcs.commit_id), ())
    with pytest.raises(Refused, match="cannot be read"):
        check_place("demo", Place("https://example.invalid:99999/x", vcs.commit_id), ())
