"""Real pip and uv install through a node: cold, then in a fresh environment with the upstream gone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.clients import Tool, Workplace
from tests.bench.node import RunningNode
from tests.bench.upstream import FaultyUpstream, Style
from tests.bench.wheels import RealWheels, make_sdist
from tests.bench.wire import Wire
from tests.end_to_end.conftest import StartNode, StartUpstream
from tests.end_to_end.files import BASE, BIG, FILES, INSTALLED, MIDDLE, TOP

NewPlace = Callable[[], Workplace]


def test_pip_installs_cold_and_again_with_the_upstream_gone(
    pip: Tool, node: RunningNode, upstream: FaultyUpstream, new_place: NewPlace
) -> None:
    first = new_place()
    done = first.pip(pip, node.index_url, "demo-top")
    assert done.returncode == 0, done.stdout + done.stderr
    assert first.installed() == INSTALLED
    upstream.stop()
    second = new_place()
    done = second.pip(pip, node.index_url, "demo-top")
    assert done.returncode == 0, done.stdout + done.stderr
    assert second.installed() == INSTALLED
    assert all(len(upstream.file_gets(f"*/{one.filename}")) <= 1 for one in FILES)


def test_uv_installs_cold_and_again_with_the_upstream_gone(
    uv: Tool, node: RunningNode, upstream: FaultyUpstream, new_place: NewPlace
) -> None:
    first = new_place()
    done = first.uv(uv, node.index_url, "demo-top")
    assert done.returncode == 0, done.stderr
    assert first.installed() == INSTALLED
    upstream.stop()
    second = new_place()
    done = second.uv(uv, node.index_url, "demo-top")
    assert done.returncode == 0, done.stderr
    assert second.installed() == INSTALLED


@pytest.mark.slow
def test_a_real_environment_comes_back_after_a_restart_without_the_upstream(
    pip_new: Tool, uv: Tool, real: RealWheels, start_upstream: StartUpstream, start_node: StartNode, new_place: NewPlace
) -> None:
    upstream = start_upstream(real.files)
    node = start_node(upstream)
    done = new_place().uv(uv, node.index_url, *real.top)
    assert done.returncode == 0, done.stderr
    assert len(upstream.file_gets()) == len({one.path for one in upstream.file_gets()}) == len(real.files)
    upstream.stop()
    node.restart()
    for install, tool in (("pip", pip_new), ("uv", uv)):
        place = new_place()
        done = getattr(place, install)(tool, node.index_url, *real.top)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(place.installed()) == len(real.files)


def test_pip_checks_hashes_through_the_node(pip: Tool, node: RunningNode, place: Workplace, tmp_path: Path) -> None:
    wanted = (TOP, MIDDLE, BASE)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("".join(f"{one.project}=={one.version} --hash=sha256:{one.sha256}\n" for one in wanted))
    done = place.pip(pip, node.index_url, "--require-hashes", "-r", requirements)
    assert done.returncode == 0, done.stdout + done.stderr
    assert place.installed() == INSTALLED


def test_pip_builds_a_source_distribution_that_came_through_the_node(
    pip_new: Tool, start_upstream: StartUpstream, start_node: StartNode, place: Workplace
) -> None:
    node = start_node(start_upstream([make_sdist("demo-source")]))
    done = place.pip(pip_new, node.index_url, "demo-source")
    assert done.returncode == 0, done.stdout + done.stderr
    assert place.installed() == {"demo-source": "1.0"}


@pytest.mark.parametrize("after_bytes", [1_000_000, len(BIG.content) - 10], ids=["early", "at the last bytes"])
def test_pip_goes_on_where_its_connection_was_cut(
    pip_that_resumes: Tool,
    upstream: FaultyUpstream,
    start_node: StartNode,
    place: Workplace,
    wire: Wire,
    after_bytes: int,
) -> None:
    node = start_node(upstream, arguments=["--allow-host", wire.host])
    wire.lead_to(node.address)
    wire.cut_once("*.whl", after_bytes)
    done = place.pip(pip_that_resumes, f"http://{wire.host}/simple/", "demo-big")
    assert done.returncode == 0, done.stdout + done.stderr
    assert place.installed() == {"demo-big": "1.0"}
    asked = [one for one in wire.asked if one.path.endswith(".whl") and one.method == "GET"]
    assert len(asked) == 2
    assert asked[1].headers["range"].startswith("bytes=")
    assert asked[1].headers["if-range"].startswith('"')
    assert len(upstream.file_gets()) == 1


def test_uv_starts_again_where_its_connection_was_cut(
    uv: Tool, upstream: FaultyUpstream, start_node: StartNode, place: Workplace, wire: Wire
) -> None:
    node = start_node(upstream, arguments=["--allow-host", wire.host])
    wire.lead_to(node.address)
    wire.cut_once("*.whl", 1_000_000)
    done = place.uv(uv, f"http://{wire.host}/simple/", "demo-big")
    assert done.returncode == 0, done.stderr
    assert place.installed() == {"demo-big": "1.0"}
    assert len(upstream.file_gets()) == 1


def test_uv_locks_and_syncs_and_syncs_again_with_the_upstream_gone(
    uv: Tool, node: RunningNode, upstream: FaultyUpstream, new_place: NewPlace
) -> None:
    settings = {"UV_DEFAULT_INDEX": node.index_url}
    first = new_place()
    project = _project(first, 'dependencies = ["demo-top"]')
    command = [uv.command, "sync", "--active", "--no-install-project"]
    for step in ([uv.command, "lock"], command):
        done = first.run(*step, settings=settings, cwd=project)
        assert done.returncode == 0, done.stderr
    assert first.installed() == INSTALLED
    upstream.stop()
    second = new_place()
    again = _project(second, 'dependencies = ["demo-top"]')
    (again / "uv.lock").write_bytes((project / "uv.lock").read_bytes())
    done = second.run(*command, "--locked", settings=settings, cwd=again)
    assert done.returncode == 0, done.stderr
    assert second.installed() == INSTALLED


def test_uv_refresh_asks_again_and_gets_no_page_twice(
    uv: Tool, upstream: FaultyUpstream, start_node: StartNode, place: Workplace, wire: Wire
) -> None:
    node = start_node(upstream, arguments=["--allow-host", wire.host])
    wire.lead_to(node.address)
    index_url = f"http://{wire.host}/simple/"
    command = [uv.command, "pip", "install", "--python", place.python, "--default-index", index_url, "--reinstall"]
    assert place.run(*command, "demo-top").returncode == 0
    before_bytes = wire.carried_bytes
    done = place.run(*command, "--refresh", "demo-top")
    assert done.returncode == 0, done.stderr
    assert wire.carried_bytes - before_bytes < 10_000, "strong ETags and 304 make a refresh small"


def test_poetry_locks_and_installs_through_the_node(
    poetry: Tool, node: RunningNode, upstream: FaultyUpstream, new_place: NewPlace
) -> None:
    source = f'[[tool.poetry.source]]\nname = "node"\nurl = "{node.index_url}"\npriority = "primary"\n'
    for gone in (False, True):
        if gone:
            upstream.stop()
        place = new_place()
        project = _project(place, 'dependencies = ["demo-top"]', "[tool.poetry]\npackage-mode = false\n" + source)
        done = place.run(poetry.command, "install", "--no-interaction", cwd=project)
        assert done.returncode == 0, done.stdout + done.stderr
        assert place.installed() == INSTALLED


def test_pdm_locks_and_installs_through_the_node(
    pdm: Tool, node: RunningNode, upstream: FaultyUpstream, new_place: NewPlace
) -> None:
    source = f'[[tool.pdm.source]]\nname = "pypi"\nurl = "{node.index_url}"\n'
    for gone in (False, True):
        if gone:
            upstream.stop()
        place = new_place()
        project = _project(place, 'dependencies = ["demo-top"]', "[tool.pdm]\ndistribution = false\n" + source)
        done = place.run(pdm.command, "install", "--no-self", settings={"PDM_PYTHON": str(place.python)}, cwd=project)
        assert done.returncode == 0, done.stdout + done.stderr
        assert place.installed() == INSTALLED


def test_the_metadata_alone_is_enough_to_resolve(
    uv: Tool, node: RunningNode, upstream: FaultyUpstream, place: Workplace
) -> None:
    done = place.uv(uv, node.index_url, "--dry-run", "demo-top")
    assert done.returncode == 0, done.stderr
    assert upstream.file_gets() == []


def test_metadata_that_the_index_lacks_is_read_out_of_a_few_places_of_the_wheel(
    start_upstream: StartUpstream, start_node: StartNode
) -> None:
    upstream = start_upstream(style=Style(core_metadata=False))
    node = start_node(upstream)
    answer = node.get(node.path_of("demo-big", BIG.filename) + ".metadata")
    assert answer.body == BIG.metadata
    assert sum(one.body_bytes for one in upstream.file_gets()) < len(BIG.content) // 4


def test_parts_and_files_come_one_after_the_other_over_one_connection(
    start_upstream: StartUpstream, start_node: StartNode
) -> None:
    upstream = start_upstream(style=Style(core_metadata=False, sizes=False))
    node = start_node(upstream)
    for one in (BIG, TOP):
        path = node.path_of(one.project, one.filename)
        assert node.get(f"{path}.metadata").body == one.metadata
        assert node.get(path).body == one.content
    asked = upstream.file_gets()
    assert {one.status for one in asked} == {200, 206}
    assert len({one.port for one in asked}) == 1


def test_an_index_without_metadata_still_resolves_and_each_wheel_is_fetched_once(
    uv: Tool, start_upstream: StartUpstream, start_node: StartNode, place: Workplace
) -> None:
    upstream = start_upstream(style=Style(core_metadata=False))
    node = start_node(upstream)
    for _ in range(2):
        done = place.uv(uv, node.index_url, "--dry-run", "demo-big")
        assert done.returncode == 0, done.stderr
    assert len(upstream.file_gets()) == 1
    row = next(row for row in node.page("demo-big")["files"] if row["filename"] == BIG.filename)
    assert "sha256" in row["core-metadata"], "from now on its metadata is given by itself"


def test_a_yanked_file_is_marked_and_a_pin_still_installs_it(
    pip: Tool, start_upstream: StartUpstream, start_node: StartNode, place: Workplace
) -> None:
    upstream = start_upstream()
    upstream.yank(TOP.filename, "wrong door")
    node = start_node(upstream)
    rows = {row["filename"]: row for row in node.page("demo-top")["files"]}
    assert rows[TOP.filename]["yanked"] == "wrong door"
    done = place.pip(pip, node.index_url, "demo-top==1.0")
    assert done.returncode == 0, done.stdout + done.stderr


def _project(place: Workplace, *rows: str) -> Path:
    directory = place.directory / "project"
    directory.mkdir()
    head = '[project]\nname = "user-project"\nversion = "0.1"\nrequires-python = ">=3.11"\n'
    (directory / "pyproject.toml").write_text(head + "\n".join(rows))
    return directory


@pytest.mark.upstream
def test_the_index_that_the_user_configured_is_found_and_installed_from(
    pip_that_resumes: Tool, start_node: StartNode, place: Workplace
) -> None:
    """No --upstream at all: the node reads where this user's pip goes, and a real package comes from there."""
    users_own = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_"))}
    node = start_node(environment=users_own | {"HOME": str(Path.home())})
    done = place.pip(pip_that_resumes, node.index_url, "--only-binary", ":all:", "sniffio==1.3.1")
    assert done.returncode == 0, done.stdout + done.stderr + node.log()
    assert place.installed() == {"sniffio": "1.3.1"}
    status = node.status()
    assert status["bytes"]["from_upstream"] > 0
    assert status["store"]["blobs"] >= 1
