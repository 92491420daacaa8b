"""Plans: the same for the same wheels, every file in its place, and who wins where two want one path."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from p2pcdn.envs.errors import CannotPlan
from p2pcdn.envs.listing import Entry, EntryPoint, Listing
from p2pcdn.envs.plan import Plan
from p2pcdn.envs.planning import ReadyWheel, make_plan
from p2pcdn.envs.scheme import Scheme

LINUX = Scheme.of_venv("3.11")
WINDOWS = Scheme.of_venv("3.11", windows=True)
MAC = Scheme.of_venv("3.11", folds_case=True)
SITE = "lib/python3.11/site-packages"


def wheel(
    project: str, *paths: str, points: tuple[EntryPoint, ...] = (), purelib: bool = True, **more: object
) -> ReadyWheel:
    """Each path is "path", or "path=content"; `.data` paths are placed as in a wheel."""
    from p2pcdn.envs.wheel import place

    entries = []
    for path in sorted(paths):
        path, _, content = path.partition("=")
        part, below = place(path)
        script = "python" if content.startswith("#!python") else ""
        entries.append(Entry(path, len(content), f"hash of {content or path}", False, part, below, script))  # type: ignore[arg-type]
    info = f"{project.replace('-', '_')}-1.0.dist-info"
    listing = Listing(project, "1.0", info, purelib, ("py3-none-any",), tuple(entries), points)
    return ReadyWheel(listing, f"{project}-1.0-py3-none-any.whl", "0" * 64, **more)  # type: ignore[arg-type]


def linked(plan: Plan) -> dict[str, str]:
    """target -> "wheel:source" of every link."""
    return {
        one.target + name: f"{plan.wheels[one.wheel].project}:{one.source}{name}"
        for one in plan.links
        for name in one.names
    }


def record(plan: Plan, project: str) -> str:
    number = next(at for at, one in enumerate(plan.wheels) if one.project == project)
    return next(one.rows for one in plan.records if one.wheel == number)


def test_every_part_goes_to_its_place() -> None:
    demo = wheel(
        "Demo.X", "demo/a.py", *(f"demo-1.0.data/{part}/f" for part in ("purelib", "platlib", "headers", "data"))
    )
    plan = make_plan([demo], LINUX)
    assert linked(plan) == {
        f"{SITE}/demo/a.py": "Demo.X:demo/a.py",
        f"{SITE}/f": "Demo.X:demo-1.0.data/purelib/f",
        "include/site/python3.11/demo-x/f": "Demo.X:demo-1.0.data/headers/f",
        "f": "Demo.X:demo-1.0.data/data/f",
    }
    assert "lib/python3.11/site-packages/demo" in plan.directories
    assert list(plan.directories) == sorted(plan.directories)


def test_scripts_are_written_and_other_programs_linked() -> None:
    demo = wheel(
        "demo",
        "demo-1.0.data/scripts/run=#!python\n",
        "demo-1.0.data/scripts/tool=ELF",
        points=(EntryPoint("go", "demo.main", "App.run"), EntryPoint("win", "demo", "gui", gui=True)),
    )
    plan = make_plan([demo], LINUX)
    assert linked(plan) == {"bin/tool": "demo:demo-1.0.data/scripts/tool"}
    assert [(one.path, one.kind, one.value, one.recorded) for one in plan.scripts] == [
        ("bin/go", "console", "demo.main:App.run", "../../../bin/go"),
        ("bin/run", "file", "demo-1.0.data/scripts/run", "../../../bin/run"),
        ("bin/win", "gui", "demo:gui", "../../../bin/win"),
    ]
    on_windows = make_plan([demo], WINDOWS)
    assert on_windows.scripts[0].recorded == "../../Scripts/go.exe"
    assert "Scripts/go.exe" in set(on_windows.paths())


def test_the_same_wheels_give_the_same_bytes_and_they_come_back() -> None:
    wheels = [wheel("a", "a/x.py", "é/ü.py", requested=True, direct_url='{"url": "file:///a"}'), wheel("b", "b.py")]
    plan = make_plan(wheels, LINUX)
    assert make_plan(list(wheels), LINUX).encode() == plan.encode()
    again = Plan.decode(plan.encode())
    again._encoded = b""
    assert again.encode() == plan.encode()
    assert again.digest() == plan.digest() != make_plan(wheels[:1], LINUX).digest()
    for bad in (b"{}", b"[]", b'{"format": 1}', b"nothing"):
        with pytest.raises(ValueError):
            Plan.decode(bad)


def test_what_installers_note_is_written_and_recorded() -> None:
    plan = make_plan([wheel("a", "a.py", requested=True, direct_url="{}")], LINUX, installer="zephyr")
    info = f"{SITE}/a-1.0.dist-info"
    assert [(one.path, one.text) for one in plan.writes] == [
        (f"{info}/INSTALLER", "zephyr\n"),
        (f"{info}/REQUESTED", ""),
        (f"{info}/direct_url.json", "{}"),
    ]
    assert plan.records[0].base == "a-1.0.dist-info/RECORD"
    assert [row.split(",")[0] for row in plan.records[0].rows.splitlines()] == [
        "a-1.0.dist-info/INSTALLER",
        "a-1.0.dist-info/REQUESTED",
        "a-1.0.dist-info/direct_url.json",
    ]


def test_what_a_wheel_says_of_its_own_installation_is_not_taken() -> None:
    plan = make_plan([wheel("a", "a.py", "a-1.0.dist-info/INSTALLER", "a-1.0.dist-info/REQUESTED")], LINUX)
    assert list(linked(plan)) == [f"{SITE}/a.py"]
    assert record(plan, "a").count("INSTALLER") == 1
    assert "REQUESTED" not in record(plan, "a")


def test_of_two_that_bring_one_path_the_later_wins_and_it_is_told() -> None:
    plan = make_plan([wheel("jupyter", "jupyter.py=old"), wheel("jupyter-core", "jupyter.py=new", "core.py")], LINUX)
    assert linked(plan)[f"{SITE}/jupyter.py"] == "jupyter-core:jupyter.py"
    assert plan.told() == [
        f"{SITE}/jupyter.py is in jupyter 1.0 and in jupyter-core 1.0, and not the same: jupyter-core 1.0's was taken."
    ]
    assert "jupyter.py" not in record(plan, "jupyter")
    assert plan.records[0].base == ""
    assert plan.records[1].base == "jupyter_core-1.0.dist-info/RECORD"


def test_the_same_file_of_two_is_no_conflict_and_both_record_it() -> None:
    plan = make_plan([wheel("a", "ns/__init__.py=x"), wheel("b", "ns/__init__.py=x")], LINUX)
    assert plan.told() == []
    assert [one.base for one in plan.records] == ["a-1.0.dist-info/RECORD", "b-1.0.dist-info/RECORD"]
    assert list(linked(plan)) == [f"{SITE}/ns/__init__.py"]


def test_a_directory_wins_over_a_file_of_its_name() -> None:
    plan = make_plan([wheel("a", "x/y.py"), wheel("b", "x")], LINUX)
    assert list(linked(plan)) == [f"{SITE}/x/y.py"]
    assert plan.told()[0].endswith("a 1.0's was taken.")


def test_names_that_differ_by_case_are_one_file_where_case_does_not_count() -> None:
    wheels = [wheel("a", "Mod.py=a"), wheel("b", "mod.py=b")]
    assert len(linked(make_plan(wheels, LINUX))) == 2
    assert list(linked(make_plan(wheels, MAC))) == [f"{SITE}/mod.py"]


def test_one_entry_point_of_two_wheels_is_written_once() -> None:
    point = EntryPoint("go", "demo", "main")
    same = make_plan([wheel("a", points=(point,)), wheel("b", points=(point,))], LINUX)
    assert [(one.path, one.wheel) for one in same.scripts] == [("bin/go", 1)]
    assert not same.conflicts
    other = dataclasses.replace(point, module="other")
    assert len(make_plan([wheel("a", points=(point,)), wheel("b", points=(other,))], LINUX).conflicts) == 1


def test_byte_code_goes_where_its_source_went_and_nowhere_else() -> None:
    code = ("m/__pycache__/a.cpython-311.pyc", "__pycache__/top.cpython-311.opt-1.pyc")
    first = wheel("a", "m/a.py=1", "top.py=1", bytecode=code)
    plan = make_plan([first, wheel("b", "top.py=2")], LINUX)
    assert f"{SITE}/m/__pycache__/a.cpython-311.pyc" in linked(plan)
    assert f"{SITE}/__pycache__/top.cpython-311.opt-1.pyc" not in linked(plan)
    assert [one.origin for one in plan.links if one.target.endswith("__pycache__/")] == ["bytecode"]
    assert "m/__pycache__/a.cpython-311.pyc,,\n" in record(plan, "a")


@pytest.mark.parametrize(
    "path",
    [
        "a-1.0.data/data/pyvenv.cfg",
        "a-1.0.data/scripts/python",
        "a-1.0.data/scripts/python3.11",
        "a-1.0.data/data/.zephyr/x",
        "a-1.0.data/scripts/activate.fish",
        "a-1.0.data/data/bin/python3",
    ],
)
def test_what_makes_an_environment_is_not_replaced(path: str) -> None:
    with pytest.raises(CannotPlan, match=r"a 1.0 would replace .* of the environment itself"):
        make_plan([wheel("a", path)], LINUX)


def test_a_wheel_writes_into_no_other_ones_metadata() -> None:
    with pytest.raises(CannotPlan, match="which is another project's"):
        make_plan([wheel("a", "a-1.0.data/purelib/b-1.0.dist-info/RECORD"), wheel("b")], LINUX)


def test_one_project_is_there_once() -> None:
    with pytest.raises(CannotPlan, match="A_b is there twice"):
        make_plan([wheel("a-b"), wheel("A_b")], LINUX)


@pytest.mark.parametrize("name", ["aux.py", "a:b.py", "dot.", "what?.py", "x/con/y.py"])
def test_what_windows_cannot_have_is_said_for_windows_only(name: str) -> None:
    make_plan([wheel("a", name)], LINUX)
    with pytest.raises(CannotPlan, match="which Windows cannot have"):
        make_plan([wheel("a", name)], WINDOWS)


def test_a_scheme_travels_as_plain_values() -> None:
    for scheme in (LINUX, WINDOWS, MAC, Scheme.of_target("3.12")):
        assert Scheme(**scheme.as_dict()) == scheme  # type: ignore[arg-type]
        assert hash(Scheme(**scheme.as_dict())) == hash(scheme)  # type: ignore[arg-type]
    assert LINUX != WINDOWS


def test_a_plan_for_a_target_directory_has_no_site_packages() -> None:
    plan = make_plan([wheel("a", "a.py", "a-1.0.data/data/share/x")], Scheme.of_target("3.12"))
    assert set(linked(plan)) == {"a.py", "share/x"}
    assert plan.records[0].path == "a-1.0.dist-info/RECORD"


def test_the_hot_half_of_the_room_imports_little() -> None:
    """zephyr's start may take 40 ms: the modules that it runs import neither dataclasses nor typing, nor anything of
    others.
    """
    import subprocess
    import sys

    hot = [
        "scheme",
        "plan",
        "parts",
        "install",
        "link",
        "generations",
        "change",
        "places",
        "history",
        "swap",
        "carried",
        "held",
        "lock_file",
    ]
    code = f"import {', '.join(f'p2pcdn.envs.{name}' for name in hot)}; import sys; print(*sorted(sys.modules))"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(root)!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert not loaded & {
        "dataclasses",
        "typing",
        "inspect",
        "pathlib",
        "shutil",
        "tempfile",
        "ctypes",
        "hashlib",
        "blake3",
    }
    ours = {name for name in loaded if name.startswith("p2pcdn")}
    assert ours == {
        "p2pcdn",
        "p2pcdn.errors",
        "p2pcdn.envs",
        "p2pcdn.envs.errors",
        *(f"p2pcdn.envs.{name}" for name in hot),
    }
