"""Python's rules on small worlds: extras, markers, pre-releases, yanked versions, URLs, constraints, preferences."""

from __future__ import annotations

from dataclasses import replace

import pytest
from packaging.markers import Marker

from p2pcdn.lock.targets import matrix
from p2pcdn.resolve import BadRequirement, Edge, Metadata, NoSolution, Prereleases, Release, Source, Target, Wanted
from p2pcdn.resolve.requirement import Markers
from tests.resolve.universe import LINUX_311, Universe, pins, universe

URL = "https://host.example/b-7.0-py3-none-any.whl"


def test_an_extra_brings_what_it_adds_and_keeps_the_version_of_its_project() -> None:
    world = universe({"a": {"1": [], "2": []}, "a[x]": {"1": ["b"], "2": ["b>=9"]}, "b": {"1": []}})
    solution = world.solve(["a[x]"])
    assert pins(solution) == {"a": "1", "b": "1"}
    assert solution.pins[0].extras == ("x",)
    assert Edge("a", "x", "b", 'b; extra == "x"') in solution.edges


def test_two_extras_of_one_project_stand_on_one_version() -> None:
    world = universe(
        {
            "a": {"1": [], "2": [], "3": []},
            "a[x]": {"1": [], "2": [], "3": ["c<2"]},
            "a[y]": {"1": [], "2": ["c<2"], "3": []},
            "c": {"1": [], "2": []},
        }
    )
    solution = world.solve(["a[x]", "a[y]", "c>=2"])
    assert pins(solution) == {"a": "1", "c": "2"}
    assert solution.pins[0].extras == ("x", "y")


def test_an_extra_may_name_another_extra_of_its_own_project() -> None:
    world = universe({"a": {"1": []}, "a[all]": {"1": ["a[x]"]}, "a[x]": {"1": ["b"]}, "b": {"1": []}})
    solution = world.solve(["a[all]"])
    assert pins(solution) == {"a": "1", "b": "1"}
    assert solution.pins[0].extras == ("all", "x")


def test_an_extra_that_does_not_exist_is_left_out_with_a_warning() -> None:
    solution = universe({"a": {"1": []}}).solve(["a[nope]"])
    assert solution.pins[0].extras == ()
    assert solution.warnings == ("a 1 has no extra 'nope'; it is left out.",)


@pytest.mark.parametrize(
    ("marker", "there"),
    [
        ("sys_platform == 'linux'", True),
        ("sys_platform == 'win32'", False),
        ("python_version < '3.8'", False),
        ("python_full_version >= '3.11.2' and os_name == 'posix'", True),
        ("extra == 'x'", False),
    ],
)
def test_a_requirement_counts_where_its_marker_holds(marker: str, there: bool) -> None:
    world = universe({"a": {"1": [f"b; {marker}"]}, "b": {"1": []}})
    assert ("b" in pins(world.solve(["a"]))) == there


def test_names_and_extras_are_compared_normalized() -> None:
    world = universe({"a-b": {"1": []}, "c": {"1": []}})
    source = Source("a-b", "1")
    world.metadata[source] = Metadata(source, "1", ('C; extra == "Big_One"',), ("big-one",))
    assert pins(world.solve(["A_b[BIG.one]"])) == {"a-b": "1", "c": "1"}


def test_a_prerelease_is_no_choice_while_a_final_version_fits() -> None:
    assert pins(universe({"a": {"1": [], "2b1": []}}).solve(["a"])) == {"a": "1"}


@pytest.mark.parametrize("requirement", ["a>=2b1", "a==2b1", "a>1.dev1", "a>=1.5"])
def test_a_prerelease_is_taken_where_one_is_named_or_nothing_else_fits(requirement: str) -> None:
    assert pins(universe({"a": {"1": [], "2b1": []}}).solve([requirement])) == {"a": "2b1"}


