"""Sources become wheels in a real sandbox: what a build is given, what is kept, and what is said when it fails."""

from __future__ import annotations

import ast
import errno
import json
import os
import zipfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from p2pcdn.build import Environment, Options, Sdist, Tree, hooks
from p2pcdn.digest import Sha256
from p2pcdn.errors import BuildFailed, DigestMismatch, NotFound, SandboxUnusable
from p2pcdn.resolve import NoSolution
from p2pcdn.sandbox import probe
from p2pcdn_daemon.doors.processes import RealProcess, RealProcesses
from tests.build.conftest import PYTHON, Yard
from tests.build.makers import PYPROJECT, TINY, DirectoryShelf, sdist, wheel
from tests.sandbox.programs import IS_ROOT


async def test_an_sdist_becomes_a_wheel_and_the_same_inputs_are_not_built_twice(yard: Yard) -> None:
    source = sdist(yard.place, {})
    builder = yard.builder()
    built = await builder.wheel(source, PYTHON)
    assert (built.wheel.name, built.kept, built.bare_because, built.pins) == (
        "demo-1.0-py3-none-any.whl",
        False,
        None,
        ("tiny==1.0",),
    )
    assert "demo.py" in zipfile.ZipFile(built.wheel).namelist()
    again = await builder.wheel(source, PYTHON)
    assert (again.wheel, again.key, again.kept) == (built.wheel, built.key, True)
    assert yard.left_behind() == []


async def test_what_changes_the_wheel_changes_the_key(yard: Yard) -> None:
    builder, source = yard.builder(), sdist(yard.place, {})
    keys = [(await builder.wheel(source, PYTHON)).key]
    keys.append((await builder.wheel(source, PYTHON, Options(settings={"a": "b"}))).key)
    keys.append((await builder.wheel(source, PYTHON, Options(environment={"CFLAGS": "-O0"}))).key)
    wheel(yard.wheels, "tiny", {"tiny.py": TINY}, "1.1")
    keys.append((await builder.wheel(source, PYTHON)).key)
    assert len(set(keys)) == 4


async def test_a_backend_gets_what_it_asks_for_when_it_is_asked(yard: Yard) -> None:
    source = sdist(yard.place, {"requires.txt": "extra", "build.py": "import extra; assert extra.HERE"})
    built = await yard.builder().wheel(source, PYTHON)
    assert yard.environments.asked == [("tiny",), ("tiny", "extra")]
    assert built.pins == ("extra==1.0", "tiny==1.0")


async def test_a_build_sees_its_variables_and_settings_and_nobody_elses(yard: Yard) -> None:
    os.environ["SECRET_TOKEN"] = "secret"
    code = """
        import os, json
        open("src/seen.json", "w").write(json.dumps([dict(os.environ), settings, os.getcwd(), os.getuid()]))
    """
    source = sdist(yard.place, {"build.py": "\n".join(line.strip() for line in code.splitlines())})
    options = Options(settings={"level": ["1", "2"]}, environment={"CFLAGS": "-O2"}, source_date_epoch=1_700_000_000)
    try:
        built = await yard.builder().wheel(source, PYTHON, options)
    finally:
        del os.environ["SECRET_TOKEN"]
    environment, settings, directory, uid = json.loads(zipfile.ZipFile(built.wheel).read("seen.json"))
    assert "SECRET_TOKEN" not in environment
    assert (environment["CFLAGS"], environment["SOURCE_DATE_EPOCH"]) == ("-O2", "1700000000")
    assert (settings, directory, uid) == ({"level": ["1", "2"]}, "/scratch/source", 1000)


async def test_metadata_comes_without_a_build_where_the_backend_can(yard: Yard) -> None:
    source = sdist(yard.place, {"pyproject.toml": PYPROJECT.replace("tiny", "preparing"), "build.py": "1/0"})
    assert await yard.builder().metadata(source, PYTHON) == b"Name: demo, unbuilt\n"


async def test_metadata_comes_out_of_the_wheel_where_the_backend_cannot_and_the_wheel_is_kept(yard: Yard) -> None:
    source = sdist(yard.place, {})
    assert b"Name: demo\n" in await yard.builder().metadata(source, PYTHON)
    assert (await yard.builder().wheel(source, PYTHON)).kept


