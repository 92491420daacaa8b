"""`zephyr` as a user has it: a project locked and synced through a real node, from an index of made wheels."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from p2pcdn.envs.lock_file import LockFile
from p2pcdn.envs.unpack import remove_tree
from tests.bench.node import RunningNode
from tests.bench.patience import until
from tests.bench.upstream import FaultyUpstream, Style
from tests.bench.wheels import Distribution, make_sdist, make_wheel
from tests.end_to_end.conftest import StartNode, StartUpstream

# app needs lib, which has an older line for old Pythons; tool needs more on Windows.
APP = make_wheel("demo-app", requires=["demo-lib>=1"])
LIB_OLD = make_wheel("demo-lib", "1.0")
LIB = make_wheel("demo-lib", "2.0", requires_python=">=3.12")
TOOL = make_wheel("demo-tool", requires=["demo-colour; sys_platform == 'win32'", "demo-lib"])
COLOUR = make_wheel("demo-colour")
PINNED = make_wheel("demo-pinned", requires=["demo-lib<1"])
FILES = (APP, LIB_OLD, LIB, TOOL, COLOUR, PINNED)
# What an index that is only a directory of links says.
PLAIN = Style(json=False, core_metadata=False, sizes=False, upload_times=False)

MINOR = sys.version_info[1]
LIB_HERE = "2.0" if MINOR >= 12 else "1.0"


class Project:
    """A project of a user, and his zephyr."""

    def __init__(self, directory: Path, node: RunningNode) -> None:
        self.directory = directory
        self.node = node
        directory.mkdir()
        self.write(["demo-app"])

    def write(
        self, dependencies: Sequence[str], more: str = "", requires_python: str = ">=3.10", name: str = "demo"
    ) -> None:
        self.file("pyproject.toml").write_text(
            f'[project]\nname = "{name}"\nversion = "1"\nrequires-python = "{requires_python}"\n'
            f"dependencies = {json.dumps(list(dependencies))}\n{more}"
        )

    def file(self, name: str) -> Path:
        return self.directory / name

    @property
    def lock(self) -> str:
        return self.file("pylock.toml").read_text()

    def zephyr(self, *words: str, code: int = 0) -> str:
        """Runs it; gives stdout and stderr."""
        with self.start(*words) as running:
            said, told = running.communicate(timeout=120)
        assert running.returncode == code, f"{words}: {running.returncode}\n{said}\n{told}"
        assert not re.search(r"^Traceback", told, re.MULTILINE), "of our own; a build's may stand below its sentence"
        return said + told

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Begins it."""
        return subprocess.Popen(
            [sys.executable, "-m", "p2pcdn_shim.zephyr", *words],
            cwd=self.directory,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def environment(self) -> dict[str, str]:
        return self.node.variables() | {
            "P2PCDN_CONTROL_SOCKET": str(self.node.control_socket),
            "ZEPHYR_CACHE_DIR": str(self.directory.parent / "cache"),
            "ZEPHYR_PYTHON": sys.executable,
        }

    def installed(self, venv: str = ".venv") -> dict[str, str]:
        code = (
            "import importlib.metadata as m, json;"
            "print(json.dumps({d.name.lower(): d.version for d in m.distributions() if d.name.startswith('demo')}))"
        )
        return dict(json.loads(self.run("-c", code, venv=venv)))

    def run(self, *words: str, venv: str = ".venv") -> str:
        python = self.directory / venv / "bin" / "python"
        done = subprocess.run([python, "-I", *words], capture_output=True, text=True, check=True)
        return done.stdout


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FaultyUpstream, RunningNode]]:
    """An index and a node for all tests that leave both as they are: starting them takes longer than most tests."""
    with FaultyUpstream(FILES) as upstream, RunningNode(tmp_path_factory.mktemp("node"), upstreams=[upstream]) as node:
        yield upstream, node


@pytest.fixture
def index(shared: tuple[FaultyUpstream, RunningNode]) -> FaultyUpstream:
    return shared[0]


@pytest.fixture
def project(tmp_path: Path, shared: tuple[FaultyUpstream, RunningNode]) -> Project:
    return Project(tmp_path / "project", shared[1])


@pytest.fixture
def lonely(tmp_path: Path, start_node: StartNode, upstream_of_its_own: FaultyUpstream) -> Project:
    """A project whose node and index are for its test alone, which may stop them."""
    return Project(tmp_path / "project", start_node(upstream_of_its_own))


@pytest.fixture
def upstream_of_its_own(start_upstream: StartUpstream) -> FaultyUpstream:
    return start_upstream(FILES)


def test_a_lock_serves_every_environment_and_a_sync_installs_this_one(project: Project) -> None:
    project.zephyr("lock")
    packages = {(one["name"], one["version"]): one for one in tomllib.loads(project.lock)["packages"]}
    assert set(packages) == {("demo-app", "1.0"), ("demo-lib", "1.0"), ("demo-lib", "2.0")}
    assert packages["demo-lib", "1.0"]["marker"] == "python_version < '3.12'"
    assert packages["demo-lib", "2.0"]["marker"] == "python_version >= '3.12'"
    assert packages["demo-app", "1.0"]["wheels"][0]["hashes"] == {"sha256": APP.sha256}
    project.zephyr("sync")
    assert project.installed() == {"demo-app": "1.0", "demo-lib": LIB_HERE}
    assert project.run("-c", "import demo_lib; print(demo_lib.version)").strip() == LIB_HERE