def test_a_prerelease_that_a_dependency_names_is_taken() -> None:
    world = universe({"a": {"1": ["b==2a1"]}, "b": {"1": [], "2a1": []}, "c": {"1": ["b>=1"]}})
    assert pins(world.solve(["c", "a"])) == {"a": "1", "b": "2a1", "c": "1"}


def test_where_all_versions_are_prereleases_they_are_ordinary() -> None:
    assert pins(universe({"a": {"1a1": [], "1b1": []}}).solve(["a"])) == {"a": "1b1"}


def test_a_prerelease_does_not_step_in_for_finals_that_conflict() -> None:
    world = universe({"a": {"1": ["b<1"], "2b1": []}, "b": {"0": [], "1": []}})
    with pytest.raises(NoSolution) as none:
        world.solve(["a", "b>=1"])
    assert "nobody asks for pre-releases of a (a==2b1)" in " ".join(none.value.sentences)
    assert none.value.suggestion == "Allow pre-releases of a, or require one: a==2b1."
    assert pins(world.solve(Wanted(("a", "b>=1"), prerelease_projects=("A",)))) == {"a": "2b1", "b": "1"}


@pytest.mark.parametrize(("policy", "version"), [("allow", "2b1"), ("if-necessary", "1"), ("never", "1")])
def test_the_users_policy_on_prereleases_counts(policy: Prereleases, version: str) -> None:
    wanted = replace(Wanted(("a",)), prereleases=policy)
    assert pins(universe({"a": {"1": [], "2b1": []}}).solve(wanted)) == {"a": version}


def test_never_means_never_where_only_prereleases_fit() -> None:
    with pytest.raises(NoSolution):
        universe({"a": {"1": [], "2b1": []}}).solve(Wanted(("a>=2b1",), prereleases="never"))


def yanked() -> Universe:
    world = universe({"a": {"1": []}, "b": {"1": ["a==2"]}, "c": {"1": ["a>=1"]}})
    world.add("a", "2", yanked="eats files")
    return world


def test_a_yanked_version_is_no_choice() -> None:
    assert pins(yanked().solve(["a"])) == {"a": "1"}


@pytest.mark.parametrize("root", [["a==2"], ["a===2"], ["a>=1", "a==2"], ["b"], ["c", "b"]])
def test_a_yanked_version_is_taken_where_somebody_pins_it(root: list[str]) -> None:
    assert pins(yanked().solve(root))["a"] == "2"


@pytest.mark.parametrize("requirement", ["a>=2", "a==2.*"])
def test_a_yanked_version_is_not_taken_for_want_of_others(requirement: str) -> None:
    with pytest.raises(NoSolution) as none:
        yanked().solve([requirement])
    assert "nobody pins yanked versions of a (a==2)" in none.value.sentences[0]
    assert none.value.suggestion == "Require a==2 if you want it although it is yanked (eats files)."


def test_a_constraint_narrows_and_requires_nothing() -> None:
    world = universe({"a": {"1": ["b"]}, "b": {"1": [], "2": []}, "c": {"1": []}})
    assert pins(world.solve(Wanted(("a",), constraints=("b<2", "c==1")))) == {"a": "1", "b": "1"}


def test_a_constraint_that_nothing_meets_is_named() -> None:
    with pytest.raises(NoSolution) as none:
        universe({"a": {"1": ["b>=2"]}, "b": {"1": [], "2": []}}).solve(Wanted(("a",), constraints=("b<2",)))
    assert "your constraints say b<2" in none.value.sentences[0]
    assert none.value.requirements == ("b<2", "a") or set(none.value.requirements) == {"a", "b<2"}


def test_an_override_takes_the_place_of_what_everybody_says() -> None:
    world = universe({"a": {"1": ["b<2"]}, "b": {"1": [], "2": []}})
    solution = world.solve(Wanted(("a", "b<2"), overrides=("b>=2",)))
    assert pins(solution) == {"a": "1", "b": "2"}
    assert Edge("a", "", "b", "b>=2") in solution.edges