async def test_a_tree_is_copied_without_what_is_no_source(yard: Yard) -> None:
    tree = yard.place / "tree"
    for directory in ("src", "__pycache__", "my-environment", "node_modules"):
        (tree / directory).mkdir(parents=True)
    for name, text in {"name.txt": "demo 1.0", "pyproject.toml": PYPROJECT, "src/demo.py": ""}.items():
        (tree / name).write_text(text)
    (tree / "my-environment" / "pyvenv.cfg").touch()
    (tree / "build.py").write_text("import os; open('src/seen.txt', 'w').write(' '.join(sorted(os.listdir('.'))))")
    builder = yard.builder()
    built = await builder.wheel(Tree(tree), PYTHON)
    assert zipfile.ZipFile(built.wheel).read("seen.txt") == b"build.py name.txt pyproject.toml src"
    assert not (tree / "src" / "seen.txt").exists()
    assert (await builder.wheel(Tree(tree), PYTHON)).kept
    (tree / "src" / "demo.py").write_text("changed")
    assert not (await builder.wheel(Tree(tree), PYTHON)).kept


async def test_a_project_may_lie_deeper_in_its_tree(yard: Yard) -> None:
    files = {"name.txt": "demo 1.0", "pyproject.toml": PYPROJECT, "src/demo.py": ""}
    source = sdist(yard.place, {f"deep/er/{name}": text for name, text in files.items()} | {"pyproject.toml": "broken"})
    built = await yard.builder().wheel(source, PYTHON, Options(subdirectory="deep/er"))
    assert built.wheel.name == "demo-1.0-py3-none-any.whl"
    for way_out in ("../..", "nowhere"):
        with pytest.raises(BuildFailed, match=way_out):
            await yard.builder().wheel(source, PYTHON, Options(subdirectory=way_out))


async def test_a_backend_in_the_tree_is_found_by_its_path_only(yard: Yard) -> None:
    pyproject = '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["tools"]\n'
    source = sdist(yard.place, {"pyproject.toml": pyproject, "tools/own.py": TINY})
    assert (await yard.builder().wheel(source, PYTHON)).pins == ()
    elsewhere = pyproject.replace('"own"', '"tiny"').replace("requires = []", 'requires = ["tiny"]')
    with pytest.raises(BuildFailed, match="'tiny' does not lie in its backend-path"):
        await yard.builder().wheel(sdist(yard.place, {"pyproject.toml": elsewhere, "tools/x.py": ""}), PYTHON)


async def test_an_editable_wheel_is_built_in_the_tree_itself(yard: Yard) -> None:
    tree = yard.place / "tree"
    (tree / "src").mkdir(parents=True)
    for name, text in {"name.txt": "demo 1.0", "pyproject.toml": PYPROJECT.replace("tiny", "tinier")}.items():
        (tree / name).write_text(text)
    if IS_ROOT:
        for path in (tree, *tree.rglob("*")):
            os.chown(path, 1234, 1234)
    built = await yard.builder().editable(Tree(tree), PYTHON)
    assert built.wheel.name == "demo-1.0-py3-none-any.whl"
    assert (tree / "built-in-place.txt").read_text() == str(tree)
    assert (tree / "built-in-place.txt").stat().st_uid == tree.stat().st_uid
    # The work that it does in the tree is done each time.
    (tree / "built-in-place.txt").unlink()
    assert not (await yard.builder().editable(Tree(tree), PYTHON)).kept
    assert (tree / "built-in-place.txt").exists()


