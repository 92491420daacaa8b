"""What every walk needs: installers (or the reason why not), a faulty upstream, nodes before it, fresh workplaces."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.bench.clients import NoTool, Tool, Workplace, tool
from tests.bench.node import RunningNode
from tests.bench.upstream import FaultyUpstream, Style
from tests.bench.wheels import Distribution, RealWheels, real_wheels
from tests.bench.wire import Wire
from tests.end_to_end.files import FILES

StartNode = Callable[..., RunningNode]
StartUpstream = Callable[..., FaultyUpstream]


@pytest.fixture(params=["pip-old", "pip-new"])
def pip(request: pytest.FixtureRequest) -> Tool:
    return request.getfixturevalue("pip_new") if request.param == "pip-new" else tool_or_skip(request.param)


@pytest.fixture
def pip_new() -> Tool:
    """The newest pip; where there is no index to take it from, the one that came with Python."""
    try:
        return tool("pip-new")
    except NoTool as why:
        print(f"the pip that came with Python stands in: {why}")
        return tool_or_skip("pip-bundled")


@pytest.fixture
def pip_that_resumes() -> Tool:
    """pip goes on by Range since 25.1; older ones begin again."""
    return tool_or_skip("pip-new")


@pytest.fixture
def uv() -> Tool:
    return tool_or_skip("uv")


@pytest.fixture
def poetry() -> Tool:
    return tool_or_skip("poetry")


@pytest.fixture
def pdm() -> Tool:
    return tool_or_skip("pdm")


def tool_or_skip(name: str) -> Tool:
    try:
        return tool(name)
    except NoTool as why:
        pytest.skip(str(why))


@pytest.fixture
def ends() -> Iterator[ExitStack]:
    """Ends what a test began, the last first, whatever happened."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start_upstream(ends: ExitStack) -> StartUpstream:
    def start(files: Sequence[Distribution] = FILES, style: Style | None = None) -> FaultyUpstream:
        return ends.enter_context(FaultyUpstream(files, style))

    return start


@pytest.fixture
def upstream(start_upstream: StartUpstream) -> FaultyUpstream:
    return start_upstream()


@pytest.fixture
def start_node(ends: ExitStack, tmp_path: Path) -> StartNode:
    """start_node(upstream, ...): each call is another machine with a store of its own."""
    numbers = itertools.count(1)

    def start(*upstreams: FaultyUpstream | str, directory: Path | None = None, **settings: object) -> RunningNode:
        where = directory or tmp_path / f"node{next(numbers)}"
        return ends.enter_context(RunningNode(where, upstreams=upstreams, **settings))  # type: ignore[arg-type]

    return start


@pytest.fixture
def node(start_node: StartNode, upstream: FaultyUpstream) -> RunningNode:
    return start_node(upstream)


@pytest.fixture
def new_place(tmp_path: Path) -> Callable[[], Workplace]:
    """new_place(): a user with a fresh environment and empty caches."""
    numbers = itertools.count(1)
    return lambda: Workplace(tmp_path / f"place{next(numbers)}")


@pytest.fixture
def place(new_place: Callable[[], Workplace]) -> Workplace:
    return new_place()


@pytest.fixture(scope="session")
def real() -> RealWheels:
    return real_wheels()


@pytest.fixture
def wire(ends: ExitStack) -> Wire:
    """A wire to put before a node; the node must be started with `--allow-host` and the wire's host."""
    return ends.enter_context(Wire())
