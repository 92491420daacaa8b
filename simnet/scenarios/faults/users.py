"""Who uses the five nodes: each asks for a page and its file as installers do, again and again until it is right."""

from __future__ import annotations

import json
import random
from urllib.parse import urlsplit

import trio

from p2pcdn.digest import Sha256
from simnet.browse import Answer, get
from simnet.marks import sometimes
from simnet.net.host import HERE
from simnet.node import INDEX_PORT, SimNode
from simnet.scenarios.faults.world import HORIZON_S, World
from simnet.upstream import Published

# A client that hears nothing for so long hangs up, as pip does.
PATIENCE_S = 15.0
PAUSE_S = (0.2, 1.0)
FETCHES_MAX = 4
# All ask for the same file within so long, where they do.
RUSH_S = 0.2

# What a node may answer while something is wrong; anything else is a bug at any time.
CLEAN_REFUSALS = frozenset({502, 503, 504})


class Users:
    """Those of one seed, on all machines."""

    def __init__(self, world: World) -> None:
        self._world = world

    def begin(self, nursery: trio.Nursery) -> None:
        """Draws who wants what, and lets them want it."""
        world = self._world
        files = list(world.upstream.published.values())
        first = world.dice.choice(files) if world.dice.random() < 0.5 else None  # what all want at once
        for node in world.nodes:
            for number in range(world.dice.randint(1, FETCHES_MAX)):
                rush = number == 0 and first is not None
                one = first if rush and first is not None else world.dice.choice(files)
                at_s = world.dice.uniform(0, RUSH_S if rush else HORIZON_S)
                dice = random.Random(f"user {world.seed} {node.host} {number}")
                nursery.start_soon(self._use, node, one, at_s, dice)

    # --- below

    async def _use(self, node: SimNode, one: Published, at_s: float, dice: random.Random) -> None:
        HERE.set(node.host)
        await trio.sleep(at_s)
        tries = 0
        while not self._world.failures and not await self._take(node, one, dice):
            tries += 1
            if self._world.unseen:
                self._world.fail(f"{node.host} did not give {one.filename}, and the upstream was well")
            sometimes("a client was refused and came again")
            await trio.sleep(dice.uniform(*PAUSE_S))
        self._world.kernel.trace(f"done {node.host} {one.filename} {tries}")

    async def _take(self, node: SimNode, one: Published, dice: random.Random) -> bool:
        """The page, then the file. True when the file came whole, and was right."""
        await node.up.wait()
        path = await self._path_on_page(node, one)
        if path is None:
            return False
        start = dice.randrange(len(one.content)) if dice.random() < 0.15 else 0
        answer = await self._ask(node, path, {"range": f"bytes={start}-"} if start else {})
        if answer is None:
            return False
        if not answer.whole:
            if answer.status == 200:
                sometimes("a body was broken off")
                self._check_begun(node, one, answer)
            return False
        return answer.status in (200, 206) and self._is_right(node, one, answer, start)

    async def _path_on_page(self, node: SimNode, one: Published) -> str | None:
        world = self._world
        page = await self._ask(node, f"/simple/{one.project}/", {"accept": "application/vnd.pypi.simple.v1+json"})
        if page is None or page.status != 200 or not page.whole:
            return None
        listed = {file["filename"]: file for file in json.loads(page.body)["files"]}
        if one.filename not in listed:
            world.fail(f"{node.host}: the page of {one.project} does not list {one.filename}")
            return None
        hashes = {} if one.filename == world.upstream.hashless else {"sha256": one.sha256}
        if listed[one.filename]["hashes"] != hashes:
            world.fail(f"{node.host}: the page of {one.project} has another sha256 for {one.filename}")
        return str(urlsplit(listed[one.filename]["url"]).path)

    def _is_right(self, node: SimNode, one: Published, answer: Answer, start: int) -> bool:
        world = self._world
        right = answer.body == (one.content if answer.status == 200 else one.content[start:])
        excused = (node.host.name, Sha256(one.sha256)) in world.rotten
        if one.filename == world.upstream.hashless and world.origin_lies:
            right = excused = True  # nobody could know
        if not right and not excused:
            world.fail(f"{node.host}: a completed {answer.status} of {one.filename} has wrong bytes")
        sometimes("a file passed through unkept", "bypass" in answer.headers.get("cache-status", ""))
        return right

    def _check_begun(self, node: SimNode, one: Published, answer: Answer) -> None:
        """Only an origin's own lie may be in what went out before the proof; in a group, a member's word for it too."""
        world = self._world
        deceived = node.options.group is not None or node.number in world.spoilt_ever
        origin_lied = any(fault.kind == "upstream lies" for fault in world.faults)
        if not (one.content.startswith(answer.body) or origin_lied or deceived):
            world.fail(f"{node.host}: a stranger's wrong bytes of {one.filename} went out before the proof")

    async def _ask(self, node: SimNode, path: str, headers: dict[str, str]) -> Answer | None:
        """None where the client gave up, or its machine went down."""
        scope = trio.CancelScope(deadline=trio.current_time() + 4 * PATIENCE_S)
        attempts = self._world.attempts.setdefault(node.host.name, set())
        attempts.add(scope)
        try:
            with scope:
                answer = await get("127.0.0.1", INDEX_PORT, path, headers, silence_s=PATIENCE_S)
        finally:
            attempts.discard(scope)
        if scope.cancelled_caught:
            return None
        if answer.status not in (0, 200, 206, *CLEAN_REFUSALS):
            self._world.fail(f"{node.host}: {path} was answered with {answer.status}: {answer.body[:200]!r}")
        return answer