async def test_a_tree_that_is_built_in_place_keeps_what_its_backend_leaves_but_its_repository_is_no_place_for_it(
    yard: Yard,
) -> None:
    tree = yard.place / "tree"
    (tree / "src").mkdir(parents=True)
    (tree / ".git").mkdir()
    build = (
        "import os; open('left.txt', 'a').write(os.getcwd() + '|')\ntry: open('.git/hook', 'w')\nexcept OSError: pass"
    )
    for name, text in {"name.txt": "demo 1.0", "pyproject.toml": PYPROJECT, "build.py": build}.items():
        (tree / name).write_text(text)
    if IS_ROOT:
        await yard.builder().wheel(Tree(tree, in_place=True), PYTHON)
        assert not (tree / "left.txt").exists()  # a tree of root's is copied, as without the word
        for path in (tree, *tree.rglob("*")):
            os.chown(path, 1234, 1234)
    for also in ((), (tree, tree / "src")):  # it may be installed there, editable: then it is on its own path
        yard.environments.also = also
        assert not (await yard.builder().wheel(Tree(tree, in_place=True), PYTHON)).kept
    assert (tree / "left.txt").read_text() == f"{tree}|{tree}|"
    assert list((tree / ".git").iterdir()) == []


async def test_a_build_in_place_makes_no_repository_and_writes_into_none_that_lies_below(yard: Yard) -> None:
    tree = yard.place / "tree"
    (tree / "inner" / ".git").mkdir(parents=True)
    (tree / "src").mkdir()
    build = (
        "import os\n"
        "for one in ('.git', 'new/.git'): os.makedirs(one + '/hooks'); open(one + '/hooks/post-checkout', 'w')\n"
        "os.makedirs('linked'); open('linked/.git', 'w').write('gitdir: ../src')\n"
        "os.makedirs('env/below/.git'); open('env/pyvenv.cfg', 'w')\n"
        "try: open('inner/.git/config', 'w')\nexcept OSError: pass"
    )
    for name, text in {"name.txt": "demo 1.0", "pyproject.toml": PYPROJECT, "build.py": build}.items():
        (tree / name).write_text(text)
    if IS_ROOT:
        for path in (tree, *tree.rglob("*")):
            os.chown(path, 1234, 1234)
    built = await yard.builder().wheel(Tree(tree, in_place=True), PYTHON)
    assert [str(one.relative_to(tree)) for one in tree.rglob(".git")] == ["inner/.git"]
    assert list((tree / "inner" / ".git").iterdir()) == []
    assert built.log is not None
    assert f"{tree}/.git was not there before the build; it is .git-aside-1 now." in built.log.read_text()
    assert (tree / ".git-aside-1" / "hooks" / "post-checkout").exists(), "it might be the user's own"


async def test_a_build_in_place_writes_into_no_environment_that_lies_in_the_tree(yard: Yard) -> None:
    tree, environment = yard.place / "tree", yard.place / "tree" / ".venv"
    (environment / "lib").mkdir(parents=True)
    (tree / "src").mkdir()
    (environment / "pyvenv.cfg").write_text("home = /usr/bin\n")
    stored = yard.place / "stored.py"
    stored.write_text("of a wheel")
    (environment / "lib" / "linked.py").hardlink_to(stored)  # as an environment shares files with the node's store
    build = (
        "import os\nfile = '.venv/lib/linked.py'\n"
        "try: os.chmod(file, 0o644); open(file, 'w').write('of an attacker')\nexcept OSError: pass\n"
        "try: os.rename('.venv', 'moved')\nexcept OSError: pass"
    )
    for name, text in {"name.txt": "demo 1.0", "pyproject.toml": PYPROJECT, "build.py": build}.items():
        (tree / name).write_text(text)
    if IS_ROOT:
        for path in (tree, *tree.rglob("*")):
            os.chown(path, 1234, 1234)
    await yard.builder().wheel(Tree(tree, in_place=True), PYTHON)
    assert stored.read_text() == "of a wheel"
    assert environment.is_dir()


async def test_a_tree_of_the_group_of_root_is_built_as_any_other(yard: Yard) -> None:
    if not IS_ROOT:
        pytest.skip("only root has trees of others in its own group")
    tree = yard.place / "tree"
    tree.mkdir()
    for name, text in {"name.txt": "demo 1.0", "pyproject.toml": PYPROJECT}.items():
        (tree / name).write_text(text)
    for path in (tree, *tree.rglob("*")):
        os.chown(path, 1234, 0)
    await yard.builder().wheel(Tree(tree, in_place=True), PYTHON)


