"""Who must have published what: a policy against what an index by script says, and a notary that knows few words."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import trio

from p2pcdn.counters import Counters
from p2pcdn.envs.model import Chosen, LockedFile, LockedPackage, Vcs
from p2pcdn.errors import Refused, Unavailable
from p2pcdn.index import Pages
from p2pcdn.provision.attested import Attested, Demand
from p2pcdn.provision.provenance import Provenances
from p2pcdn.world import Statement, Verdict
from tests.bench.wheels import Distribution, make_wheel
from tests.worlds import INDEX, Answer, InlineThreads, ScriptedUpstream, VirtualClock, open_store

FLASK, CLICK = make_wheel("flask"), make_wheel("click")
JSON = {"content-type": "application/vnd.pypi.simple.v1+json", "cache-control": "max-age=600"}
TRUE = {"flask": b"GitHub pallets/flask publish.yml"}


@dataclass
class Notary:
    """A `world.Attestations`: a provenance object is the publisher's name, or "wrong"."""

    can_verify: bool = True
    seen: list[str] = field(default_factory=list)

    async def verify(self, statements: Sequence[Statement]) -> list[Verdict]:
        if not self.can_verify:
            raise Refused("This node cannot verify attestations.")
        self.seen += [one.filename for one in statements]
        texts = [one.provenance.decode() for one in statements]
        strange = {"wrong": Verdict((), "it is forged"), "strange": Verdict((), "", ("Moon",))}
        return [strange.get(text) or Verdict((text,), "") for text in texts]


def chosen(*files: Distribution) -> list[Chosen]:
    found = []
    for one in files:
        file = LockedFile(one.filename, {"sha256": one.sha256}, f"https://files.example/{one.filename}")
        found.append(Chosen(LockedPackage(one.project, one.version, index=INDEX.url, wheels=(file,)), "wheel", file))
    return found


@asynccontextmanager
async def desk(
    directory: Path, provenance: Mapping[str, bytes | None], notary: Notary | None
) -> AsyncIterator[Attested]:
    """provenance: by project; None: the page links one, and the index does not answer there."""

    def answer(url: str, _: Mapping[str, str]) -> Answer:
        project = url.rstrip("/").rpartition("/")[2]
        if url.startswith("https://index.example/integrity/"):
            content = provenance[project]
            return Answer(content) if content is not None else Answer(error=Unavailable("nobody is there"))
        one = {"flask": FLASK, "click": CLICK}[project]
        row = {
            "filename": one.filename,
            "url": f"https://files.example/{one.filename}",
            "hashes": {"sha256": one.sha256},
        }
        more = {"provenance": f"https://index.example/integrity/{project}"} if project in provenance else {}
        return Answer(
            json.dumps({"meta": {"api-version": "1.3"}, "name": project, "files": [row | more]}).encode(), headers=JSON
        )

    upstream, counters = ScriptedUpstream(answer), Counters()
    async with open_store(directory) as store, trio.open_nursery() as nursery:
        pages = Pages(
            (INDEX,),
            store=store, upstream=upstream, threads=InlineThreads(), clock=VirtualClock(),
            counters=counters, nursery=nursery, offline=False,
        )  # fmt: skip
        yield Attested(store, pages, Provenances(store, upstream), notary)
        nursery.cancel_scope.cancel()


async def test_a_demand_is_met_by_an_attestation_of_the_right_repository(
    autojump_clock: object, tmp_path: Path
) -> None:
    notary = Notary()
    async with desk(tmp_path, TRUE, notary) as attested:
        for wanted in ("", "pallets/flask", "Pallets/Flask"):
            found = await attested.check(chosen(FLASK, CLICK), Demand({"flask": wanted}))
            assert found == {FLASK.sha256: "GitHub pallets/flask publish.yml"}
        with pytest.raises(Refused, match=r"published by GitHub pallets/flask publish.yml, and .* demands other/flask"):
            await attested.check(chosen(FLASK), Demand({"flask": "other/flask"}))
    assert notary.seen == [FLASK.filename], "what was verified once is known by its hash"


async def test_a_missing_a_forged_and_an_unread_attestation_stop_what_demands_one(
    autojump_clock: object, tmp_path: Path
) -> None:
    async with desk(tmp_path / "a", {}, Notary()) as attested:
        with pytest.raises(Refused, match=r"has no attestation .* Nothing was installed"):
            await attested.check(chosen(FLASK), Demand({":all:": ""}))
        assert await attested.check(chosen(FLASK), Demand({"click": ""})) == {}
    async with desk(tmp_path / "b", {"flask": None}, Notary()) as attested:
        with pytest.raises(Unavailable):
            await attested.check(chosen(FLASK), Demand({"flask": ""}))
    async with desk(tmp_path / "c", TRUE, Notary(can_verify=False)) as attested:
        with pytest.raises(Refused, match="cannot verify"):
            await attested.check(chosen(FLASK), Demand({"flask": ""}))
    async with desk(tmp_path / "d", TRUE, None) as attested:
        with pytest.raises(Refused, match="cannot verify"):
            await attested.check(chosen(FLASK), Demand({"flask": ""}))


