"""Fifty readers, ranges, eviction, a mismatch and a kill, all on one partial of one real node."""

from __future__ import annotations

import http.client
import random
import threading

from tests.bench.node import RunningNode
from tests.bench.patience import until
from tests.bench.upstream import Slow, WrongBytes
from tests.bench.wheels import make_wheel
from tests.end_to_end.conftest import StartNode, StartUpstream

READERS = 50
WHEEL = make_wheel("demo-shared", size_bytes=6_000_000)
OTHERS = [make_wheel(f"demo-other-{number}", size_bytes=3_000_000) for number in range(6)]
# Room for the shared wheel and two others: the store evicts while the partial grows.
STORE_SIZE = "14MB"


def test_fifty_readers_ranges_eviction_a_mismatch_and_a_kill_on_one_partial(
    start_upstream: StartUpstream, start_node: StartNode
) -> None:
    upstream = start_upstream([WHEEL, *OTHERS])
    node = start_node(upstream, arguments=["--store-size", STORE_SIZE])
    path = node.path_of("demo-shared", WHEEL.filename)
    others = [node.path_of(one.project, one.filename) for one in OTHERS]
    crowd = _Crowd(node, path)

    # The first attempt brings wrong bytes: every reader is cut off, none completes anything, nothing is kept.
    upstream.fault("*demo_shared*", Slow(bytes_per_s=2_000_000))
    upstream.fault("*demo_shared*", WrongBytes(), times=1)
    crowd.start()
    until(lambda: "wrong bytes" in node.log(), "the mismatch was found")
    until(lambda: crowd.cut > 0, "its readers were cut off")
    assert not crowd.wrong
    assert crowd.completed == 0

    # The second one grows slowly while other files come and go, and the node is killed in the middle of it.
    so_far = len(WHEEL.content) + 2_500_000
    until(lambda: node.status()["bytes"]["from_upstream"] > so_far, "the second attempt has got somewhere")
    for other, one in zip(others, OTHERS, strict=True):
        assert node.get(other).body == one.content
    assert node.status()["store"]["size_bytes"] <= node.status()["store"]["limit_bytes"]
    node.kill9()
    upstream.heal()
    node.start()

    until(lambda: crowd.all_have_it(), "every reader got what it wanted", timeout_s=60)
    crowd.stop()
    assert not crowd.wrong
    assert node.get(path).body == WHEEL.content


class _Crowd:
    """Readers that ask again until they have what they want: half of them the whole file, half of them a range."""

    def __init__(self, node: RunningNode, path: str) -> None:
        self.wrong: list[str] = []
        self.cut = 0
        self.completed = 0
        self._node = node
        self._path = path
        self._lock = threading.Lock()
        self._over = threading.Event()
        dice = random.Random(20261121)
        self._threads = [threading.Thread(target=self._read, args=(_wish(dice, number),)) for number in range(READERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def all_have_it(self) -> bool:
        return self.completed == READERS

    def _read(self, wish: tuple[int, int] | None) -> None:
        start, end = wish or (0, len(WHEEL.content))
        headers = {} if wish is None else {"Range": f"bytes={start}-{end - 1}"}
        while not self._over.is_set():
            try:
                answer = self._node.get(self._path, headers)
            except (OSError, http.client.HTTPException):
                self._note("cut")
                self._over.wait(0.05)
                continue
            if answer.status not in (200, 206) or not answer.whole:
                self._note("cut")
                self._over.wait(0.05)
                continue
            if answer.body != WHEEL.content[start:end]:
                self.wrong.append(f"{answer.status}, bytes {start} to {end}")
            self._note("completed")
            return

    def _note(self, what: str) -> None:
        with self._lock:
            setattr(self, what, getattr(self, what) + 1)


def _wish(dice: random.Random, number: int) -> tuple[int, int] | None:
    if number % 2:
        return None
    start = dice.randrange(len(WHEEL.content) - 1)
    return start, dice.randrange(start + 1, len(WHEEL.content) + 1)
