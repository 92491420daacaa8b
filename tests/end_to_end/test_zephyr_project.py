"""What somebody who comes from uv or pip types at a project, and two who type at once."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from p2pcdn.envs.lock_file import LockFile
from tests.bench.node import RunningNode
from tests.bench.patience import until
from tests.bench.upstream import FaultyUpstream
from tests.bench.wheels import backend_of, make_sdist, make_wheel
from tests.end_to_end.conftest import StartNode, StartUpstream
from tests.end_to_end.test_zephyr import Project

LIB, TOOL = make_wheel("demo-lib"), make_wheel("demo-tool")
APP = make_wheel("demo-app", requires=["demo-lib"])
LARGE = make_wheel("demo-large", size_bytes=2_000_000)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with (
        FaultyUpstream([LIB, TOOL, APP, LARGE]) as upstream,
        RunningNode(tmp_path_factory.mktemp("node"), upstreams=[upstream]) as running,
    ):
        yield running


@pytest.fixture
def project(tmp_path: Path, node: RunningNode) -> Project:
    made = Project(tmp_path / "project", node)
    made.write([])
    return made


def written(project: Project) -> dict[str, Any]:
    return tomllib.loads(project.file("pyproject.toml").read_text())


def has_byte_code(directory: Path) -> bool:
    """Whether some lies in it; directories may come and go meanwhile."""
    return any(name.endswith(".pyc") for _, _, names in os.walk(directory) for name in names)


def test_two_that_change_a_project_at_once_both_do(project: Project) -> None:
    with ThreadPoolExecutor() as both:
        list(both.map(lambda name: project.zephyr("add", name), ("demo-app", "demo-tool")))
    assert written(project)["project"]["dependencies"] == ["demo-app>=1.0", "demo-tool>=1.0"]
    assert set(project.installed()) == {"demo-app", "demo-lib", "demo-tool"}


@pytest.mark.parametrize("words", [("sync",), ("import", "requirements.txt")])
def test_who_would_write_the_project_or_its_lock_waits_and_goes_on_from_there(
    project: Project, words: tuple[str, ...]
) -> None:
    project.file("requirements.txt").write_text("demo-lib\n")
    project.file(".zephyr").mkdir()
    other = LockFile(str(project.file(".zephyr/project.lock")), "zephyr add", pytest.fail)
    with project.start(*words) as waiting:
        assert waiting.stderr is not None
        assert waiting.stderr.readline().endswith("is changing this project; waiting for it.\n")
        project.write(["demo-tool"])
        other.release()
        told = waiting.communicate(timeout=120)
    assert waiting.returncode == 0, told
    project.zephyr("sync")
    assert project.installed().keys() == {"sync": {"demo-tool"}, "import": {"demo-tool", "demo-lib"}}[words[0]]


def test_two_that_install_at_once_both_do(project: Project) -> None:
    with ThreadPoolExecutor() as both:
        list(both.map(lambda name: project.zephyr("install", name), ("demo-app", "demo-tool")))
    assert set(project.installed()) == {"demo-app", "demo-lib", "demo-tool"}
    with ThreadPoolExecutor() as both:
        list(both.map(lambda name: project.zephyr("uninstall", name), ("demo-app", "demo-tool")))
    assert project.installed() == {}


def test_former_states_are_kept_so_many_and_go_by_themselves(project: Project) -> None:
    project.write([], "[tool.zephyr]\ngenerations = 2\n")
    for name in ("demo-lib", "demo-tool", "demo-app"):
        project.zephyr("install", name)
    project.zephyr("uninstall", "demo-app")
    state = project.file(".zephyr/.venv")
    until(lambda: not list(state.glob("trash-*")), "what is out of the way is removed")
    until(lambda: len(list(state.glob("generations/*"))) == 2, "the oldest go")
    assert set(project.installed()) == {"demo-lib", "demo-tool"}
    project.zephyr("rollback")
    assert set(project.installed()) == {"demo-app", "demo-lib", "demo-tool"}


def test_a_project_that_is_called_what_it_wants_is_told(project: Project) -> None:
    project.file("pyproject.toml").write_text('[project]\nname = "Demo_Lib"\nversion = "1"\ndependencies = []\n')
    before = project.file("pyproject.toml").read_text()
    assert "cannot require itself" in project.zephyr("add", "demo-lib>=1", code=2)
    assert project.file("pyproject.toml").read_text() == before
    project.zephyr("add", "demo-app")
    assert set(project.installed()) == {"demo-app", "demo-lib"}


def test_what_only_another_tool_reads_is_told_once_by_an_add(project: Project) -> None:
    """It locks twice where it puts a bound to what it found."""
    project.write(["demo[nonsuch]"], '[tool.uv]\ndev-dependencies = ["demo-tool"]\n')
    told = project.zephyr("add", "demo-lib")
    assert "demo-lib>=1.0" in written(project)["project"]["dependencies"]
    assert told.count("which are not locked") == 1
    assert told.count("has no extra 'nonsuch'") == 1


def test_a_project_that_is_named_twice_is_a_question(project: Project) -> None:
    before = project.file("pyproject.toml").read_text()
    assert "demo_lib is named twice" in project.zephyr("add", "demo-lib<1", "demo_lib>=1", code=2)
    assert project.file("pyproject.toml").read_text() == before
    project.zephyr("add", "--no-sync", "demo-lib ; sys_platform == 'linux'", "demo-lib<9 ; sys_platform != 'linux'")
    assert len(written(project)["project"]["dependencies"]) == 2


def test_who_needs_a_package_is_a_tree_too(project: Project) -> None:
    project.write(["demo-app", "demo-tool"])
    project.zephyr("lock")
    assert project.zephyr("tree", "--invert").splitlines() == ["demo-lib 1.0", "└── demo-app 1.0", "demo-tool 1.0"]
    assert project.zephyr("tree", "--invert", "demo-lib", "--depth", "0").splitlines() == ["demo-lib 1.0"]
    assert project.zephyr("tree", "demo_app").splitlines() == ["demo-app 1.0", "└── demo-lib 1.0"]
    assert "has no nonsuch" in project.zephyr("tree", "nonsuch", code=2)


def test_who_a_package_is_for_is_said_once_where_it_is_asked_for(project: Project) -> None:
    """The markers of a lock say it of each package, and of what twenty groups need in twenty clauses."""
    extra = "[project.optional-dependencies]\nmore = ['demo-large ; sys_platform == \"linux\"', 'demo-app']\n"
    project.write(["demo-tool"], f"{extra}[dependency-groups]\ndev = ['demo-lib', 'demo-tool']\n")
    project.zephyr("lock")
    assert project.zephyr("tree").splitlines() == [
        "demo-tool 1.0",
        'demo-large 1.0 (sys_platform == "linux") [extra more]',
        "demo-app 1.0 [extra more]",
        "└── demo-lib 1.0",
        "demo-lib 1.0 [group dev]",
    ]
    assert project.zephyr("why", "demo-lib").splitlines() == [
        "group dev -> demo-lib 1.0",
        "extra more -> demo-app 1.0 -> demo-lib 1.0",
    ]


def test_groups_come_all_or_without_one(project: Project) -> None:
    project.write([], '[dependency-groups]\ndev = ["demo-lib"]\ndocs = ["demo-tool"]\n')
    project.zephyr("sync", "--all-groups")
    assert set(project.installed()) == {"demo-lib", "demo-tool"}
    project.zephyr("sync", "--all-groups", "--no-group", "dev")
    assert set(project.installed()) == {"demo-tool"}
    project.zephyr("sync", "--no-group", "dev")
    assert set(project.installed()) == set()
    assert "has no dependency group 'nonsuch'" in project.zephyr("sync", "--no-group", "nonsuch", code=2)


def test_a_group_alone_comes_with_what_it_needs_and_without_the_project(project: Project) -> None:
    project.write(["demo-tool"], '[dependency-groups]\ndev = ["demo-app"]\nother = ["demo-tool"]\n')
    project.zephyr("sync", "--only-group", "dev")
    assert set(project.installed()) == {"demo-app", "demo-lib"}
    project.zephyr("sync", "--only-dev", "--only-group", "other")
    assert set(project.installed()) == {"demo-app", "demo-lib", "demo-tool"}
    project.zephyr("sync", "--no-dev")
    assert set(project.installed()) == {"demo-tool"}
    assert "--only-group leaves out all else" in project.zephyr("sync", "--only-dev", "--group", "other", code=2)


@pytest.mark.parametrize("flag", ["--group", "--only-group", "--extra"])
def test_a_group_or_an_extra_that_is_not_there_is_a_mistake_of_who_types_it(project: Project, flag: str) -> None:
    project.write([], '[dependency-groups]\ndocs = ["demo-lib"]\n')
    told = project.zephyr("sync", flag, "nonsuch", code=2)
    assert "'nonsuch'; it has" in told
    assert not project.file(".venv").exists()


def test_a_group_that_only_the_lock_has_takes_nothing_out(project: Project) -> None:
    project.write([], '[dependency-groups]\ndev = ["demo-app"]\n')
    project.zephyr("sync")
    project.write([])
    assert "has no dependency group 'dev'" in project.zephyr("sync", "--frozen", "--only-dev", code=2)
    assert set(project.installed()) == {"demo-app", "demo-lib"}


def test_who_wants_the_lock_as_it_is_is_told_that_it_would_be_another(project: Project) -> None:
    project.write(["demo-lib"])
    assert "pylock.toml is not there" in project.zephyr("sync", "--locked", code=1)
    project.zephyr("lock")
    project.zephyr("sync", "--locked")
    told = project.zephyr("sync", "--locked", "--prefer", "lowest", code=1)
    assert "was made with prefer = highest, where lowest is in force" in told
    project.write(["demo-tool"])
    before = project.lock
    assert "does not belong to the project as it is" in project.zephyr("sync", "--locked", code=1)
    assert (project.lock, set(project.installed())) == (before, {"demo-lib"})
    project.zephyr("lock", "--prefer", "lowest")
    assert "was made with prefer = lowest, where highest is in force" in project.zephyr("lock", "--check", code=1)


def test_offline_what_is_here_is_installed_and_what_is_not_is_named(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream
) -> None:
    upstream = start_upstream([LIB, TOOL, APP])
    project = Project(tmp_path / "project", start_node(upstream))
    project.write(["demo-app"])
    project.zephyr("lock")
    told = project.zephyr("sync", "--offline", code=1)
    assert "demo_app-1.0-py3-none-any.whl" in told
    assert "demo_lib-1.0-py3-none-any.whl" in told
    project.zephyr("sync")
    asked = len(upstream.seen())
    project.zephyr("sync", "--offline", "--venv", "another")
    assert set(project.installed("another")) == {"demo-app", "demo-lib"}
    project.write(["demo-tool"])
    told = project.zephyr("sync", "--offline", code=1)
    assert "no page of demo-tool is in this node's store, and offline no index is asked" in told
    assert len(upstream.seen()) == asked


def test_offline_a_project_is_changed_out_of_the_store_and_no_index_hears_of_it(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream
) -> None:
    newer, source = make_wheel("demo-lib", "2.0"), make_sdist("demo-source")
    upstream = start_upstream([LIB, TOOL, APP, newer, source])
    project = Project(tmp_path / "project", start_node(upstream))
    project.write(["demo-app", "demo-lib<2"])
    project.zephyr("sync")
    project.write([])
    project.zephyr("lock", "--constraints", "demo-source")  # nothing is asked for it
    asked = len(upstream.seen())
    project.zephyr("add", "--offline", "demo-app")
    assert project.installed() == {"demo-app": "1.0", "demo-lib": "1.0"}  # the page lists 2.0, which is not here
    project.zephyr("remove", "--offline", "demo-app")
    project.zephyr("install", "--offline", "demo-lib")
    assert project.installed() == {"demo-lib": "1.0"}
    project.zephyr("update", "--offline")
    assert project.zephyr("run", "--offline", "--with", "demo-app", "--", "python", "-c", "import demo_app") == ""
    before = project.file("pyproject.toml").read_text(), project.lock, project.installed()
    for words, what in (
        (("add", "--offline", "demo-tool"), "no page of demo-tool"),
        (("add", "--offline", "demo-lib>=2"), "Offline, only what is in the node's store was looked at."),
        (("install", "--offline", "demo-tool"), "no page of demo-tool"),
        (("add", "--offline", "thing @ git+https://host.example/thing.git"), "asks no repositories"),
    ):
        assert what in project.zephyr(*words, code=1)
    assert (project.file("pyproject.toml").read_text(), project.lock, project.installed()) == before
    assert len(upstream.seen()) == asked
    project.write(["demo-lib"])
    project.zephyr("lock", "--upgrade")  # what was found offline is not what there is
    assert 'version = "2.0"' in project.lock


@pytest.mark.parametrize("is_package", [False, True])
def test_offline_what_was_built_once_is_installed(
    tmp_path: Path,
    start_node: StartNode,
    start_upstream: StartUpstream,
    monkeypatch: pytest.MonkeyPatch,
    is_package: bool,
) -> None:
    project = Project(tmp_path / "project", start_node(start_upstream([make_sdist("demo-source"), LIB, TOOL])))
    project.write(["demo-tool"])
    project.zephyr("sync")
    backend = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    monkeypatch.setenv("ZEPHYR_ALLOW_UNSANDBOXED_BUILDS", "true")  # a tree of root's is not built in a sandbox
    project.file("backend.py").write_text(f"{backend_of(make_wheel('demo'))}build_editable = build_wheel\n")
    project.write(["demo-lib"] if is_package else ["demo-source"], backend * is_package)
    project.zephyr("sync")
    until(lambda: has_byte_code(tmp_path / "node1"), "byte code is made after the first sync")
    before = project.installed()
    project.zephyr("sync", "--offline")
    project.zephyr("sync", "--offline", "--venv", "another")
    assert project.installed() == project.installed("another") == before
    if not is_package:  # of a build without a sandbox nothing is noted
        project.zephyr("add", "--offline", "demo-tool")
        assert set(project.installed()) == {*before, "demo-tool"}
        project.zephyr("install", "--offline", "--venv", "third", "demo-source")


def test_a_sync_that_read_the_lock_before_another_wrote_it_installs_what_that_says(project: Project) -> None:
    project.write(["demo-lib"])
    project.zephyr("lock")
    other = LockFile(str(project.file(".zephyr/project.lock")), "zephyr add", pytest.fail)
    with project.start("sync") as waiting:
        assert waiting.stderr is not None
        assert waiting.stderr.readline().endswith("is changing this project; waiting for it.\n")
        other.release()
        project.zephyr("add", "demo-tool")
        told = waiting.communicate(timeout=120)
    assert waiting.returncode == 0, told
    assert set(project.installed()) == {"demo-lib", "demo-tool"}


def test_a_lock_that_is_none_and_a_package_that_is_not_in_it_are_told(project: Project) -> None:
    project.write(["demo-lib"])
    project.zephyr("lock")
    assert "has no nonsuch" in project.zephyr("lock", "--upgrade-package", "nonsuch", code=2)
    project.zephyr("lock", "--check")
    project.file("pylock.toml").write_text(f"{project.lock}\nnonsense = [")
    assert "is not TOML" in project.zephyr("lock", "--check", code=1)


def test_who_goes_back_is_told_what_the_next_sync_will_do(project: Project) -> None:
    project.write(["demo-lib"])
    project.zephyr("sync")
    project.zephyr("install", "demo-tool")
    assert ": -demo-tool 1.0" not in project.zephyr("history")
    told = project.zephyr("rollback")
    assert ": -demo-tool 1.0" in project.zephyr("history")
    assert "holds again what generation 1 held; that is generation 3." in told
    assert "the next sync follows them" in told
    assert '"rollback_to": 2' in project.zephyr("rollback", "2", "--json")


def test_another_python_than_the_environment_has_is_told(project: Project) -> None:
    project.write(["demo-lib"])
    minor = sys.version_info[1]
    project.zephyr("sync", "--python", f"3.{minor}")
    project.zephyr("sync", "--python", sys.executable)
    told = project.zephyr("sync", "--python", f"3.{minor + 1}", code=1)
    assert f"--python asks for 3.{minor + 1}" in told
    assert f"`zephyr venv create --clear --python 3.{minor + 1} " in told


def test_a_project_without_an_environment_is_told_how_to_get_one(project: Project) -> None:
    assert "`zephyr sync` makes it" in project.zephyr("run", "--", "python", code=1)


def test_a_disk_that_is_full_leaves_no_environment_where_none_was(project: Project, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    project.write(["demo-lib", "demo-large"])
    project.zephyr("lock")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "p2pcdn-test", str(disk)], check=True)
    try:
        assert "is full" in project.zephyr("sync", "--venv", str(disk / "venv"), "--link-mode", "copy", code=1)
        assert not (disk / "venv").exists()
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_volume_that_is_mounted_for_it_becomes_the_environment(project: Project) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    project.write(["demo-lib"])
    volume = project.file(".venv")
    volume.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "p2pcdn-test", str(volume)], check=True)
    try:
        project.zephyr("sync")
        project.zephyr("add", "demo-tool")
        assert set(project.installed()) == {"demo-lib", "demo-tool"}
        project.zephyr("rollback")
        assert set(project.installed()) == {"demo-lib"}
        project.zephyr("venv", "remove")
        assert list(volume.iterdir()) == []
    finally:
        subprocess.run(["umount", "--lazy", str(volume)], check=True)


def test_a_place_that_is_taken_is_left_without_a_trace(project: Project) -> None:
    project.file("taken").mkdir()
    project.file("taken").joinpath("thesis.txt").write_text("years of work")
    assert "is no virtual environment" in project.zephyr("sync", "--venv", "taken", code=2)
    assert [path.name for path in project.file("taken").iterdir()] == ["thesis.txt"]
    assert not project.file(".zephyr").joinpath("taken").exists()


def test_former_states_of_an_environment_go_with_it(project: Project) -> None:
    project.zephyr("sync")
    project.zephyr("add", "demo-tool")
    generations = project.file(".zephyr") / ".venv" / "generations"
    assert list(generations.iterdir())
    project.zephyr("venv", "remove")
    until(lambda: not list(generations.iterdir()), "they go")


def test_a_script_is_run_by_the_python_of_the_environment(project: Project) -> None:
    project.write(["demo-lib"])
    project.zephyr("sync")
    project.file("script.py").write_text("import demo_lib, sys\nprint(sys.argv[1:], sys.prefix)\n")
    assert project.zephyr("run", "script.py", "-v", "x").split() == ["['-v',", "'x']", str(project.file(".venv"))]


def test_the_project_s_own_name_is_never_looked_for_in_an_index(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream
) -> None:
    """Whoever has registered it there is somebody else; in extras and groups it stands for what the project needs."""
    stranger = make_wheel("demo", "6.6")
    upstream = start_upstream([LIB, TOOL, APP, stranger])
    project = Project(tmp_path / "project", start_node(upstream))
    for text, more in (
        ("demo[some]", {"demo-app", "demo-lib"}),
        ("Demo[some] ; python_version > '3'", {"demo-app", "demo-lib"}),
        ("demo[some]>=0.1; python_version < '3'", set[str]()),
        ("demo [ some , all ] >= 0.1", {"demo-app", "demo-lib"}),
        (f"demo[some] @ {project.directory.as_uri()} ; python_version > '3'", {"demo-app", "demo-lib"}),
        ("demo", set[str]()),
    ):
        extras = f'some = ["demo-app ; sys_platform != \'nowhere\'"]\nall = ["{text}"]\n'
        project.write(
            ["demo-tool"], f'[project.optional-dependencies]\n{extras}[dependency-groups]\ndev = ["{text}"]\n'
        )
        for words in (("--extra", "all", "--no-dev"), ()):
            project.zephyr("sync", *words)
            assert project.installed().keys() == {"demo-tool"} | more, (text, words)
    assert not upstream.seen("*/demo/")


def test_a_project_that_says_itself_what_it_needs_is_not_built_for_its_lock(project: Project) -> None:
    backend = '[build-system]\nrequires = []\nbuild-backend = "nowhere"\nbackend-path = ["."]\n'
    own = '[project]\nname = "demo"\nversion = "1"\n'
    for text, is_built in (
        (f'{backend}{own}dynamic = ["dependencies"]\n', True),
        (f'{backend}{own}dynamic = ["requires-python"]\n', True),
        (backend, True),  # a setup.py says all
        (f'{backend}{own}dynamic = ["readme"]\ndependencies = ["demo-lib"]\n', False),
        (f'{own}dependencies = ["demo-lib"]\n', False),
    ):
        project.file("pyproject.toml").write_text(text)
        assert ("'nowhere' cannot be imported" in project.zephyr("lock", code=int(is_built))) == is_built, text


def test_a_lock_that_is_written_anew_is_said_to_be_though_no_version_changes(project: Project) -> None:
    project.write(["demo-lib"])
    assert "Locked 1 package" in project.zephyr("lock")
    assert "is as it should be" in project.zephyr("lock")
    project.write(["demo-lib>=0.1"])
    assert "Locked 1 package" in project.zephyr("lock")
    assert "is as it should be" in project.zephyr("lock")


def test_what_an_add_changes_is_told_on_lines_of_their_own_and_a_warning_once(project: Project) -> None:
    told = project.zephyr("add", "--no-sync", "demo-app[nonsense]")
    assert "Added demo-app 1.0 to the lock.\nAdded demo-lib 1.0 to the lock.\n" in told
    assert told.count("demo-app 1.0 has no extra 'nonsense'; it is left out.") == 1
    project.zephyr("remove", "demo-app[nonsense]")
    assert written(project)["project"]["dependencies"] == []


def test_an_extra_that_the_project_names_of_itself_and_does_not_have_is_told(project: Project) -> None:
    project.write(
        ["demo-tool", "Demo[Some.Thing] ; python_version > '3'"], "[dependency-groups]\ndev = ['demo[some-thing]']\n"
    )
    told = project.zephyr("lock")
    assert (
        told.count(f"demo has no extra 'some-thing', which {project.file('pyproject.toml')} names; it is left out.")
        == 1
    )


def test_what_uv_takes_from_elsewhere_is_told_where_an_index_is_asked_for_it(project: Project) -> None:
    sources = (
        "[tool.uv.sources]\ndemo_lib = { workspace = true }\ndemo-tool = { path = 'tool' }\nother = { path = 'o' }\n"
    )
    project.write(["Demo-Lib>=0.1"], sources)
    told = project.zephyr("lock")
    assert "says in [tool.uv.sources] where demo-lib would come from" in told
    index = '[[tool.zephyr.index]]\nname = "main"\nurl = "https://main.example/simple/"\nexplicit = true\n'
    project.write([f"demo-lib @ {project.directory.as_uri()}/nowhere"], sources)
    assert "tool.uv" not in project.zephyr("lock", code=1)
    project.write(["demo-lib"], f'{sources}[tool.zephyr]\nsources = {{ demo-lib = "main" }}\n{index}')
    assert "tool.uv" not in project.zephyr("lock", code=1)


def test_groups_that_only_another_tool_reads_are_told_until_they_are_taken_over(project: Project) -> None:
    """As poetry's beside a [project]: its tests would be run by whichever pytest comes first on the PATH."""
    poetry = "[tool.poetry.group.test.dependencies]\ndemo-tool = '*'\n[tool.poetry.group.docs]\noptional = true\n"
    others = "[tool.pdm.dev-dependencies]\nlint = ['demo-tool']\n[tool.uv]\ndev-dependencies = ['demo-tool']\n"
    project.write(["demo-lib"], poetry + others)
    told = project.zephyr("lock")
    assert "in [tool.poetry.group] (test), which are not locked; `zephyr import pyproject.toml` takes them over" in told
    assert "in [tool.pdm.dev-dependencies] (lint)" in told
    assert "in [tool.uv.dev-dependencies] (dev)" in told
    project.write(["demo-lib"], poetry)
    project.zephyr("import", "pyproject.toml")
    assert "tool.poetry" not in project.zephyr("sync", "--group", "test")
    assert project.installed().keys() == {"demo-lib", "demo-tool"}


def test_without_an_interpreter_a_lock_is_made_but_nothing_is_begun_that_needs_one(tmp_path: Path) -> None:
    """It said of the first source distribution that "nobody named an interpreter", and looked through all versions."""
    source = make_sdist("demo-source")

    class WithoutPython(Project):
        def environment(self) -> dict[str, str]:
            return super().environment() | {"ZEPHYR_PYTHON": "3.99"}

    with FaultyUpstream([LIB, source]) as upstream, RunningNode(tmp_path / "node", upstreams=[upstream]) as running:
        project = WithoutPython(tmp_path / "project", running)
        project.write(["demo-source"])
        assert "No interpreter fits Python 3.99" in project.zephyr("sync", code=1)
        assert not upstream.seen("*/demo-source/")
        assert "Until then nothing can be built." in project.zephyr("lock", code=1)
        project.write(["demo-lib"])
        project.zephyr("lock")
        assert "demo-lib" in project.lock
