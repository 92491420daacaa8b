"""A lock says who published what it names, where the index does; and goes without where nobody answers."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from p2pcdn.digest import Sha256
from p2pcdn.envs.pylock import read_lock
from p2pcdn.errors import Unavailable
from p2pcdn.fetch import Wanted
from p2pcdn.lock import publishers
from p2pcdn.lock.locker import Locked, OneTarget
from p2pcdn.lock.targets import matrix
from p2pcdn.lock.wishes import parse_question
from p2pcdn.provision.provenance import Provenances, publishers_in
from p2pcdn.simple import File
from tests.bench.wheels import make_wheel
from tests.lock.rooms import INTEGRITY, room
from tests.worlds import INDEX, SECOND, Answer, ScriptedUpstream, open_store

APP, LIB, PLAIN = make_wheel("app", requires=["lib", "plain"]), make_wheel("lib"), make_wheel("plain")
GITHUB = {"kind": "GitHub", "repository": "demo/app", "workflow": "publish.yml", "environment": None}
MOON = {"kind": "Moon", "base": "tranquility", "crew": 2}


def identities(locked: Locked) -> dict[str, list[Any]]:
    packages = tomllib.loads(locked.text)["packages"]
    return {one["name"]: one["attestation-identities"] for one in packages if "attestation-identities" in one}


async def test_identities_are_written_as_the_index_says_them(tmp_path: Path) -> None:
    async with room(tmp_path, APP, LIB, PLAIN) as here:
        here.index.publishers = {"app": GITHUB, "lib": MOON}
        locked = await here.lock("app")
        app = {"kind": "GitHub", "repository": "demo/app", "workflow": "publish.yml"}
        assert identities(locked) == {"app": [app], "lib": [MOON]}
        read = {one.name: one.attestation_identities for one in read_lock(locked.text.encode(), "lock").packages}
        assert read == {"app": (app,), "lib": (MOON,), "plain": ()}
        # Known by the hash of the file: another question asks nobody.
        asked = here.asked("/app")
        assert identities(await here.lock("app", requires_python=">=3.12")) == identities(locked)
        assert here.asked("/app") == asked == 1


async def test_a_publisher_that_cannot_be_asked_is_told_and_asked_again(tmp_path: Path) -> None:
    async with room(tmp_path, APP, LIB, PLAIN) as here:
        here.index.publishers = {"app": GITHUB, "lib": None}
        first = await here.lock("app")
        assert identities(first).keys() == {"app"}
        assert "The index did not say who published lib" in " ".join(first.warnings)
        here.index.publishers["lib"] = MOON
        second = await here.lock("app")
        assert not second.again
        assert (identities(second)["lib"], second.warnings) == ([MOON], ())


async def test_nobody_waits_for_long_for_hosts_that_do_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishers, "ASK_TIME_S_MAX", 0.1)
    async with room(tmp_path, APP, LIB, PLAIN) as here:
        here.index.publishers = {"lib": MOON}
        here.index.delays_s[f"{INTEGRITY}lib"] = 60.0
        locked = await here.lock("app")
        assert identities(locked) == {}
        assert "The index did not say who published lib" in " ".join(locked.warnings)


async def test_what_an_older_lock_says_of_a_publisher_stays_while_nobody_answers(tmp_path: Path) -> None:
    async with room(tmp_path / "first", APP, LIB, PLAIN) as here:
        here.index.publishers = {"lib": MOON}
        former = await here.lock("app")
    async with room(tmp_path / "second", APP, LIB, PLAIN) as here:
        here.index.publishers = {"lib": None}
        locked = await here.lock("app", former=former.text)
        assert locked.text == former.text
        assert locked.warnings == ()


async def test_one_interpreter_s_versions_ask_for_no_publishers(tmp_path: Path) -> None:
    async with room(tmp_path, PLAIN) as here:
        here.index.publishers = {"plain": GITHUB}
        question = parse_question({"requirements": ["plain"]})
        await here.locker.resolve(question, OneTarget("here", matrix(">=3.12")[0].target))
        assert not any(url.startswith(INTEGRITY) for url, _ in here.upstream.asked)


BROKEN = [b"", b"[]", b"{}", b'{"attestation_bundles": [{}]}', b'{"attestation_bundles": [{"publisher": {"kind": 1}}]}']


BROKEN += [b'{"attestation_bundles": [{"publisher": %s}]}' % one for one in (b"null", b"[]", b'{"kind": "\\ud800"}')]


@pytest.mark.parametrize("content", [*BROKEN, json.dumps({"attestation_bundles": [{"publisher": {"a": 1}}]}).encode()])
def test_a_provenance_that_is_none_is_no_publisher(content: bytes) -> None:
    with pytest.raises(Unavailable):
        publishers_in(content)


def test_a_number_that_toml_has_not_is_left_out() -> None:
    publisher = {"kind": "Moon", "crew": 2**63, "base": 1}
    assert publishers_in(json.dumps({"attestation_bundles": [{"publisher": publisher}]}).encode()) == [
        {"kind": "Moon", "base": 1}
    ]


async def test_a_publisher_is_what_that_very_index_says_and_silence_is_not_remembered(tmp_path: Path) -> None:
    said: dict[str, dict[str, str]] = {}

    def answer(url: str, _: Mapping[str, str]) -> Answer:
        if url not in said:
            return Answer(status=404)
        return Answer(json.dumps({"attestation_bundles": [{"publisher": said[url]}]}).encode())

    more = {"provenance": "/integrity"}
    file = File("lib-1.0.tar.gz", "https://files.example/lib", Sha256("ab" * 32), None, False, False, None, None, more)
    async with open_store(tmp_path) as store:
        provenances = Provenances(store, ScriptedUpstream(answer))
        assert not await provenances.publishers(Wanted(INDEX, "lib", file))
        said["https://index.example/integrity"] = {"kind": "ours"}
        said["https://second.example/integrity"] = {"kind": "of a stranger, who lists the same file"}
        assert await provenances.publishers(Wanted(SECOND, "lib", file)) == [said["https://second.example/integrity"]]
        assert await provenances.publishers(Wanted(INDEX, "lib", file)) == [{"kind": "ours"}]
        said.clear()
        assert await provenances.publishers(Wanted(INDEX, "lib", file)) == [{"kind": "ours"}], "it is kept"