def test_an_override_whose_marker_does_not_hold_takes_the_requirement_away() -> None:
    world = universe({"a": {"1": ["b<2"]}})
    assert pins(world.solve(Wanted(("a",), overrides=("b; sys_platform == 'win32'",)))) == {"a": "1"}


def test_a_direct_url_gives_the_only_version_of_its_project() -> None:
    world = universe({"a": {"1": ["b>=2"]}, "b": {"9": []}, "c": {"1": []}})
    world.add_url("b", URL, "7.0", "c")
    solution = world.solve(["a", f"b @ {URL}"])
    assert pins(solution) == {"a": "1", "b": "7.0", "c": "1"}
    assert solution.pins[1].url == URL
    assert "b" not in {name for need in world.asked for name in need.tables}


def test_what_stands_at_a_url_may_name_another_url() -> None:
    world = Universe()
    world.add_url("a", "file:///src/a", "1.dev0", f"b @ {URL}")
    world.add_url("b", URL, "7.0")
    assert pins(world.solve(["b>=7", "a @ file:///src/a"])) == {"a": "1.dev0", "b": "7.0"}


def test_a_package_of_an_index_may_not_name_a_url_of_its_own() -> None:
    world = universe({"a": {"1": [], "2": [f"b @ {URL}"]}})
    world.add_url("b", URL, "7.0")
    assert pins(world.solve(["a"])) == {"a": "1"}
    with pytest.raises(NoSolution, match="only you may name a URL"):
        world.solve(["a==2"])
    assert pins(world.solve(["a==2", f"b @ {URL}"])) == {"a": "2", "b": "7.0"}


def test_two_urls_of_one_project_contradict_each_other() -> None:
    world = Universe()
    world.add_url("b", URL, "7.0")
    world.add_url("b", URL + "2", "7.0")
    with pytest.raises(NoSolution):
        world.solve([f"b @ {URL}", f"b @ {URL}2"])


def test_the_lowest_or_only_the_lowest_of_what_the_user_names() -> None:
    world = universe({"a": {"1": ["b"], "2": ["b"]}, "b": {"1": [], "2": []}})
    assert pins(world.solve(Wanted(("a",), prefer="lowest"))) == {"a": "1", "b": "1"}
    assert pins(world.solve(Wanted(("a",), prefer="lowest-direct"))) == {"a": "1", "b": "2"}


def test_versions_that_are_newer_than_the_user_wants_do_not_exist() -> None:
    world = Universe()
    world.add("a", "1", upload_time="2025-01-01T00:00:00Z")
    world.add("a", "2", upload_time="2026-01-01T00:00:00.5Z")
    world.add("a", "3")
    assert pins(world.solve(Wanted(("a",), exclude_newer="2026-01-01T00:00:00Z"))) == {"a": "1"}
    with pytest.raises(NoSolution, match="is not older than 2026"):
        world.solve(Wanted(("a>1",), exclude_newer="2026-01-01T00:00:00Z"))


def test_what_is_too_new_is_told_with_its_time_and_what_has_none_as_such() -> None:
    world = Universe()
    world.add("a", "1", upload_time="2025-01-01T00:00:00Z")
    world.add("a", "2", upload_time="2026-01-01T00:00:00Z")
    world.add("b", "1")
    with pytest.raises(NoSolution) as told:
        world.solve(Wanted(("a",), exclude_newer="2024-01-01T00:00:00Z"))
    assert told.value.suggestion == "Choose a later exclude-newer: a 1 is of 2025-01-01T00:00:00Z."
    with pytest.raises(NoSolution, match="b has no upload time that could be older than 2024") as told:
        world.solve(Wanted(("b",), exclude_newer="2024-01-01T00:00:00Z"))
    assert told.value.suggestion == "Choose without exclude-newer: the index does not say when b was uploaded."


def test_an_old_lock_is_kept_where_it_fits() -> None:
    world = universe({"a": {"1": ["b"], "2": ["b"]}, "b": {"1": [], "2": [], "3": []}})
    old = (("a", "1"), ("b", "2"), ("gone", "1"), ("b", "nonsense"))
    assert pins(world.solve(Wanted(("a",), preferences=old))) == {"a": "1", "b": "2"}
    assert pins(world.solve(Wanted(("a>1", "b!=2"), preferences=old))) == {"a": "2", "b": "3"}