async def test_where_nobody_demands_it_a_forged_one_stops_and_a_missing_one_does_not(
    autojump_clock: object, tmp_path: Path
) -> None:
    async with desk(tmp_path / "a", {"flask": b"wrong"}, Notary()) as attested:
        assert await attested.check(chosen(FLASK), Demand()) == {}, "no page is asked for it"
        await attested.pages.project("flask")
        with pytest.raises(Refused, match="it is forged"):
            await attested.check(chosen(FLASK), Demand())
    async with desk(tmp_path / "b", {"flask": None}, Notary()) as attested:
        await attested.pages.project("flask")
        assert await attested.check(chosen(FLASK, CLICK), Demand()) == {}
    async with desk(tmp_path / "c", {"flask": b"wrong"}, Notary(can_verify=False)) as attested:
        await attested.pages.project("flask")
        assert await attested.check(chosen(FLASK), Demand()) == {}


async def test_a_kind_of_attestation_that_nobody_knows_stops_only_what_demands_one(
    autojump_clock: object, tmp_path: Path
) -> None:
    async with desk(tmp_path, {"flask": b"strange"}, Notary()) as attested:
        await attested.pages.project("flask")
        told: list[str] = []
        assert await attested.check(chosen(FLASK), Demand(), told.append) == {}
        assert told == [f"{FLASK.filename} is attested in a way that this node cannot verify (Moon)."]
        with pytest.raises(Refused, match="has no attestation"):
            await attested.check(chosen(FLASK), Demand({"flask": ""}))


async def test_another_file_of_that_name_is_not_attested_by_the_index(autojump_clock: object, tmp_path: Path) -> None:
    other = make_wheel("flask", seed=1, size_bytes=1)
    assert other.filename == FLASK.filename
    async with desk(tmp_path, TRUE, Notary()) as attested:
        with pytest.raises(Refused, match="has no attestation"):
            await attested.check(chosen(other), Demand({"flask": ""}))


@pytest.mark.parametrize(
    ("publisher", "wanted"),
    [
        ("GitLab evil/x ci pallets/flask .yml", "pallets/flask"),  # the path of its workflow is its own to choose
        ("GitLab pallets/flask .gitlab-ci.yml", "pallets/flask"),  # anybody may have that name there
        ("GitHub pallets/flask publish.yml", "gitlab.com/pallets/flask"),
        ("GitHub pallets/flask publish.yml", "github"),
        ("GitHub pallets/flask publish.yml", "publish.yml"),
        ("GitHub pallets/flask-evil publish.yml", "pallets/flask"),
        ("GitHub evil-pallets/flask publish.yml", "pallets/flask"),
    ],
)
async def test_another_publisher_with_the_right_words_is_another(
    autojump_clock: object, tmp_path: Path, publisher: str, wanted: str
) -> None:
    async with desk(tmp_path, {"flask": publisher.encode()}, Notary()) as attested:
        with pytest.raises(Refused, match="demands"):
            await attested.check(chosen(FLASK), Demand({"flask": wanted}))


@pytest.mark.parametrize(
    ("publisher", "wanted"),
    [
        ("GitLab Group/sub/flask .gitlab-ci.yml", "gitlab.com/group/Sub/flask"),
        ("GitHub pallets/flask publish.yml", "github.com/pallets/flask"),
        ("Google robot@h.example", "robot@h.example"),
    ],
)
async def test_a_publisher_is_named_with_its_host_or_by_its_address(
    autojump_clock: object, tmp_path: Path, publisher: str, wanted: str
) -> None:
    async with desk(tmp_path, {"flask": publisher.encode()}, Notary()) as attested:
        assert await attested.check(chosen(FLASK), Demand({"flask": wanted}))


async def test_what_was_attested_is_so_under_its_own_name_only(autojump_clock: object, tmp_path: Path) -> None:
    notary = Notary()
    async with desk(tmp_path, TRUE, notary) as attested:
        await attested.check(chosen(FLASK), Demand({"flask": ""}))
        (one,) = chosen(FLASK)
        assert one.file is not None
        newer = replace(one, file=replace(one.file, name="flask-99.0-py3-none-any.whl"))
        await attested.check([newer], Demand({"flask": ""}))
    assert notary.seen == [FLASK.filename, "flask-99.0-py3-none-any.whl"], "the verifier judges the name, too"


async def test_what_no_index_gave_cannot_be_attested(autojump_clock: object, tmp_path: Path) -> None:
    commit = Chosen(LockedPackage("flask", vcs=Vcs("git", "a" * 40, "https://h.example/x")), "vcs")
    async with desk(tmp_path, {}, Notary()) as attested:
        assert await attested.check([commit], Demand()) == {}
        with pytest.raises(Refused, match="comes from no index"):
            await attested.check([commit], Demand({"flask": ""}))