async def test_an_editable_build_of_a_tree_of_roots_is_refused_to_root(yard: Yard) -> None:
    if not IS_ROOT:
        pytest.skip("only root has trees of root's")
    tree = yard.place / "tree"
    tree.mkdir()
    (tree / "pyproject.toml").write_text(PYPROJECT)
    with pytest.raises(SandboxUnusable, match="belongs to root, and a sandbox for an editable build runs as"):
        await yard.builder().editable(Tree(tree), PYTHON)


async def test_a_build_that_fails_is_told_with_its_last_lines_and_its_log(yard: Yard) -> None:
    fails = "print('compiling'); print(999 * 'm'); raise RuntimeError('no \\x1b[31mheader')"
    source = sdist(yard.place, {"build.py": fails})
    with pytest.raises(BuildFailed) as caught:
        await yard.builder().wheel(source, PYTHON)
    error = caught.value
    assert str(error) == (
        "demo-1.0.tar.gz could not be built: build_wheel of its backend tiny failed: RuntimeError: no  [31mheader."
        f" What it wrote is in {error.log}."
    )
    assert error.output.splitlines()[:2] == ["compiling", 300 * "m" + "..."]
    assert "\x1b" not in error.output
    assert error.log is not None
    assert b"Traceback" in error.log.read_bytes()
    assert yard.left_behind() == []
    assert not list(yard.place.glob("shelf/*"))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"pyproject.toml": "[build-system]\nbuild-backend = 'tiny'"}, r"its \[build-system\] has no `requires`"),
        ({"pyproject.toml": "[build-system"}, "its pyproject.toml cannot be read"),
        ({"pyproject.toml": "# " * 2_100_000}, "is no file, or has more than 4.2 MB"),
        ({"pyproject.toml": PYPROJECT.replace('"tiny"\n', '"tinny"\n')}, "its backend 'tinny' cannot be imported"),
        ({"requires.txt": "not//a//requirement"}, "its build requirement 'not//a//requirement' cannot be read"),
        ({"name.txt": "other 1.0"}, "its backend made 'other-1.0-py3-none-any.whl', the wheel of another project"),
        ({"build.py": "import sys; sys.exit(3)"}, r"it ended by SystemExit\(3\)"),
        (
            {"build.py": "import sys; sys.exit('error: two modules.\\n\\nMore.')"},
            r"tiny failed: error: two modules\. What it",
        ),
        ({"build.py": "raise Exception('No header.')"}, r"Exception: No header\. What it"),
        ({"build.py": "raise Exception(1000 * 'm')"}, r"Exception: m{289}\.\.\.\. What it"),
        ({"build.py": "import os; os._exit(9)"}, "build_wheel of its backend tiny ended with exit code 9"),
        ({"build.py": "import os; os.kill(os.getpid(), 11)"}, "was ended by SIGSEGV"),
        (
            {"build.py": "open('name.txt', 'w').write('../up 1.0')"},
            "said that it made 'up-1.0-py3-none-any.whl', and it did not",
        ),
    ],
)
async def test_each_failure_has_its_sentence(yard: Yard, files: dict[str, str], said: str) -> None:
    with pytest.raises(BuildFailed, match=said):
        await yard.builder().wheel(sdist(yard.place, files), PYTHON)


async def test_a_backend_without_the_hook_is_told(yard: Yard) -> None:
    tree = yard.place / "tree"
    tree.mkdir()
    (tree / "pyproject.toml").write_text(PYPROJECT)
    if IS_ROOT:
        os.chown(tree, 1234, 1234)
    with pytest.raises(BuildFailed, match="its backend tiny has no build_editable"):
        await yard.builder().editable(Tree(tree), PYTHON)


async def test_requirements_that_cannot_be_had_say_for_what_they_were(yard: Yard) -> None:
    source = sdist(yard.place, {"pyproject.toml": PYPROJECT.replace('["tiny"]', '["nowhere>=3"]')})
    with pytest.raises(NotFound, match="no wheel for nowhere>=3") as caught:
        await yard.builder().wheel(source, PYTHON)
    assert caught.value.__notes__ == ["This was for the build of demo-1.0.tar.gz, which needs nowhere>=3."]