def test_a_version_for_another_python_is_passed_over() -> None:
    world = universe({"a": {"1": []}})
    world.add("a", "2", requires_python=">=3.12")
    assert pins(world.solve(["a"])) == {"a": "1"}


def test_metadata_may_say_more_about_python_than_the_page() -> None:
    world = universe({"a": {"1": [], "2": []}})
    source = Source("a", "2")
    world.metadata[source] = Metadata(source, "2", requires_python="<3")
    assert pins(world.solve(["a"])) == {"a": "1"}


def test_a_requires_python_that_is_none_is_no_limit() -> None:
    world = Universe()
    world.add("a", "1", requires_python=">=3.6.*banana")
    assert pins(world.solve(["a"])) == {"a": "1"}


def test_a_version_without_files_for_this_platform_is_passed_over() -> None:
    world = universe({"a": {"1": []}})
    world.add("a", "2", sdist=False, tags=("cp311-cp311-win_amd64",))
    world.add("a", "3", sdist=False)
    assert pins(world.solve(["a"])) == {"a": "1"}
    with pytest.raises(NoSolution, match="no wheel for this platform and no sdist; 2 has cp311-cp311-win_amd64"):
        world.solve(["a==2"])
    assert pins(world.solve(["a"], replace(LINUX_311, tags=None))) == {"a": "2"}


@pytest.mark.parametrize("tags", ["py2.py3-none-any", "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64"])
def test_a_compressed_set_of_tags_fits_where_one_of_them_does(tags: str) -> None:
    world = Universe()
    world.add("a", "1", sdist=False, tags=(tags,))
    assert pins(world.solve(["a"])) == {"a": "1"}


def test_sdists_or_wheels_that_are_not_wanted_do_not_count() -> None:
    world = Universe()
    world.add("a", "1", tags=("py3-none-any",), sdist=False)
    world.add("a", "2", sdist=True)
    assert pins(world.solve(Wanted(("a",), only_binary=(":all:",)))) == {"a": "1"}
    assert pins(world.solve(Wanted(("a",), no_binary=("A",)))) == {"a": "2"}
    with pytest.raises(NoSolution, match="its wheels are not wanted"):
        world.solve(Wanted(("a==1",), no_binary=("a",)))


def test_broken_metadata_of_one_version_costs_that_version() -> None:
    world = universe({"a": {"1": [], "2": [], "3": ["b >> 1"]}})
    world.metadata[Source("a", "2")] = Metadata(Source("a", "2"), broken="its zip has no end")
    assert pins(world.solve(["a"])) == {"a": "1"}
    with pytest.raises(NoSolution, match="cannot be used: its zip has no end"):
        world.solve(["a==2"])
    with pytest.raises(NoSolution, match="'b >> 1' is not a requirement"):
        world.solve(["a==3"])


def test_a_dependency_that_nobody_has_costs_the_version_that_needs_it() -> None:
    world = universe({"a": {"1": [], "2": ["gone"]}})
    assert pins(world.solve(["a"])) == {"a": "1"}


def test_a_version_that_requires_another_version_of_itself_is_useless() -> None:
    world = universe({"a": {"1": ["a>=1"], "2": ["a<2"]}})
    assert pins(world.solve(["a"])) == {"a": "1"}


def test_strings_that_are_no_versions_do_not_exist() -> None:
    world = universe({"a": {"1": []}})
    world.add("a", "2004d-final")
    assert pins(world.solve(["a"])) == {"a": "1"}


def test_a_circle_of_requirements_is_no_problem() -> None:
    assert pins(universe({"a": {"1": ["b"]}, "b": {"1": ["a"]}}).solve(["a"])) == {"a": "1", "b": "1"}


def test_nothing_wanted_is_solved_by_nothing() -> None:
    assert Universe().solve([]).pins == ()


