"""Environments that change all at once: what survives, what goes, what comes back, and who waits for whom."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from p2pcdn.envs.errors import CannotInstall
from p2pcdn.envs.generations import Environment
from p2pcdn.envs.held import held_plan
from p2pcdn.envs.install import Source, install_site
from p2pcdn.envs.plan import Plan
from p2pcdn.envs.planning import make_plan
from tests.bench.volumes import run_with_volume
from tests.envs.made import MadeWheel, files_below
from tests.envs.ready import SCHEME, SITE, bare_venv, open_environment, planned, ready

ROOT = Path(__file__).parents[2]
VICTIM = Path(__file__).with_name("sweep_victim.py")


def wheel(project: str, version: str = "1.0", **files: bytes) -> MadeWheel:
    module = {f"{project}/__init__.py": f"version = '{version}'\n".encode()}
    more = {name.replace("__", "/"): content for name, content in files.items()}
    return MadeWheel(
        {**module, **more}, project, version, entry_points=f"[console_scripts]\n{project}-go = {project}:x\n"
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return bare_venv(tmp_path / "project" / ".venv")


def sync(root: Path, *wheels: MadeWheel, **options: object) -> object:
    plan, sources = planned(root.parent / "trees", *wheels)
    with open_environment(root) as environment:
        return environment.sync(plan, sources, python=f"{root}/bin/python", **options)  # type: ignore[arg-type]


def without_own(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if not name.startswith(".zephyr/")}


def test_a_sync_says_what_it_did_and_the_digest_says_that_there_is_nothing_to_do(root: Path) -> None:
    plan, sources = planned(root.parent / "trees", wheel("a"), wheel("b"))
    with open_environment(root) as environment:
        assert environment.plan_digest() == ""
        done = environment.sync(plan, sources, python=f"{root}/bin/python")
        assert (done.generation, done.added, done.removed, done.told) == (1, ("a 1.0", "b 1.0"), (), ())
        assert environment.plan_digest() == plan.digest()
    done = sync(root, wheel("b", "2.0"))  # type: ignore[assignment]
    assert (done.generation, done.added, done.removed) == (2, ("b 2.0",), ("a 1.0", "b 1.0"))
    assert not (root / SITE / "a").exists()
    assert not (root / "bin/a-go").exists()
    assert (
        subprocess.run([root / "bin/python", "-c", "import b; assert b.version == '2.0'"], check=False).returncode == 0
    )


def test_an_environment_that_was_moved_is_made_for_its_new_place(root: Path) -> None:
    sync(root, wheel("a"))
    (root / "mine").write_text("")
    assert held_plan(str(root), SITE, exact=True) != ("", "")
    moved = root.parent.rename(root.parents[1] / "elsewhere") / ".venv"
    assert held_plan(str(moved), SITE, exact=True) == ("", "")
    done = sync(moved, wheel("a"))
    assert done.told == (f"The environment was made in {root}; its scripts name this place now.",)  # type: ignore[attr-defined]
    assert (moved / "bin/a-go").read_text().startswith(f"#!{moved}/bin/python\n")
    assert (moved / "mine").exists()
    assert held_plan(str(moved), SITE, exact=True) != ("", "")
    with open_environment(moved) as environment:
        environment.rollback(1)
    assert held_plan(str(moved), SITE, exact=True) == ("", ""), "its scripts are those of then"


def test_an_environment_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    root = tmp_path / "target"
    sync(root, wheel("a"), durable=True)
    assert (root / SITE / "a/__init__.py").exists()
    assert (tmp_path / ".zephyr/.gitignore").read_text() == "*\n"


def test_files_of_others_survive_as_the_same_files(root: Path) -> None:
    (root / "notes.txt").write_text("mine")
    (root / "empty/inside").mkdir(parents=True)
    (root / "private").mkdir(mode=0o700)
    (root / "private/key").write_text("secret")
    (root / SITE / "my.pth").write_text("")
    (root / "bin/my-link").symlink_to("python")
    (root / "dangling").symlink_to("nowhere")
    os.mkfifo(root / "pipe")
    root.chmod(0o750)
    with (root / "notes.txt").open("a") as held:
        sync(root, wheel("a"))
        (root / SITE / "a/mine.txt").write_text("beside a package")
        sync(root, wheel("a", "2.0"))
        held.write(" still")
    assert (root / "notes.txt").read_text() == "mine still"
    assert (root / SITE / "a/mine.txt").read_text() == "beside a package"
    assert (root / "empty/inside").is_dir()
    assert stat.S_IMODE((root / "private").stat().st_mode) == 0o700
    assert stat.S_IMODE(root.stat().st_mode) == 0o750
    assert (root / "bin/my-link").readlink() == Path("python")
    assert (root / "dangling").is_symlink()
    assert (root / "pipe").is_fifo()
    assert (root / "lib64").readlink() == Path("lib")
    assert (root / "pyvenv.cfg").exists()
    sync(root)
    assert (root / SITE / "a/mine.txt").exists()
    assert not (root / SITE / "a/__init__.py").exists()


def test_a_users_file_in_a_wheels_place_is_told_and_kept_in_the_old_generation(root: Path) -> None:
    (root / SITE / "a").mkdir()
    (root / SITE / "a/__init__.py").write_text("mine")
    (root / SITE / "b").write_text("a file where a directory comes")
    done = sync(root, wheel("a"), wheel("b"))
    assert set(done.told) == {  # type: ignore[attr-defined]
        f"{SITE}/a/__init__.py was there already; the plan's took its place.",
        f"{SITE}/b was there already; the plan's took its place.",
    }
    assert "version" in (root / SITE / "a/__init__.py").read_text()
    with open_environment(root) as environment:
        environment.rollback()
    assert (root / SITE / "a/__init__.py").read_text() == "mine"


@pytest.mark.parametrize("whole", [True, False])
def test_byte_code_that_python_wrote_first_gives_way_without_a_word(root: Path, whole: bool) -> None:
    """An import is often faster than the node's compiler, and the next change brings the store's byte code."""
    name = f"a/__pycache__/__init__.{sys.implementation.cache_tag}.pyc"
    trees = root.parent / "trees"
    found, sources = ready(trees, wheel("a"))
    compiled = root.parent / "code"
    (compiled / name).parent.mkdir(parents=True)
    (compiled / name).write_bytes(b"the store's")
    with open_environment(root, whole=whole) as environment:
        environment.sync(make_plan(found, SCHEME), sources, python=f"{root}/bin/python")
        (root / SITE / name).parent.mkdir()
        (root / SITE / name).write_bytes(b"python's")
        plan = make_plan([replace(found[0], bytecode=(name,))], SCHEME)
        done = environment.sync(plan, [Source(sources[0].tree, str(compiled))], python=f"{root}/bin/python")
    assert done.told == ()
    assert (root / SITE / name).read_bytes() == b"the store's"


def pip_installed(root: Path, project: str, *files: str) -> None:
    """As pip leaves a distribution."""
    info = root / SITE / f"{project}-0.1.dist-info"
    info.mkdir()
    for name in files:
        (root / SITE / name).parent.mkdir(parents=True, exist_ok=True)
        (root / SITE / name).write_text("pip")
    names = [*files, f"{info.name}/INSTALLER", f"{info.name}/RECORD", "../../../../outside"]
    (info / "INSTALLER").write_text("pip\n")
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in names))


def test_what_pip_installed_goes_where_the_plan_has_it_or_where_exactness_is_wanted(root: Path) -> None:
    (root.parent / "outside").write_text("not in the environment")
    pip_installed(root, "A", "a/old.py", "../../../bin/a-old")
    pip_installed(root, "other", "other.py")
    pip_installed(root, "pip", "pip/__init__.py")
    sync(root, wheel("a"), exact=False)
    assert not (root / SITE / "a/old.py").exists()
    assert not (root / "bin/a-old").exists()
    assert not (root / SITE / "A-0.1.dist-info").exists()
    assert (root / SITE / "other.py").exists()
    sync(root, wheel("a"))
    assert not (root / SITE / "other.py").exists()
    assert not (root / SITE / "other-0.1.dist-info").exists()
    assert (root / SITE / "pip/__init__.py").exists()
    assert (root.parent / "outside").exists()
    with open_environment(root) as environment:
        environment.rollback(1)
        assert (root / SITE / "other.py").exists()
        environment.rollback(0)
    assert (root / SITE / "a/old.py").exists()
    assert not (root / SITE / "a/__init__.py").exists()


def test_pythons_byte_code_stays_with_what_stays_the_same(root: Path) -> None:
    sync(root, wheel("a"), wheel("b"), wheel("c"))
    run = [root / "bin/python", "-c", "import a, b, c"]
    settings = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(run, check=True, env=settings)
    code = {name: next((root / SITE / name / "__pycache__").iterdir()) for name in "abc"}
    sync(root, wheel("a"), wheel("b", "2.0"))
    assert code["a"].exists()
    assert not code["b"].parent.exists()
    assert not code["c"].parent.exists()


@pytest.mark.parametrize("generation", [1, 0])
def test_what_pip_upgraded_in_place_gives_way_to_what_a_rollback_brings_back(root: Path, generation: int) -> None:
    pip_installed(root, "B", "b/old.py")  # before us; the plan has it, so that it stays in the kept generation alone
    sync(root, wheel("a"), wheel("b"))
    before = without_own(files_below(root))
    sync(root, wheel("a"), wheel("b"), wheel("c"))
    for project in ("a", "b"):
        shutil.rmtree(root / SITE / f"{project}-1.0.dist-info")
        pip_installed(root, project, f"{project}/new.py")
    pip_installed(root, "other", "other.py")
    with open_environment(root, "zephyr rollback") as environment:
        environment.rollback(generation)
    assert (root / SITE / "other.py").exists()
    assert not (root / SITE / "b/new.py").exists()
    infos = sorted(one.name for one in (root / SITE).glob("*.dist-info"))
    if generation:
        assert infos == ["a-1.0.dist-info", "b-1.0.dist-info", "other-0.1.dist-info"]
        assert {path for path in without_own(files_below(root)) if "other" not in path} == set(before)
    else:
        assert infos == ["B-0.1.dist-info", "a-0.1.dist-info", "other-0.1.dist-info"]


def test_what_pip_installed_before_stays_where_a_rollback_goes_behind_a_later_sync(root: Path) -> None:
    sync(root, wheel("a"))
    pip_installed(root, "other", "other.py")
    sync(root, wheel("a", "2.0"), exact=False)
    with open_environment(root, "zephyr rollback") as environment:
        environment.rollback(1)
    infos = sorted(one.name for one in (root / SITE).glob("*.dist-info"))
    assert infos == ["a-1.0.dist-info", "other-0.1.dist-info"]
    assert (root / SITE / "other.py").exists()


def test_a_rollback_brings_back_what_was_and_needs_no_store(root: Path) -> None:
    (root / "mine").write_text("1")
    sync(root, wheel("a", share__x=b""))
    before = without_own(files_below(root))
    sync(root, wheel("a", "2.0"), wheel("b"))
    # A file that its owner may write to is not shared with the generation that is kept.
    (root / SITE / "b-1.0.dist-info/RECORD").write_text("broken")
    after = without_own(files_below(root))
    shutil.rmtree(root.parent / "trees")
    with open_environment(root, "zephyr rollback") as environment:
        done = environment.rollback()
        assert (done.generation, done.added, done.removed) == (3, ("a 1.0",), ("a 2.0", "b 1.0"))
        assert without_own(files_below(root)) == before
        (root / SITE / "a-1.0.dist-info/RECORD").write_text("changed")
        environment.rollback()
        assert without_own(files_below(root)) == after
        assert [one["generation"] for one in environment.generations()] == [4, 3, 2, 1, 0]
        assert [one["current"] for one in environment.generations()] == [True, False, False, False, False]
        environment.rollback(1)
        assert without_own(files_below(root)) == before
        with pytest.raises(CannotInstall, match=r"no generation 99 to go back to\. Kept: 0, 1, 2, 3, 4"):
            environment.rollback(99)


def test_generations_are_kept_so_many_and_no_more(root: Path) -> None:
    for number in range(5):
        sync(root, wheel("a", f"{number}.0"))
    with open_environment(root) as environment:
        environment.retire(2)
        assert [one["generation"] for one in environment.generations()] == [5, 4, 3]
        assert environment.has_too_much(2), "what is out of the way is still there"
    environment.sweep()
    assert not environment.has_too_much(2)


def test_a_new_environment_of_the_same_name_goes_on_counting(root: Path) -> None:
    sync(root, wheel("a"))
    shutil.rmtree(root)
    bare_venv(root)
    done = sync(root, wheel("b"))
    assert done.generation == 2  # type: ignore[attr-defined]
    with open_environment(root) as environment:
        assert [one["generation"] for one in environment.history()] == [1, 2]


def test_the_history_says_what_came_from_where_and_what_runs_at_each_start(root: Path) -> None:
    provenance = {"a": {"index": "https://index.example/simple/", "from": "peer 192.0.2.7"}}
    sync(root, wheel("a", **{"start.pth": b"import os"}), provenance=provenance)
    sync(root)
    first, second = Environment(str(root), command="", now_s=0).history()
    assert first["added"][0]["from"] == "peer 192.0.2.7"
    assert len(first["added"][0]["sha256"]) == 64
    assert first["startup"] == ["start.pth"]
    assert (first["command"], first["pid"], first["at_s"]) == ("zephyr sync", os.getpid(), 1_700_000_000.0)
    assert second["removed"] == [{"project": "a", "version": "1.0"}]


@pytest.mark.parametrize("asked", ["reflink", "hardlink", "copy"])
def test_the_history_says_how_files_were_linked_and_not_how_they_were_to_be(root: Path, asked: str) -> None:
    done = sync(root, wheel("a"), link_mode=asked)
    (entry,) = Environment(str(root), command="", now_s=0).history()
    assert set(entry["link_mode"].split(", ")) == {way for way, count in done.how.items() if count}  # type: ignore[attr-defined]


def test_a_history_whose_last_line_was_cut_is_read_and_goes_on(root: Path) -> None:
    sync(root, wheel("a"))
    log = root.parent / ".zephyr/.venv/history.jsonl"
    log.write_bytes(log.read_bytes() + b'{"generation": 2, "add')
    sync(root, wheel("b"))
    assert [one["generation"] for one in Environment(str(root), command="", now_s=0).history()] == [1, 2]


def test_link_mode_env_is_one_link_and_comes_and_goes(root: Path) -> None:
    trees = root.parent / "trees"
    plan, sources = planned(trees, wheel("a"), wheel("b"))
    install_site(plan, sources, str(root.parent / "site"))
    with open_environment(root) as environment:
        options = {"python": f"{root}/bin/python", "link_mode": "env", "site_tree": str(root.parent / "site")}
        # As the node gives it: what is left, under the name of the whole.
        left = Plan.decode(plan.outside_site().encode(), plan.digest())
        assert all(not path.startswith(SITE) for path in left.paths())
        environment.sync(left, sources, **options)  # type: ignore[arg-type]
        assert (root / SITE).readlink() == root.parent / "site"
        assert environment.history()[-1]["site_tree"] == str(root.parent / "site")
        run = [root / "bin/python", "-c", "import a; print(a.__file__)"]
        assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip().startswith(str(root))
        # Nothing may be written into the tree, not even by root: everything of it is told to be read-only.
        assert stat.S_IMODE((root.parent / "site").stat().st_mode) & 0o222 == 0
        assert environment.sync(left, sources, **options).removed == ()  # type: ignore[arg-type]
        environment.sync(plan, sources, python=f"{root}/bin/python")
        assert not (root / SITE).is_symlink()
        assert (root / SITE / "a/__init__.py").exists()
        environment.rollback()
        assert (root / SITE).is_symlink()
        assert environment.plan_digest() == plan.digest()


def test_link_mode_env_has_no_room_for_others_files_and_says_so(root: Path) -> None:
    (root / SITE / "my.pth").write_text("")
    plan, sources = planned(root.parent / "trees", wheel("a"))
    install_site(plan, sources, str(root.parent / "site"))
    before = files_below(root)
    with (
        open_environment(root) as environment,
        pytest.raises(CannotInstall, match=r"my\.pth was not put there by zephyr"),
    ):
        environment.sync(plan, sources, python="/p", link_mode="env", site_tree=str(root.parent / "site"))
    assert files_below(root) == before


def test_an_interrupted_sync_leaves_everything_as_it_was(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync(root, wheel("a"))
    before = files_below(root)
    for error in (KeyboardInterrupt(), OSError(28, "No space left on device"), MemoryError()):

        def broken(*_: object, error: BaseException = error, **__: object) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr("p2pcdn.envs.install._Work._writes", broken)
            expected = CannotInstall if isinstance(error, OSError) else type(error)
            with pytest.raises(expected):
                sync(root, wheel("a", "2.0"))
        assert files_below(root) == before
        assert sorted(path.name for path in (root.parent / ".zephyr/.venv").iterdir()) == [
            "generations",
            "history.jsonl",
            "lock",
        ]


def test_an_interruption_right_after_the_swap_keeps_the_way_back(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from p2pcdn.envs import change

    def swap_and_break(*arguments: str) -> None:
        real(*arguments)
        raise KeyboardInterrupt

    sync(root, wheel("a"))
    before = without_own(files_below(root))
    real = change.swap
    with monkeypatch.context() as patch:
        patch.setattr(change, "swap", swap_and_break)
        with pytest.raises(KeyboardInterrupt):
            sync(root, wheel("a", "2.0"))
    assert "2.0" in (root / SITE / "a/__init__.py").read_text()
    with open_environment(root) as environment:
        assert environment.history()[-1]["added"][0]["version"] == "2.0"
        environment.rollback()
    assert without_own(files_below(root)) == before


def test_a_file_where_a_directory_of_ours_was_is_put_aside(root: Path) -> None:
    sync(root, wheel("a"))
    shutil.rmtree(root / SITE / "a")
    (root / SITE / "a").write_text("mine")
    sync(root, wheel("a"))
    assert (root / SITE / "a/__init__.py").exists()
    assert (root.parent / ".zephyr/.venv/generations/1" / SITE / "a").read_text() == "mine"


def test_where_nothing_may_be_written_a_sentence_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotInstall, match="The environment is as it was"):
        open_environment(tmp_path / "file" / ".venv")


def test_who_waits_is_told_for_whom(root: Path) -> None:
    code = (
        "import sys; from p2pcdn.envs.generations import Environment\n"
        f"with Environment({str(root)!r}, command='zephyr add numpy', now_s=0).locked(print):\n"
        "    print('mine', flush=True); sys.stdin.readline()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stdout.readline() == "mine\n"
    said: list[str] = []

    def wait(sentence: str) -> None:
        said.append(sentence)
        assert holder.stdin is not None
        holder.stdin.close()

    with Environment(str(root), command="zephyr sync", now_s=0).locked(wait):
        assert said == [f"zephyr add numpy (process {holder.pid}) is changing this environment; waiting for it."]
    assert holder.wait() == 0
    holder.stdout.close()
    with Environment(str(root), command="zephyr sync", now_s=0).locked(wait):
        assert len(said) == 1


def test_a_prefix_that_is_not_ours_alone_is_changed_file_by_file(tmp_path: Path) -> None:
    root = bare_venv(tmp_path / "usr")
    (root / "bin/tool").write_text("of the system")
    pip_installed(root, "a", "a/old.py", "a/__init__.py")
    plan, sources = planned(tmp_path / "trees", wheel("a", share__a=b"1"), wheel("b"))
    inode = root.stat().st_ino
    with open_environment(root, whole=False) as environment:
        environment.sync(plan, sources, python=f"{root}/bin/python", exact=False)
        assert sorted(path.name for path in (root / SITE / "a").iterdir()) == ["__init__.py"]
        (root / SITE / "b/__pycache__").mkdir()
        (root / SITE / "b/__pycache__/__init__.cpython-399.pyc").write_text("")
        smaller, sources = planned(tmp_path / "trees", wheel("a", "2.0"))
        done = environment.sync(smaller, sources, python=f"{root}/bin/python", exact=False)
        assert (done.added, done.removed) == (("a 2.0",), ("a 1.0", "b 1.0"))
        assert not (root / SITE / "b").exists()
        assert not (root / SITE / "share").exists()
        environment.rollback()
        assert (root / SITE / "b/__init__.py").exists()
        assert (root / SITE / "share/a").read_text() == "1"
        environment.rollback(0)
        assert sorted(path.name for path in (root / SITE / "a").iterdir()) == ["__init__.py", "old.py"]
        assert not (root / SITE / "b").exists()
        assert environment.plan_digest() == ""
        environment.retire(0)
        environment.sweep()
    assert (root / "bin/tool").read_text() == "of the system"
    assert root.stat().st_ino == inode
    assert not (tmp_path / ".zephyr").exists()


def test_what_stands_in_the_way_of_single_files_is_said_before_anything_is_moved(tmp_path: Path) -> None:
    plan, sources = planned(tmp_path / "trees", wheel("a"), wheel("b"))
    for name, way in (("one", f"{SITE}/a/__init__.py/sub"), ("other", f"{SITE}/b")):
        root = tmp_path / name / "usr"
        (root / way).parent.mkdir(parents=True)
        (root / way).write_text("in the way")
        before = files_below(root)
        with open_environment(root, whole=False) as environment, pytest.raises(CannotInstall, match="Nothing was"):
            environment.sync(plan, sources, python="/p")
        assert without_own(files_below(root)) == before


def test_a_volume_on_the_file_system_of_its_project_is_changed_file_by_file(tmp_path: Path) -> None:
    """To os.path.ismount it is none, and nothing can be renamed or linked from beside it to there."""
    volume, place = bare_venv(tmp_path / "volume"), tmp_path / "project" / ".venv"
    (volume / "mine").write_text("")
    place.mkdir(parents=True)
    for version in ("1.0", "2.0"):
        plan, sources = planned(tmp_path / "trees", wheel("a", version))
        (tmp_path / "plan").write_bytes(plan.encode())
        command = [sys.executable, str(VICTIM), "sync", str(place), str(tmp_path / "plan"), sources[0].tree]
        done = run_with_volume(volume, place, "env", f"P2PCDN_SWEEP_PATH={ROOT}", *command)
        assert done.returncode == 0, done.stderr
        assert version in (volume / SITE / "a/__init__.py").read_text()
    assert (volume / "mine").exists()
    assert list(place.parent.iterdir()) == [place]
    assert not any(place.iterdir())


def test_a_directory_that_cannot_be_swapped_is_changed_file_by_file(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(one: str, other: str) -> None:
        raise OSError(errno.EBUSY, "a mount point", one)

    (root / "mine").write_text("")
    monkeypatch.setattr("p2pcdn.envs.swap.exchange", busy)
    sync(root, wheel("a"))
    sync(root, wheel("a", "2.0"))
    assert "2.0" in (root / SITE / "a/__init__.py").read_text()
    assert (root / "mine").exists()
    plan, sources = planned(root.parent / "trees", wheel("a"))
    with open_environment(root) as environment, pytest.raises(CannotInstall, match="cannot be swapped as a whole"):
        environment.sync(plan, sources, python="/p", link_mode="env", site_tree=str(root))