async def test_requirements_of_a_build_that_do_not_fit_are_no_contradiction_of_the_users(yard: Yard) -> None:
    async def make_environment(requirements: tuple[str, ...], python: Path) -> Environment:
        raise NoSolution(("Because you require tiny and there is no tiny, your requirements cannot all be met.",))

    yard.environments = make_environment  # type: ignore[assignment]
    with pytest.raises(BuildFailed, match=r"demo-1.0.tar.gz could not be built: no versions fit .* \(tiny\)\. Because"):
        await yard.builder().wheel(sdist(yard.place, {}), PYTHON)


async def test_a_requirement_that_cannot_be_built_speaks_for_itself(yard: Yard) -> None:
    failure = BuildFailed("other-1.0.tar.gz could not be built: no compiler.", output="cc: not found")

    async def make_environment(requirements: tuple[str, ...], python: Path) -> Environment:
        raise failure

    yard.environments = make_environment  # type: ignore[assignment]
    with pytest.raises(BuildFailed) as caught:
        await yard.builder().wheel(sdist(yard.place, {}), PYTHON)
    assert caught.value is failure
    assert failure.__notes__ == ["This was for the build of demo-1.0.tar.gz, which needs tiny."]


async def test_an_sdist_with_other_bytes_is_not_even_unpacked(yard: Yard) -> None:
    source = sdist(yard.place, {})
    with pytest.raises(DigestMismatch, match="nothing was kept"):
        await yard.builder().wheel(Sdist(source.path, Sha256.of(b"other")), PYTHON)


async def test_an_interpreter_that_does_not_run_is_told(yard: Yard) -> None:
    with pytest.raises(BuildFailed, match="could not be built: the interpreter /bin/false does not run"):
        await yard.builder().wheel(sdist(yard.place, {}), Path("/bin/false"))


class Counting(RealProcesses):
    """Knows how many sandboxes were open at once."""

    now, most = 0, 0

    @asynccontextmanager
    async def open(
        self, argv: Sequence[str], environment: Mapping[str, str], directory: Path | None = None
    ) -> AsyncIterator[RealProcess]:
        sandboxes = int("p2pcdn.sandbox.launcher" in " ".join(argv))
        self.now += sandboxes
        self.most = max(self.most, self.now)
        async with super().open(argv, environment, directory) as process:
            yield process
        self.now -= sandboxes


async def test_builds_run_at_once_and_no_more_than_the_bound_allows(yard: Yard) -> None:
    yard.processes = counting = Counting()
    builder = yard.builder(at_once_max=2)
    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(builder.wheel, sdist(yard.place, {}, name=f"demo{number}"), PYTHON)
    assert counting.most == 2
    assert len(list(yard.place.glob("shelf/*/*.whl"))) == 4


async def test_a_full_disk_is_told_in_a_sentence(yard: Yard) -> None:
    class Full(DirectoryShelf):
        async def keep(self, key: Sha256, wheel: Path) -> Path:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(wheel))

    yard.shelf = Full(yard.place / "shelf")
    with pytest.raises(BuildFailed, match=r"could not be built: No space left on device .*\.$"):
        await yard.builder().wheel(sdist(yard.place, {}), PYTHON)
    assert yard.left_behind() == []


async def test_what_a_killed_node_left_is_tidied_up_and_logs_stay(yard: Yard) -> None:
    workshop = yard.place / "workshop"
    for name in ("work-0123abcd/source", "logs"):
        (workshop / name).mkdir(parents=True)
    (workshop / "logs" / "demo.log").touch()
    await yard.builder().tidy()
    assert [path.name for path in workshop.rglob("*")] == ["logs", "demo.log"]


async def test_an_impatient_caller_leaves_nothing_behind(yard: Yard) -> None:
    source = sdist(yard.place, {"build.py": "import time; time.sleep(1000)"})
    with trio.move_on_after(1.5) as scope:
        await yard.builder().wheel(source, PYTHON)
    assert scope.cancelled_caught
    assert yard.left_behind() == []


@pytest.mark.parametrize("program", [hooks._PROGRAM, probe._PROGRAM], ids=lambda program: program.name)
def test_what_runs_inside_is_written_for_python_3_8(program: Path) -> None:
    ast.parse(program.read_text(), feature_version=(3, 8))