@pytest.mark.parametrize("wanted", [Wanted(("a b",)), Wanted((), ("a >> 1",)), Wanted((), (), ("",))])
def test_what_is_no_requirement_is_said_to_the_user(wanted: Wanted) -> None:
    with pytest.raises(BadRequirement, match="is not a requirement"):
        Universe().solve(wanted)


@pytest.mark.parametrize("marker", ["os_name ~= 'posix'", "'a' in 'b'"])
def test_a_marker_that_nothing_can_decide_is_said_to_the_user(marker: str) -> None:
    with pytest.raises(BadRequirement, match="is not a marker"):
        Universe().solve([f"a ; {marker}"])


def test_a_time_that_is_none_is_said_to_the_user() -> None:
    with pytest.raises(BadRequirement, match="'yesterday' is not a time"):
        Universe().solve(Wanted((), exclude_newer="yesterday"))


def test_a_target_names_its_python() -> None:
    assert Target.of({"python_full_version": "3.13.0rc1+"}).python == "3.13.0rc1+"
    assert pins(universe({"a": {"1": []}}).solve(["a"], Target.of({"python_full_version": "3.13.0rc1+"}))) == {"a": "1"}


def test_two_spellings_of_one_version_are_not_confused() -> None:
    world = Universe()
    world.add("a", "1.0")
    world.add("a", "1.0.0", "b")
    world.tables["a"] = replace(world.tables["a"], releases=(*reversed(world.tables["a"].releases), Release("0")))
    world.add("b", "1")
    assert pins(world.solve(["a"])) == {"a": "1.0.0", "b": "1"}


LONG = "9" * 5000
NESTED = "(" * 3000 + "os_name == 'posix'" + ")" * 3000


@pytest.mark.parametrize(
    "requirement",
    [
        f"b>={LONG}",
        f"b==1.{LONG}.*",
        f"b; python_version > '{LONG}'",
        f"b; {NESTED}",
        "b" * 20_000,
        f"b @ {URL};",
        "\0",
    ],
    ids=["digits", "star", "marker digits", "nested", "name", "url", "nul"],
)
def test_a_hostile_requirement_costs_one_version_and_not_the_resolver(requirement: str) -> None:
    world = universe({"a": {"1": [], "2": [requirement]}, "b": {"1": []}})
    assert pins(world.solve(["a"])) == {"a": "1"}


def test_hostile_versions_do_not_exist() -> None:
    world = universe({"a": {"1": []}})
    world.add("a", LONG)
    world.add("a", "2", requires_python=f"<={LONG}")
    assert pins(world.solve(["a"])) == {"a": "2"}


def test_another_version_of_the_same_parent_may_ask_for_the_prerelease() -> None:
    """The newest parent conflicts and does not ask; the one before says the same of `a`, and names a pre-release."""
    world = universe(
        {
            "a": {"1": ["b<1"], "2b1": []},
            "b": {"0": [], "1": []},
            "parent": {"1": ["a>=1b9"], "2": ["a>=1"]},
        }
    )
    assert pins(world.solve(["parent", "b>=1"])) == {"a": "2b1", "b": "1", "parent": "1"}


@pytest.mark.parametrize(
    "marker",
    [
        "python_version < '3.12'",
        "os.name == 'nt' and 'linux' != sys_platform",
        "python_implementation == 'CPython' and platform.machine in 'x86_64 arm64'",
        "sys_platform == 'os_name' or python_full_version >= '3.12.1'",
        "'darwin' in sys.platform or (extra == 'x' and platform_system == 'Windows')",
    ],
)
@pytest.mark.parametrize("extra", ["", "x"])
def test_a_marker_is_decided_anew_for_each_target_that_differs_in_what_it_names(marker: str, extra: str) -> None:
    for cell in matrix(">=3.8"):
        expected = Marker(marker).evaluate({**cell.environment, "extra": extra})
        assert Markers(cell.environment).hold(marker, extra) == expected
