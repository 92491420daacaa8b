"""A locker with everything below it real (store, pages, metadata, the solver's process) and an index by script."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import trio

from p2pcdn.counters import Counters
from p2pcdn.fetch import Fetch, Metadata, OriginReader, Wanted
from p2pcdn.index import Pages
from p2pcdn.lock.facts import Facts
from p2pcdn.lock.locker import Locked, Locker
from p2pcdn.lock.publishers import Publishers
from p2pcdn.lock.solvers import Solvers
from p2pcdn.lock.wishes import parse_question
from p2pcdn.provision.provenance import Provenances
from p2pcdn.store import Blob, Store
from p2pcdn_daemon.doors.processes import RealProcesses
from tests.bench.wheels import Distribution
from tests.worlds import INDEX, Answer, InlineThreads, ScriptedUpstream, VirtualClock, lonely_swarm, open_store

INTEGRITY = "https://integrity.example/"
JSON = {"content-type": "application/vnd.pypi.simple.v1+json", "cache-control": "max-age=600"}


@dataclass
class ScriptedIndex:
    """An index of these files; `files` may change. delays_s: seconds before an answer, by the end of its URL.

    publishers: by project, whom the provenance of its files names; None: nobody answers who asks for it.
    """

    files: list[Distribution]
    delays_s: dict[str, float] = field(default_factory=dict)
    down: bool = False
    publishers: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    odd_files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    # Pages of projects without files.
    bare: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def answer(self, url: str, _: Mapping[str, str]) -> Answer:
        delay_s = next((delay for end, delay in self.delays_s.items() if url.endswith(end)), 0.0)
        if self.down:
            return Answer(status=503)
        if url.startswith(INDEX.url):
            project = url.removeprefix(INDEX.url).strip("/")
            if project in self.bare:
                page = {"meta": {"api-version": "1.4"}, "name": project, "files": [], **self.bare[project]}
                return Answer(json.dumps(page).encode(), headers=JSON)
            files = [one for one in self.files if one.project == project]
            more = {"provenance": f"{INTEGRITY}{project}"} if project in self.publishers else {}
            return (
                Answer(page_of(project, files, more, self.odd_files), headers=JSON, delay_s=delay_s)
                if files
                else Answer(status=404)
            )
        if url.startswith(INTEGRITY):
            publisher = self.publishers[url.removeprefix(INTEGRITY)]
            bundles = [{"publisher": publisher, "attestations": []}] * 2
            content = json.dumps({"attestation_bundles": bundles}).encode()
            return Answer(content, delay_s=delay_s) if publisher else Answer(status=503)
        for one in self.files:
            if url.endswith(one.filename):
                return Answer(one.content, delay_s=delay_s)
            if url.endswith(f"{one.filename}.metadata"):
                return Answer(one.metadata or b"", delay_s=delay_s)
        return Answer(status=404)


NOTHING: Mapping[str, Any] = MappingProxyType({})


def page_of(
    project: str,
    files: list[Distribution],
    more: Mapping[str, Any] = NOTHING,
    odd: Mapping[str, Mapping[str, Any]] = NOTHING,
) -> bytes:
    """more: said of each file. odd: of some, by name."""
    rows = [
        {
            "filename": one.filename,
            "url": f"https://files.example/{one.filename}",
            "hashes": {"sha256": one.sha256},
            "size": len(one.content),
            "requires-python": one.requires_python,
            "core-metadata": {"sha256": Distribution("", "", "", one.metadata or b"").sha256},
            "upload-time": "2024-01-01T00:00:00Z",
            **more,
            **odd.get(one.filename, {}),
        }
        for one in files
    ]
    return json.dumps({"meta": {"api-version": "1.1"}, "name": project, "files": rows}).encode()


@dataclass
class Room:
    """What a test has. `upstream.asked` is what the index was asked."""

    index: ScriptedIndex
    upstream: ScriptedUpstream
    clock: VirtualClock
    facts: Facts
    solvers: Solvers
    locker: Locker

    async def lock(self, *requirements: str, former: str | None = None, **more: Any) -> Locked:
        question = {"requirements": list(requirements), "requires_python": ">=3.11", **more}
        return await self.locker.lock(parse_question(question, former=former))

    def asked(self, end: str) -> int:
        """How often a URL with this end was asked for."""
        return sum(url.endswith(end) for url, _ in self.upstream.asked)


def metadata_in(store: Store, upstream: ScriptedUpstream, counters: Counters, nursery: trio.Nursery) -> Metadata:
    """Without neighbours."""
    swarm, origin = lonely_swarm(store, counters), OriginReader(upstream, counters, random.Random(1))

    async def kept(wanted: Wanted, blob: Blob) -> None: ...

    fetch = Fetch(
        store=store, swarm=swarm, origin=origin, counters=counters, nursery=nursery, offline=False, on_kept=kept
    )
    return Metadata(
        store=store,
        swarm=swarm,
        origin=origin,
        nursery=nursery,
        offline=False,
        whole=fetch.whole,
        on_change=lambda project: None,
    )


@asynccontextmanager
async def room(directory: Path, *files: Distribution, **settings: Any) -> AsyncIterator[Room]:
    index = ScriptedIndex(list(files))
    upstream = ScriptedUpstream(index.answer)
    counters, threads, clock = Counters(), InlineThreads(), VirtualClock()
    async with open_store(directory) as store, trio.open_nursery() as nursery:
        pages = Pages(
            (INDEX,),
            store=store,
            upstream=upstream,
            threads=threads,
            clock=clock,
            counters=counters,
            nursery=nursery,
            offline=False,
        )
        facts = Facts(pages, metadata_in(store, upstream, counters, nursery), store, threads)
        solvers = Solvers(RealProcesses(), nursery, **settings)
        publishers = Publishers(Provenances(store, upstream).publishers)
        yield Room(index, upstream, clock, facts, solvers, Locker(facts, solvers, store, "1", publishers=publishers))
        nursery.cancel_scope.cancel()
