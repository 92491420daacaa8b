"""Environments: as the standard library's are, for every interpreter; nothing else is ever overwritten."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from p2pcdn_shim.zephyr.environment import venv
from p2pcdn_shim.zephyr.errors import UsageError, ZephyrError
from p2pcdn_shim.zephyr.interpreters.probes import Probe, probe
from tests.bench.volumes import run_with_volume, small_file_system
from tests.shim.zephyr import COMMAND, assert_one_sentence, environment, zephyr

CODE = (
    "import json, sys, sysconfig, site; print(json.dumps({'prefix': sys.prefix, 'base': sys.base_prefix,"
    " 'version': list(sys.version_info[:2]), 'paths': sysconfig.get_paths(), 'sites': site.getsitepackages(),"
    " 'path': sys.path, 'executable': sys.executable}))"
)


# For an environment in a volume: made, removed, made again, and once more in the place of that.
IN_A_VOLUME = """
import sys
from pathlib import Path
from p2pcdn_shim.zephyr.environment import venv
from p2pcdn_shim.zephyr.interpreters.probes import probe
place, interpreter = Path(sys.argv[1]), probe(sys.executable)
assert [path.name.split("-")[0] for path in place.iterdir()] == ["..venv.new"]
made = venv.create(place, interpreter)
venv.remove(place)
assert not any(place.iterdir())
venv.create(place, interpreter)
(place / "mine").mkdir()
venv.create(place, interpreter, clear=True)
assert not (place / "mine").exists()
assert made.python.exists()
"""


def ask(python: Path) -> dict[str, object]:
    run = subprocess.run([python, "-c", CODE], env={}, capture_output=True, text=True, check=True)
    return dict(json.loads(run.stdout))


def test_an_environment_works_with_every_interpreter(interpreters: list[Probe], tmp_path: Path) -> None:
    for one in interpreters:
        made = venv.create(tmp_path / one.full_version, one)
        said = ask(made.python)
        assert said["prefix"] == str(made.path)
        assert said["base"] == one.base_prefix
        assert tuple(said["version"]) == one.version  # type: ignore[arg-type]
        site = str(made.path / "lib" / f"python3.{one.version[1]}" / "site-packages")
        assert site in said["sites"]  # type: ignore[operator]
        assert site in said["path"]  # type: ignore[operator]
        assert Path(site).is_dir()
        assert one.scheme["purelib"].replace("{base}", str(made.path)) == site
        assert said["executable"] == str(made.python)


def test_a_volume_becomes_an_environment_where_it_is(tmp_path: Path) -> None:
    """A container has a volume in the place of .venv, so that it does not meet that of its host."""
    volume, place = tmp_path / "volume", tmp_path / "project" / ".venv"
    place.mkdir(parents=True)
    left = volume / f"..venv.new-{2**22 + 1}"  # of a command that was killed: no process has that number
    left.mkdir(parents=True)
    done = run_with_volume(volume, place, sys.executable, "-c", IN_A_VOLUME, str(place))
    assert done.returncode == 0, done.stderr
    assert venv.read_settings(volume) is not None
    assert not left.exists()
    assert [path.name for path in place.parent.iterdir()] == [".venv"]


def test_an_environment_has_what_the_standard_librarys_has(interpreters: list[Probe], tmp_path: Path) -> None:
    for one in interpreters[:3]:
        theirs = tmp_path / f"theirs-{one.full_version}"
        subprocess.run([one.executable, "-m", "venv", "--without-pip", theirs], check=True)
        ours = venv.create(tmp_path / f"ours-{one.full_version}", one).path
        names = {str(path.relative_to(theirs)) for path in theirs.rglob("*")}
        missing = {name for name in names if not (ours / name).exists()}
        # Newer ones have names of their own in `include` and scripts for shells that have others.
        assert missing <= {"bin/𝜋thon"}, missing
        keys = venv.read_settings(theirs)
        assert keys is not None
        mine = venv.read_settings(ours)
        assert mine is not None
        assert {key: mine.get(key) for key in keys if key != "command"} == {
            key: value for key, value in keys.items() if key != "command"
        }


def test_an_environment_made_in_another_one_belongs_to_the_interpreter_behind_it(
    interpreter: Probe, tmp_path: Path
) -> None:
    outer = venv.create(tmp_path / "outer", interpreter)
    within = probe(outer.python, {**os.environ, "ZEPHYR_CACHE_DIR": str(tmp_path / "cache")})
    assert within.is_environment
    assert within.base_prefix == interpreter.base_prefix
    inner = venv.create(tmp_path / "inner", within)
    assert ask(inner.python)["base"] == interpreter.base_prefix
    venv.remove(outer.path)
    assert ask(inner.python)["prefix"] == str(inner.path)


def test_an_interpreter_behind_a_link_is_taken_where_it_is_installed(interpreters: list[Probe], tmp_path: Path) -> None:
    environ = {**os.environ, "ZEPHYR_CACHE_DIR": str(tmp_path / "cache")}
    for one in interpreters:
        link = tmp_path / one.full_version / "bin" / "mypython"
        link.parent.mkdir(parents=True)
        link.symlink_to(one.base_executable)
        made = venv.create(tmp_path / one.full_version / "e", probe(link, environ))
        assert Path(made.settings["home"]) == Path(one.base_prefix) / "bin"
        link.unlink()
        assert ask(made.python)["base"] == one.base_prefix


def test_the_packages_of_the_interpreter_are_seen_where_that_was_asked_for(interpreter: Probe, tmp_path: Path) -> None:
    apart = venv.create(tmp_path / "apart", interpreter)
    open_ = venv.create(tmp_path / "open", interpreter, system_site_packages=True)
    base = interpreter.paths["purelib"]
    assert base not in ask(apart.python)["path"]  # type: ignore[operator]
    assert base in ask(open_.python)["path"]  # type: ignore[operator]


def test_what_is_there_and_no_environment_stays(interpreter: Probe, tmp_path: Path) -> None:
    place = tmp_path / "precious"
    place.mkdir()
    (place / "thesis.txt").write_text("years of work")
    file = tmp_path / "file"
    file.write_text("x")
    for there in (place, file):
        for clear in (False, True):
            with pytest.raises(UsageError, match="is no virtual environment"):
                venv.create(there, interpreter, clear=clear)
        with pytest.raises(ZephyrError, match="nothing was removed"):
            venv.remove(there)
    assert (place / "thesis.txt").read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "precious"]


def test_an_environment_that_is_there_is_made_anew_only_when_that_was_said(interpreter: Probe, tmp_path: Path) -> None:
    made = venv.create(tmp_path / "e", interpreter)
    (made.path / "installed").write_text("")
    with pytest.raises(UsageError, match="--clear"):
        venv.create(made.path, interpreter)
    assert (made.path / "installed").exists()
    venv.create(made.path, interpreter, clear=True)
    assert not (made.path / "installed").exists()
    assert ask(made.python)["prefix"] == str(made.path)
    assert [path.name for path in tmp_path.iterdir()] == ["e"]


def test_what_killed_commands_left_behind_is_taken_away(interpreter: Probe, tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    mine = [f".e.new-{os.getpid()}x", ".e.new-x", f".e.old-{dead.pid}", f".f.new-{dead.pid}", ".e.new"]
    theirs = [f".e.new-{dead.pid}", f".e.gone-{dead.pid}"]
    for name in (*mine, *theirs):
        (tmp_path / name / "bin").mkdir(parents=True)
    venv.create(tmp_path / "e", interpreter)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["e", *mine])


def test_of_two_that_make_one_environment_at_once_one_gets_a_sentence(tmp_path: Path) -> None:
    def work(_: int) -> subprocess.CompletedProcess[str]:
        return zephyr("venv", "create", "./e", home=tmp_path)

    zephyr("venv", "create", "./first", home=tmp_path)
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(work, range(4)))
    assert [run.returncode for run in runs].count(0) == 1, [run.stderr for run in runs]
    assert all(len(run.stderr.splitlines()) == 1 for run in runs)
    assert ask(tmp_path / "e" / "bin" / "python")["prefix"] == str(tmp_path / "e")
    assert not list(tmp_path.glob(".e.*"))


def test_an_empty_directory_becomes_an_environment(interpreter: Probe, tmp_path: Path) -> None:
    (tmp_path / "e").mkdir()
    assert ask(venv.create(tmp_path / "e", interpreter).python)["prefix"] == str(tmp_path / "e")


def test_a_link_to_an_environment_is_not_followed(interpreter: Probe, tmp_path: Path) -> None:
    made = venv.create(tmp_path / "e", interpreter)
    link = tmp_path / "link"
    link.symlink_to(made.path)
    venv.create(link, interpreter, clear=True)
    assert not link.is_symlink()
    other = tmp_path / "other"
    other.symlink_to(made.path)
    venv.remove(other)
    assert made.python.exists()
    assert not other.is_symlink()


def test_a_directory_that_cannot_be_written_gets_a_sentence(interpreter: Probe, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ZephyrError, match=r"cannot be (made at|looked at)|No environment"):
        venv.create(tmp_path / "file" / "e", interpreter)


def test_where_nothing_can_be_written_no_directory_is_left(tmp_path: Path) -> None:
    full = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)"
    full += "; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
    made = tmp_path / "was-there"
    made.mkdir()
    zephyr("venv", "create", "first", home=tmp_path)  # the interpreter is known from then on
    before = sorted(tmp_path.rglob("*"))
    for place in ("./x/y", "./was-there/x/y"):
        words = [sys.executable, "-c", f"{full}; {COMMAND[2]}", "venv", "create", place]
        run = subprocess.run(
            words, env=environment(tmp_path), cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert "No environment can be made at" in assert_one_sentence(run, 1)
        assert sorted(tmp_path.rglob("*")) == before


def test_an_environment_whose_interpreter_is_gone_gets_a_sentence(interpreter: Probe, tmp_path: Path) -> None:
    made = venv.create(tmp_path / "e", interpreter)
    (made.path / "bin" / "python").unlink()
    (made.path / "bin" / "python").symlink_to("/nowhere/python3")
    assert venv.Environment(made.path, made.settings).is_broken
    with pytest.raises(ZephyrError, match=rf"is gone: Python {interpreter.full_version} in .*--clear"):
        venv.open_environment(made.path)
    with pytest.raises(ZephyrError, match=r"does not exist; `zephyr venv create .*nowhere'` makes it"):
        venv.open_environment(tmp_path / "nowhere")


def test_every_file_of_an_environment_names_its_own_place(interpreter: Probe, tmp_path: Path) -> None:
    made = venv.create(tmp_path / "e", interpreter)
    for file in made.path.rglob("*"):
        if file.is_file() and not file.is_symlink():
            assert ".new-" not in file.read_text(), file
    assert (made.path / ".gitignore").read_text() == "*\n"


def test_the_prompt_is_the_directory_or_the_project_or_what_was_said(interpreter: Probe, tmp_path: Path) -> None:
    assert venv.create(tmp_path / "e", interpreter).settings["prompt"] == "e"
    assert venv.create(tmp_path / "shop" / ".venv", interpreter).settings["prompt"] == "shop"
    assert venv.create(tmp_path / "f", interpreter, prompt="a\nhome = /x").settings["prompt"] == "ahome = /x"


def test_names_and_paths_on_the_command_line(tmp_path: Path) -> None:
    project = tmp_path / "shop"
    (project / "deep").mkdir(parents=True)
    (project / "pyproject.toml").write_text("")
    assert zephyr("venv", "create", home=tmp_path, cwd=project / "deep").returncode == 0
    assert (project / ".venv" / "pyvenv.cfg").exists()
    assert zephyr("venv", "create", "./here", home=tmp_path, cwd=project / "deep").returncode == 0
    assert (project / "deep" / "here" / "pyvenv.cfg").exists()
    assert zephyr("venv", "create", "myproject", home=tmp_path, cwd=project).returncode == 0
    named = tmp_path / ".local" / "share" / "zephyr" / "venvs" / "myproject"
    assert (named / "pyvenv.cfg").exists()
    rows = json.loads(zephyr("--json", "venv", "list", home=tmp_path, cwd=project).stdout)
    assert [row["path"] for row in rows] == [str(project / ".venv"), str(named)]
    assert zephyr("venv", "remove", "myproject", home=tmp_path).stdout == f"Removed {named}.\n"
    assert not named.exists()
    gone = assert_one_sentence(zephyr("venv", "remove", "myproject", home=tmp_path), 1)
    assert gone == "There is no environment 'myproject'. There is none with a name yet."
    # A path without a slash is a name: who forgot that is asked.
    forgotten = assert_one_sentence(zephyr("venv", "remove", "here", home=tmp_path, cwd=project / "deep"), 1)
    assert forgotten.endswith("Did you mean ./here?")
    assert (project / "deep" / "here" / "pyvenv.cfg").exists()


def test_an_environment_is_not_made_where_the_path_cannot_name_it(tmp_path: Path) -> None:
    place = tmp_path / "a:b"
    place.mkdir()
    assert "':' separates the places in PATH" in assert_one_sentence(
        zephyr("venv", "create", "./e", home=tmp_path, cwd=place), 2
    )
    assert list(place.iterdir()) == []


def test_the_environment_that_is_active_is_not_removed(tmp_path: Path) -> None:
    zephyr("venv", "create", "./e", home=tmp_path)
    run = zephyr("venv", "remove", "./e", home=tmp_path, variables={"VIRTUAL_ENV": str(tmp_path / "e")})
    assert "deactivate" in assert_one_sentence(run, 2)
    assert (tmp_path / "e" / "pyvenv.cfg").exists()


def test_the_place_of_named_environments_is_a_setting(tmp_path: Path) -> None:
    zephyr("venv", "create", "e", home=tmp_path, variables={"ZEPHYR_VENVS": str(tmp_path / "all")})
    assert (tmp_path / "all" / "e" / "pyvenv.cfg").exists()


def test_a_directory_that_cannot_be_moved_gets_an_environment_and_stays_when_that_goes(
    interpreter: Probe, mounted: Path
) -> None:
    (mounted / ".zephyr").mkdir()  # what zephyr keeps of it lies in it
    (mounted / ".zephyr" / "history.jsonl").write_text("")
    made = venv.create(mounted, interpreter)
    assert ask(made.python)["prefix"] == str(mounted)
    (mounted / "installed").write_text("")
    for name in ("generation.json", "plan.json", "checked"):
        (mounted / ".zephyr" / name).write_text("{}")  # of the packages that go
    venv.create(mounted, interpreter, clear=True)
    assert not (mounted / "installed").exists()
    assert [path.name for path in (mounted / ".zephyr").iterdir()] == ["history.jsonl"]
    assert (mounted / ".zephyr" / "history.jsonl").exists()
    assert not list(mounted.glob(".*.new-*"))
    venv.remove(mounted)
    assert list(mounted.iterdir()) == []


def test_what_a_kill_left_in_a_directory_that_cannot_be_moved_is_no_hindrance(
    interpreter: Probe, mounted: Path
) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    (mounted / f".{mounted.name}.new-{dead.pid}" / "lib").mkdir(parents=True)
    (mounted / "bin").mkdir()
    (mounted / "bin" / "python").symlink_to("nowhere")
    made = venv.create(mounted, interpreter)
    assert ask(made.python)["prefix"] == str(mounted)
    (mounted / "thesis.txt").write_text("years of work")
    (mounted / "pyvenv.cfg").unlink()
    with pytest.raises(UsageError, match="is no virtual environment"):
        venv.create(mounted, interpreter)
    (mounted / f".{mounted.name}.new-{dead.pid}").mkdir()  # also where another kill left something beside it
    with pytest.raises(UsageError, match="is no virtual environment"):
        venv.create(mounted, interpreter)
    assert (mounted / "thesis.txt").exists()


def test_an_interpreter_that_cannot_be_reached_is_told_with_why(interpreter: Probe, tmp_path: Path) -> None:
    made = venv.create(tmp_path / "e", interpreter)
    made.python.unlink()
    made.python.symlink_to("/" + 300 * "x")  # as of a directory of somebody else's, nobody can say whether it is there
    assert made.is_broken
    with pytest.raises(ZephyrError, match=r"environment .* cannot be reached \(File name too long\)"):
        venv.open_environment(made.path)


def test_a_link_that_leads_nowhere_is_told_as_one(interpreter: Probe, tmp_path: Path) -> None:
    (tmp_path / "e").symlink_to(tmp_path / "gone")
    with pytest.raises(UsageError, match=f"is a link to {tmp_path / 'gone'}, which is not there"):
        venv.create(tmp_path / "e", interpreter)
    assert (tmp_path / "e").is_symlink()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """As a container has volumes."""
    with small_file_system(tmp_path / "volume", "size=8m") as place:
        yield place