def test_a_sync_of_a_new_environment_loads_neither_what_starts_programs_nor_what_hashes(project: Project) -> None:
    """Each of them takes a tenth of what the whole command may, see `benchmarks/zephyr_install.py`."""
    project.zephyr("sync")
    code = (
        "import sys\nfrom p2pcdn_shim.zephyr.cli import main\n"
        "try:\n main(sys.argv[1:])\nfinally:\n print(' '.join(sys.modules), file=sys.stderr)"
    )
    words = ["sync", "--frozen", "--link-mode", "env", "--venv", "other/.venv"]
    environment = project.environment() | {"ZEPHYR_DEBUG": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=project.directory, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    loaded = set(done.stderr.splitlines()[-1].split())
    assert "p2pcdn.envs.install" in loaded
    heavy = {"dataclasses", "email", "hashlib", "http", "logging", "packaging", "random", "shutil", "subprocess"}
    assert not loaded & (heavy | {"tempfile", "threading", "p2pcdn_shim.zephyr.node.starting"})
    assert project.installed("other/.venv") == {"demo-app": "1.0", "demo-lib": LIB_HERE}


def test_an_answer_that_the_node_remembers_is_looked_at_before_it_is_given_again(lonely: Project) -> None:
    lonely.zephyr("sync", "--compile-bytecode")
    for name in ("first", "second", "third"):
        lonely.zephyr("sync", "--frozen", "--compile-bytecode", "--venv", f"{name}/.venv")
        assert lonely.installed(f"{name}/.venv") == {"demo-app": "1.0", "demo-lib": LIB_HERE}
    remove_tree(lonely.node.store / "trees" / APP.sha256)
    lonely.zephyr("sync", "--frozen", "--compile-bytecode", "--venv", "fourth/.venv")
    assert lonely.installed("fourth/.venv") == {"demo-app": "1.0", "demo-lib": LIB_HERE}


def test_a_lock_names_the_index_and_never_the_node(project: Project, index: FaultyUpstream) -> None:
    project.zephyr("lock")
    for package in tomllib.loads(project.lock)["packages"]:
        assert package["index"] == index.url
        assert all(index.file_host in wheel["url"] for wheel in package["wheels"])
    assert project.node.index_url not in project.lock


def test_the_same_question_gets_the_same_bytes_from_another_node(
    project: Project, index: FaultyUpstream, start_node: StartNode, tmp_path: Path
) -> None:
    project.write(["demo-tool", "demo-app"], '[dependency-groups]\ndev = ["demo-colour"]\n')
    project.zephyr("lock")
    first = project.lock
    other = Project(tmp_path / "other", start_node(index))
    other.write(["demo-app", "demo-tool"], '[dependency-groups]\ndev = ["demo-colour"]\n')
    other.zephyr("lock")
    assert other.lock == first


def test_an_index_of_bare_links_is_enough(tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream) -> None:
    upstream = start_upstream(FILES, PLAIN)
    project = Project(tmp_path / "project", start_node(upstream))
    project.zephyr("sync")
    assert project.installed() == {"demo-app": "1.0", "demo-lib": LIB_HERE}


def test_a_locked_project_needs_no_index_once_somebody_installed_it(
    lonely: Project, upstream_of_its_own: FaultyUpstream
) -> None:
    lonely.zephyr("sync")
    upstream_of_its_own.stop()
    shutil.rmtree(lonely.file(".venv"))
    lonely.zephyr("sync", "--frozen")
    assert lonely.installed() == {"demo-app": "1.0", "demo-lib": LIB_HERE}
    lonely.node.restart()
    shutil.rmtree(lonely.file(".venv"))
    lonely.zephyr("sync", "--frozen")
    assert lonely.installed() == {"demo-app": "1.0", "demo-lib": LIB_HERE}


def test_an_environment_is_links_into_the_store(project: Project) -> None:
    project.zephyr("sync", "--link-mode", "hardlink")
    module = next(project.file(".venv").rglob("demo_app/__init__.py"))
    assert module.stat().st_nlink > 1
    trees = project.node.store / "trees"
    assert module.samefile(trees / APP.sha256 / "demo_app" / "__init__.py")
    project.zephyr("sync", "--venv", "copied", "--link-mode", "copy")
    assert next(project.file("copied").rglob("demo_app/__init__.py")).stat().st_nlink == 1


def test_an_environment_can_be_one_link_and_be_gone_back_from(project: Project) -> None:
    project.zephyr("sync", "--link-mode", "env")
    site = next(project.file(".venv").glob("lib/*/site-packages"))
    assert site.is_symlink()
    assert site.resolve().parent == project.node.store / "sites"
    assert project.installed() == {"demo-app": "1.0", "demo-lib": LIB_HERE}
    assert "already" in project.zephyr("sync", "--link-mode", "env")
    project.write(["demo-app", "demo-tool"])
    project.zephyr("sync", "--link-mode", "env")
    assert set(project.installed()) == {"demo-app", "demo-lib", "demo-tool"}
    project.zephyr("rollback")
    assert project.installed() == {"demo-app": "1.0", "demo-lib": LIB_HERE}
    project.zephyr("sync", "--link-mode", "hardlink")
    assert not next(project.file(".venv").glob("lib/*/site-packages")).is_symlink()


def test_an_environment_without_packages_can_be_one_link_too(project: Project) -> None:
    project.write([])
    project.zephyr("sync", "--link-mode", "env")
    assert project.installed() == {}
    project.write(["demo-lib"])
    project.zephyr("sync", "--link-mode", "env")
    assert project.installed() == {"demo-lib": LIB_HERE}


@pytest.mark.parametrize("words", [("install", "demo-tool"), ("uninstall", "-y", "demo-app")])
def test_a_tree_that_environments_share_is_not_pip_s_to_change(project: Project, words: Sequence[str]) -> None:
    project.zephyr("sync", "--link-mode", "env")
    tree = next(project.file(".venv").glob("lib/*/site-packages")).resolve()
    before = sorted(tree.rglob("*"))
    said = project.zephyr("pip", "--python", ".venv", *words, "--break-system-packages", code=1)
    assert "a tree that environments share" in said
    assert sorted(tree.rglob("*")) == before


def test_what_root_put_into_a_tree_that_environments_share_stays_in_none(project: Project) -> None:
    project.zephyr("sync", "--link-mode", "env")
    tree = next(project.file(".venv").glob("lib/*/site-packages")).resolve()
    tree.chmod(0o755)
    (tree / "demo_stranger").mkdir()
    (tree / "demo_stranger" / "__init__.py").write_text("")
    (tree / "demo_stranger-1.0.dist-info").mkdir()
    (tree / "demo_stranger-1.0.dist-info" / "METADATA").write_text("Name: demo-stranger\nVersion: 1.0\n")
    assert "demo-stranger" in project.installed()
    project.zephyr("sync", "--link-mode", "env", "--venv", "other")
    assert set(project.installed("other")) == {"demo-app", "demo-lib"}
    assert set(project.installed()) == {"demo-app", "demo-lib"}
    assert next(project.file("other").glob("lib/*/site-packages")).resolve() == tree
    assert [one.name for one in tree.parent.iterdir() if one.name.startswith(".")] == []


def test_what_somebody_wrote_into_a_shared_file_does_not_reach_the_next_environment(lonely: Project) -> None:
    lonely.zephyr("sync", "--link-mode", "hardlink")
    module = next(lonely.file(".venv").rglob("demo_app/__init__.py"))
    module.chmod(0o644)
    module.write_text("version = 'mine'\n")
    done = lonely.node.run("verify")
    assert done.returncode == 1
    assert APP.filename in done.stdout
    assert "`zephyr venv create --clear`, then `zephyr sync`" in done.stdout
    lonely.zephyr("venv", "create", "--clear")
    lonely.zephyr("sync", "--frozen")
    assert lonely.run("-c", "import demo_app; print(demo_app.version)").strip() == "1.0"
    lonely.zephyr("sync", "--frozen", "--venv", "other")
    assert lonely.run("-c", "import demo_app; print(demo_app.version)", venv="other").strip() == "1.0"
    assert lonely.node.run("verify").returncode == 0


def test_byte_code_is_compiled_once_and_linked(project: Project) -> None:
    project.zephyr("sync", "--compile-bytecode")
    compiled = next(project.file(".venv").rglob("demo_app/__pycache__/*.pyc"))
    assert compiled.stat().st_nlink > 1
    before = compiled.stat().st_mtime_ns
    assert project.run("-c", "import demo_app; print(demo_app.__cached__)").strip() == str(compiled)
    assert compiled.stat().st_mtime_ns == before, "Python takes it as it is"
    project.zephyr("sync", "--no-compile-bytecode", "--venv", "bare")
    assert not list(project.file("bare").rglob("demo_app/__pycache__/*.pyc"))


def test_a_sync_that_has_nothing_to_do_again_needs_no_node_until_something_changes(lonely: Project) -> None:
    lonely.zephyr("lock")
    lonely.zephyr("sync", "--no-compile-bytecode")
    for _ in range(100):  # until its files are old enough to be relied upon
        said = lonely.zephyr("sync", "--no-compile-bytecode")
        if any(lonely.directory.parent.glob("cache/settled/*")):
            break
    lonely.node.stop()
    assert said == lonely.zephyr("sync", "--no-compile-bytecode")
    assert "already" in said
    lonely.node.start()
    lonely.write(["demo-app", "demo-tool"])
    lonely.zephyr("sync", "--no-compile-bytecode")
    assert "demo-tool" in lonely.installed()


def test_a_sync_with_nothing_to_do_changes_nothing(project: Project) -> None:
    project.zephyr("sync")
    before = json.loads(project.zephyr("history", "--json"))
    assert "already" in project.zephyr("sync")
    assert json.loads(project.zephyr("history", "--json")) == before


def test_what_a_killed_command_left_goes_with_the_next_one_that_changes_nothing(lonely: Project) -> None:
    lonely.zephyr("sync", "--no-compile-bytecode")
    beside = lonely.file(".zephyr/.venv")

    def leave() -> Path:
        """What a sync that is killed leaves: a generation that was begun."""
        (beside / "next-7" / "lib").mkdir(parents=True)
        return beside / "next-7"

    for words in (("list",), ("freeze",), ("history",), ("sync",), ("sync", "--no-compile-bytecode")):
        if words[-1] == "--no-compile-bytecode":  # until it is answered at once
            for _ in range(100):
                lonely.zephyr(*words)
                if any(lonely.directory.parent.glob("cache/settled/*")):
                    break
        left = leave()
        turn = LockFile(str(beside / "lock"), "zephyr sync", lambda _: None)
        lonely.zephyr(*words)
        assert left.exists(), "somebody is making it at this moment"
        turn.release()
        lonely.zephyr(*words)
        assert not left.exists()
    assert lonely.installed() == {"demo-app": "1.0", "demo-lib": LIB_HERE}


def test_a_copy_of_a_project_runs_its_own_environment(project: Project) -> None:
    """Scripts name their interpreter by its path, and those of a copy would run the environment that was copied."""
    project.zephyr("sync", "--no-compile-bytecode")
    copy = copy_of(project)
    assert "was made in" in copy.zephyr("run", "--no-project", "true")
    assert "was made in" not in copy.zephyr("run", "--no-project", "true")
    assert "already" in copy.zephyr("sync", "--no-compile-bytecode")
    entering = copy.file(".venv/bin/activate").read_text()
    assert f"VIRTUAL_ENV='{copy.file('.venv')}'" in entering
    assert str(project.file(".venv")) in project.file(".venv/bin/activate").read_text()


def test_a_copy_whose_files_are_links_leaves_the_environment_that_was_copied_as_it_is(project: Project) -> None:
    project.zephyr("sync", "--no-compile-bytecode")
    before = project.file(".venv/bin/activate").read_text()
    copy = copy_of(project, os.link)
    copy.zephyr("sync", "--no-compile-bytecode")
    assert str(copy.file(".venv")) in copy.file(".venv/bin/activate").read_text()
    assert project.file(".venv/bin/activate").read_text() == before


def copy_of(project: Project, copy_file: Callable[[str, str], object] = shutil.copy2) -> Project:
    copy = Project(project.directory.with_name("copy"), project.node)
    shutil.rmtree(copy.directory)
    shutil.copytree(project.directory, copy.directory, symlinks=True, copy_function=copy_file)
    return copy


def test_what_a_killed_sweeper_left_goes_with_the_next_command_that_changes_nothing(lonely: Project) -> None:
    lonely.zephyr("sync", "--no-compile-bytecode")
    beside = lonely.file(".zephyr/.venv")
    for words in (("list",), ("sync", "--no-compile-bytecode")):
        for _ in range(100):  # until it is answered at once
            lonely.zephyr("sync", "--no-compile-bytecode")
            if any(lonely.directory.parent.glob("cache/settled/*")):
                break
        (beside / "trash-0" / "lib").mkdir(parents=True)
        lonely.zephyr(*words)
        until(lambda: not list(beside.glob("trash-*")), "what is out of the way is removed")


def test_groups_and_extras_are_installed_where_they_are_named(project: Project) -> None:
    project.write(
        ["demo-app"],
        '[project.optional-dependencies]\nfast = ["demo-tool"]\n[dependency-groups]\ndev = ["demo-colour"]\n',
    )
    project.zephyr("sync")
    assert set(project.installed()) == {"demo-app", "demo-lib", "demo-colour"}
    project.zephyr("sync", "--extra", "fast", "--no-default-groups")
    assert set(project.installed()) == {"demo-app", "demo-lib", "demo-tool"}
    assert "no extra 'nosuch'" in project.zephyr("sync", "--extra", "nosuch", code=2)
    assert set(project.installed()) == {"demo-app", "demo-lib", "demo-tool"}


def test_a_stale_lock_is_told_and_made_anew_unless_it_is_frozen(project: Project) -> None:
    project.zephyr("lock", "--check", code=1)
    project.zephyr("lock")
    project.zephyr("lock", "--check")
    project.write(["demo-app", "demo-tool"])
    assert "another pyproject.toml" in project.zephyr("lock", "--check", code=1)
    project.zephyr("sync", "--frozen")
    assert set(project.installed()) == {"demo-app", "demo-lib"}
    project.zephyr("sync")
    assert set(project.installed()) == {"demo-app", "demo-lib", "demo-tool"}
    project.zephyr("lock", "--check")


def test_what_a_lock_does_not_serve_is_told_when_it_is_made_and_when_it_is_checked(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream
) -> None:
    native = replace(make_wheel("demo-native"), filename="demo_native-1.0-py3-none-manylinux_2_17_x86_64.whl")
    project = Project(tmp_path / "project", start_node(start_upstream((native,))))
    project.write(["demo-native"])
    locked, _ = json.JSONDecoder().raw_decode(project.zephyr("lock", "--json"))
    (sentence,) = locked["left_out"]
    assert "Windows ARM64" in sentence
    assert "left out: demo-native has no wheel for this platform and no sdist; 1.0 has py3-none-manyl" in sentence
    assert sentence in project.zephyr("lock", "--check")
    assert json.loads(project.zephyr("lock", "--check", "--json"))["left_out"] == [sentence]
    assert sentence in project.zephyr("lock")
    project.file("pylock.toml").unlink()
    project.write([])
    assert project.zephyr("add", "demo-native").count(sentence) == 1, "though it is locked twice, for the lower bound"
    assert sentence not in project.zephyr("add", "demo-native<2"), "nothing new is left out"
    project.zephyr("sync", "--frozen")


def test_what_was_locked_stays_until_it_is_upgraded(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream
) -> None:
    old = start_upstream((APP, LIB_OLD))
    project = Project(tmp_path / "project", start_node(old))
    project.zephyr("sync")
    new = start_upstream((APP, LIB_OLD, make_wheel("demo-lib", "1.5"), TOOL, COLOUR))
    other = Project(tmp_path / "other", start_node(new))
    shutil.copy(project.file("pylock.toml"), other.file("pylock.toml"))
    other.write(["demo-app", "demo-tool"])
    other.zephyr("sync")
    assert other.installed()["demo-lib"] == "1.0"
    assert "Changed demo-lib from 1.0 to 1.5" in other.zephyr("update", "demo-lib")
    assert other.installed()["demo-lib"] == "1.5"


def test_how_versions_are_chosen_is_said_for_one_command(project: Project) -> None:
    project.write(["demo-lib"], requires_python=">=3.12")
    for words, version in (("--prefer=lowest", "1.0"), ("--upgrade", "2.0"), ("--constraints=demo-lib<2", "1.0")):
        project.zephyr("lock", words)
        assert [one["version"] for one in tomllib.loads(project.lock)["packages"]] == [version], words
    assert "2020" in project.zephyr("lock", "--exclude-newer", "2020-01-01", code=1)
    assert "invalid choice" in project.zephyr("lock", "--prefer", "cheapest", code=2)


def test_requirements_that_contradict_each_other_change_nothing(project: Project) -> None:
    project.zephyr("sync")
    before = project.file("pyproject.toml").read_text(), project.lock, project.installed()
    told = project.zephyr("add", "demo-pinned", code=1)
    assert "demo-pinned" in told
    assert "demo-lib" in told
    assert (project.file("pyproject.toml").read_text(), project.lock, project.installed()) == before
    assert "nosuch" in project.zephyr("add", "demo-nosuch", code=1)
    assert (project.file("pyproject.toml").read_text(), project.lock, project.installed()) == before


def test_add_and_remove_change_project_lock_and_environment_together(project: Project) -> None:
    project.zephyr("add", "demo-tool")
    assert '"demo-tool>=1.0"' in project.file("pyproject.toml").read_text()
    assert set(project.installed()) == {"demo-app", "demo-lib", "demo-tool"}
    project.zephyr("lock", "--check")
    project.zephyr("remove", "demo-tool")
    assert set(project.installed()) == {"demo-app", "demo-lib"}
    assert "demo-tool" not in project.file("pyproject.toml").read_text() + project.lock


def test_install_and_uninstall_work_beside_any_project(project: Project) -> None:
    project.zephyr("install", "demo-tool", "demo-app", "--venv", "other")
    assert set(project.installed("other")) == {"demo-app", "demo-lib", "demo-tool"}
    assert "others" in project.zephyr("uninstall", "demo-lib", "--venv", "other", code=2)
    project.zephyr("uninstall", "demo-tool", "--venv", "other")
    assert set(project.installed("other")) == {"demo-app", "demo-lib"}
    assert not project.file("pylock.toml").exists()


def test_what_came_by_an_extra_stays_while_its_package_does(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream
) -> None:
    requires = ["demo-colour; extra == 'tty'", "demo-colour; extra == 'all'", "demo-lib; extra == 'all'"]
    upstream = start_upstream([make_wheel("demo-shell", requires=requires), COLOUR, LIB, LIB_OLD, make_wheel("demo-x")])
    project = Project(tmp_path / "project", start_node(upstream))
    project.zephyr("install", "demo-shell[tty]")
    project.zephyr("install", "demo-x")
    assert set(project.installed()) == {"demo-shell", "demo-colour", "demo-x"}
    project.zephyr("uninstall", "demo-x")
    assert set(project.installed()) == {"demo-shell", "demo-colour"}
    project.zephyr("install", "demo-lib")
    project.zephyr("uninstall", "demo-lib")
    assert set(project.installed()) == {"demo-shell", "demo-colour"}
    project.zephyr("uninstall", "demo-shell")
    assert project.installed() == {}


def test_what_came_and_went_is_a_list_without_the_name_of_the_program(project: Project) -> None:
    said = project.zephyr("install", "demo-lib").splitlines()
    assert f"  + demo-lib {LIB_HERE}" in said
    assert f"  - demo-lib {LIB_HERE}" in project.zephyr("uninstall", "demo-lib").splitlines()
    assert f"  + demo-lib {LIB_HERE}" in project.zephyr("rollback").splitlines()
    assert "demo-lib" not in project.zephyr("rollback", "--quiet")


def test_what_is_added_and_not_installed_is_told_how_to_have_it(project: Project) -> None:
    told = project.zephyr("add", "demo-tool", "--extra", "tools")
    assert "demo-tool stands in the extra tools: `zephyr sync --extra tools` installs it." in told
    told = project.zephyr("add", "demo-colour", "--group", "docs")
    assert "demo-colour stands in the group docs: `zephyr sync --group docs` installs it." in told
    assert "stands in" not in project.zephyr("add", "demo-lib", "--dev")
    told = project.zephyr("remove", "demo-tool", code=2)
    assert told.endswith("has no requirement for 'demo-tool' in its dependencies; it has one in its extra tools.\n")


def test_what_others_installed_is_counted_apart(project: Project) -> None:
    assert "holds 1 package now (generation 1)." in project.zephyr("install", "demo-lib")
    project.zephyr("pip", "--python", str(project.file(".venv")), "install", "demo-tool")
    told = project.zephyr("uninstall", "demo-lib")
    assert "holds 0 packages now (generation 2), and 1 more that pip or others installed." in told


def test_a_rollback_needs_neither_index_nor_node(lonely: Project, upstream_of_its_own: FaultyUpstream) -> None:
    lonely.zephyr("sync")
    lonely.zephyr("add", "demo-tool")
    upstream_of_its_own.stop()
    lonely.node.stop()
    lonely.zephyr("rollback")
    assert set(lonely.installed()) == {"demo-app", "demo-lib"}
    lonely.node.start()
    told = lonely.zephyr("history", "-v")
    assert "zephyr add demo-tool: +demo-tool 1.0" in told
    assert f"sha256:{TOOL.sha256}" in told


def test_who_needs_whom_is_told_from_the_lock(project: Project) -> None:
    project.write(["demo-app", "demo-tool"])
    project.zephyr("lock")
    assert "└── demo-lib" in project.zephyr("tree")
    assert "the project -> demo-tool 1.0 -> demo-colour" in project.zephyr("why", "demo-colour")
    project.zephyr("why", "nosuch", code=1)


def test_a_lock_that_was_edited_by_hand_names_the_file_and_installs_nothing(project: Project) -> None:
    project.zephyr("lock")
    edited = project.lock.replace(APP.sha256, "ab" * 32)
    project.file("pylock.toml").write_text(edited)
    told = project.zephyr("sync", "--frozen", code=1)
    assert APP.filename in told
    assert not project.file(".venv").exists()


def test_a_wheel_that_is_not_what_its_record_says_is_refused(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream
) -> None:
    lying = Distribution(
        APP.filename,
        APP.project,
        APP.version,
        APP.content.replace(b'version = "1.0"', b'version = "6.6"'),
        APP.metadata,
    )
    project = Project(tmp_path / "project", start_node(start_upstream((lying, LIB, LIB_OLD))))
    told = project.zephyr("sync", code=1)
    assert "demo_app" in told
    assert not project.file(".venv").exists()


def test_two_syncs_at_once_both_succeed(project: Project, ends: ExitStack) -> None:
    project.zephyr("lock")
    both = [ends.enter_context(project.start("sync")) for _ in range(2)]
    for one in both:
        _, told = one.communicate(timeout=60)
        assert one.returncode == 0, told
    assert project.installed() == {"demo-app": "1.0", "demo-lib": LIB_HERE}


@pytest.mark.upstream
def test_flask_from_the_configured_index(tmp_path: Path, start_node: StartNode) -> None:
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    node = start_node(environment=pip)
    project = Project(tmp_path / "project", node)
    project.write(["flask"])
    project.zephyr("sync", "--compile-bytecode")
    assert "werkzeug" in project.run("-c", "import flask, werkzeug; print(werkzeug.__name__)")


def test_a_source_distribution_is_built_once_and_never_again(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream
) -> None:
    project = Project(tmp_path / "project", start_node(start_upstream([make_sdist("demo-source"), LIB, LIB_OLD])))
    project.write(["demo-source"])
    told = project.zephyr("sync")
    assert project.installed() == {"demo-source": "1.0"}, told
    assert "built" in project.zephyr("history", "-v")
    shutil.rmtree(project.file(".venv"))
    builds = project.node.store / "workshop" / "logs"
    before = sorted(builds.iterdir())
    project.zephyr("sync")
    assert project.installed() == {"demo-source": "1.0"}
    assert sorted(builds.iterdir()) == before


def test_a_source_distribution_is_all_that_its_lock_says_too(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream
) -> None:
    project = Project(tmp_path / "project", start_node(start_upstream([make_sdist("demo-source")])))
    project.write(["demo-source"])
    project.zephyr("lock")
    lock = project.lock
    project.file("pylock.toml").write_text(lock.replace("hashes = {", f'hashes = {{sha512 = "{"0" * 128}", '))
    assert "the sha256 that it names, and not the sha512. Nothing was installed" in project.zephyr(
        "sync", "--frozen", code=1
    )
    assert not project.file(".venv").exists()
    project.file("pylock.toml").write_text(lock)
    project.zephyr("sync", "--frozen")
    assert project.installed() == {"demo-source": "1.0"}


def test_the_index_that_a_user_names_is_asked_with_his_password_and_the_lock_does_not_know_it(
    project: Project, start_upstream: StartUpstream
) -> None:
    secret = make_wheel("demo-secret")
    private = start_upstream([secret], Style(other_host=False, credentials=("me", "word")))
    project.write(["demo-secret"])
    assert "demo-secret" in project.zephyr("lock", code=1)
    project.write(["demo-secret"], f'[tool.zephyr]\nindex-url = "{private.url.replace("//", "//me:word@")}"\n')
    project.zephyr("sync")
    assert project.installed() == {"demo-secret": "1.0"}
    assert private.url in project.lock
    assert "word" not in project.lock


def test_a_lock_that_another_program_wrote_is_installed_as_it_is(project: Project) -> None:
    project.zephyr("lock")
    own = project.lock.partition("[tool.zephyr]")[0]
    foreign = "".join(line for line in own.splitlines(keepends=True) if not line.startswith("index = "))
    project.file("pylock.toml").write_text(foreign.replace('created-by = "zephyr"', 'created-by = "somebody"'))
    project.zephyr("sync")
    assert project.installed() == {"demo-app": "1.0", "demo-lib": LIB_HERE}
    assert 'created-by = "somebody"' in project.lock


@pytest.mark.parametrize("path", ["/v1/lock", "/v1/resolve", "/v1/environment"])
def test_whoever_asks_nonsense_gets_a_sentence(shared: tuple[FaultyUpstream, RunningNode], path: str) -> None:
    node = shared[1]
    markers = {"python_full_version": "3.12.1"}
    scheme = {"python": "3.12", "purelib": "", "platlib": "", "scripts": "", "headers": ""}
    for asked in (
        {},
        {"question": 5, "lock": 5},
        {"question": {"requirements": [5]}, "lock": "x", "markers": {}},
        {"question": {}, "lock": "nonsense", "markers": markers, "tags": [], "scheme": scheme, "indexes": [{"url": 1}]},
        {
            "question": {},
            "lock": "nonsense",
            "markers": markers,
            "tags": "x",
            "scheme": scheme,
            "build": {"python": "/x"},
        },
        {"question": {"surprise": 1}, "lock": "nonsense", "markers": markers, "tags": [], "scheme": scheme},
        {"question": {}, "lock": "x", "markers": markers, "tags": [], "scheme": scheme, "build": {"python": "python"}},
        {"question": {}, "lock": "x", "markers": markers, "tags": [], "scheme": {"no": "scheme"}, "build": {}},
    ):
        status, body = node.control("POST", path, json.dumps(asked).encode())
        assert status == 400, (asked, status, body)
        assert json.loads(body)["detail"]
    assert node.control("GET", "/v1/status")[0] == 200


BUILD_SYSTEM = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
BACKEND = """
import base64, hashlib, zipfile
from pathlib import Path

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name, info = "demo-1-py3-none-any.whl", "demo-1.dist-info"
    members = {
        "demo.pth": str(Path("src").resolve()),
        f"{info}/METADATA": "Metadata-Version: 2.1\\nName: demo\\nVersion: 1\\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    rows = []
    for path, text in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(text.encode())}")
    members[f"{info}/RECORD"] = "\\n".join([*rows, f"{info}/RECORD,,", ""])
    with zipfile.ZipFile(Path(wheel_directory) / name, "w") as archive:
        for path, text in members.items():
            archive.writestr(zipfile.ZipInfo(path, (2024, 1, 1, 0, 0, 0)), text)
    return name
"""


def test_a_project_with_a_build_system_is_installed_with_its_sources_in_use(project: Project) -> None:
    """The user's word for builds without a sandbox: who is root, as in a container, has none for an editable build."""
    project.write(["demo-app"], f"{BUILD_SYSTEM}[tool.zephyr]\nallow-unsandboxed-builds = true\n")
    project.file("backend.py").write_text(BACKEND)
    project.file("src").mkdir()
    project.file("src/demo_own.py").write_text("value = 1\n")
    project.zephyr("sync")
    assert project.installed() == {"demo": "1", "demo-app": "1.0", "demo-lib": LIB_HERE}
    assert project.run("-c", "import demo_own; print(demo_own.value)").strip() == "1"
    project.file("src/demo_own.py").write_text("value = 22\n")
    assert project.run("-c", "import demo_own; print(demo_own.value)").strip() == "22"
    url = json.loads(next(project.file(".venv").rglob("demo-1.dist-info/direct_url.json")).read_text())
    assert url == {"url": project.directory.as_uri(), "dir_info": {"editable": True}}
    assert "already" in project.zephyr("sync")
    project.zephyr("sync", "--no-project")
    assert set(project.installed()) == {"demo-app", "demo-lib"}


def test_a_package_is_itself_what_its_tools_require(start_node: StartNode, tmp_path: Path) -> None:
    """As attrs is for what its tests are run with, or textual for textual-dev: an index's would be there beside it."""
    bases = [make_wheel("demo-base", version) for version in ("0.9", "1.0")]
    tool = make_wheel("demo-tool", requires=["demo[more]>=1", "demo-base"])
    stranger = make_wheel("demo", "6.6", requires=["demo-base<1"])
    with FaultyUpstream([*bases, tool, stranger]) as upstream:
        project = Project(tmp_path / "project", start_node(upstream))
        more = "[dependency-groups]\ndev = ['demo-tool']\n[tool.zephyr]\nallow-unsandboxed-builds = true\n"
        project.write([], more)
        project.zephyr("sync")
        assert project.installed()["demo"] == "6.6"  # not a package: whoever needs that name needs the index's
        project.write([], f"{BUILD_SYSTEM}{more}")
        project.file("backend.py").write_text(BACKEND)
        project.zephyr("update")
        assert project.installed() == {"demo": "1", "demo-tool": "1.0", "demo-base": "1.0"}
        assert "belongs to the project" in project.zephyr("lock", "--check")
        project.zephyr("add", "demo-base")
        for words in (("--only-group", "dev"), ("--no-project",)):
            assert "demo-tool cannot work without demo, which is this project" in project.zephyr("sync", *words)
        assert "cannot work" not in project.zephyr("sync")


def test_packages_come_by_url_and_by_path_and_say_so(project: Project, index: FaultyUpstream, tmp_path: Path) -> None:
    wheel, sdist = tmp_path / TOOL.filename, make_sdist("demo-source")
    wheel.write_bytes(TOOL.content)
    (tmp_path / sdist.filename).write_bytes(sdist.content)
    places = {"demo-tool": wheel.as_uri(), "demo-source": (tmp_path / sdist.filename).as_uri()}
    places["demo-app"] = index.file_url(APP.filename)
    project.write([f"{name} @ {place}" for name, place in places.items()])
    project.zephyr("sync")
    assert project.installed() == dict.fromkeys(places, "1.0") | {"demo-lib": LIB_HERE}
    archives = {one["name"]: one["archive"] for one in tomllib.loads(project.lock)["packages"] if "archive" in one}
    assert archives["demo-tool"]["hashes"] == {"sha256": TOOL.sha256}
    url = json.loads(next(project.file(".venv").rglob("demo_tool-1.0.dist-info/direct_url.json")).read_text())
    assert url == {"url": wheel.as_uri(), "archive_info": {"hashes": {"sha256": TOOL.sha256}}}
    wheel.write_bytes(APP.content)
    shutil.rmtree(project.file(".venv"))
    project.zephyr("sync", "--frozen")
    assert project.installed()["demo-tool"] == "1.0", "the lock means the bytes, and the store has them"


def test_what_cannot_be_taken_from_a_url_is_a_reason(project: Project) -> None:
    project.write(["demo-app @ hg+https://example.invalid/x", "demo-lib"])
    assert "repository" in project.zephyr("lock", code=1)
    project.write([f"demo-app @ {project.directory.as_uri()}/nothing-1.0-py3-none-any.whl"])
    assert "cannot be read" in project.zephyr("lock", code=1)


def test_quiet_says_nothing_and_json_says_all(project: Project) -> None:
    assert project.zephyr("sync", "-q") == ""
    project.write(["demo-tool"])
    told = json.loads(project.zephyr("sync", "--json", "-q"))
    assert told["added"] == ["demo-tool 1.0"]
    assert told["removed"] == ["demo-app 1.0"]
    assert told["packages"] == 2


@pytest.mark.slow
def test_a_node_that_is_killed_in_the_middle_leaves_nothing_half(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream, ends: ExitStack
) -> None:
    many = [make_wheel(f"demo-many{number}", size_bytes=300_000) for number in range(30)]
    project = Project(tmp_path / "project", start_node(start_upstream(many)))
    project.write([one.project for one in many])
    project.zephyr("lock")
    running = ends.enter_context(project.start("sync"))
    trees = project.node.store / "trees"
    while running.poll() is None and sum("." not in path.name for path in trees.iterdir()) < 5:
        pass
    project.node.kill9()
    running.communicate(timeout=60)
    project.node.start()
    project.zephyr("sync", "--frozen")
    assert len(project.installed()) == 30
    assert project.node.run("verify").returncode == 0
    assert all(not path.name.startswith(".") for path in trees.iterdir())
