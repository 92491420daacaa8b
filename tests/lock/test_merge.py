"""One lock of many solutions: markers that hold exactly where a package is wanted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from packaging.markers import Marker

from p2pcdn.lock.merge import PROJECT, Merged, Root, cells_marker, merge
from p2pcdn.lock.targets import Cell, matrix
from p2pcdn.resolve import Edge, Pin, Solution

CELLS = matrix(">=3.9,<3.14")
DEV, FAST = Root("group", "dev"), Root("extra", "fast")


def holds(marker: str, cell: Cell, extras: frozenset[str] = frozenset(), groups: frozenset[str] = frozenset()) -> bool:
    asked = {**cell.environment, "extras": extras, "dependency_groups": groups}
    return not marker or Marker(marker).evaluate(asked, context="lock_file")


@given(st.sets(st.sampled_from(CELLS), min_size=1))
def test_a_marker_holds_in_its_cells_and_in_no_other(cells: set[Cell]) -> None:
    marker = cells_marker(frozenset(cells), frozenset(CELLS))
    assert {cell for cell in CELLS if holds(marker, cell)} == cells


def test_markers_are_short_where_the_cells_are_simple() -> None:
    whole = frozenset(CELLS)

    def marker(*wanted: object) -> str:
        return cells_marker(frozenset(cell for cell in CELLS if _key(cell) & set(wanted)), whole)

    assert cells_marker(whole, whole) == ""
    assert marker("win32") == "sys_platform == 'win32'"
    assert marker("linux", "darwin") == "sys_platform != 'win32'"
    assert marker(9, 10) == "python_version < '3.11'"
    assert marker(12, 13) == "python_version >= '3.12'"
    assert marker("aarch64") == "sys_platform == 'linux' and platform_machine == 'aarch64'"


def _key(cell: Cell) -> set[object]:
    return {cell.minor, cell.platform.sys_platform, cell.platform.platform_machine}


def solution(*pins: tuple[str, str], edges: tuple[tuple[str, str, str, str], ...]) -> Solution:
    return Solution(
        tuple(Pin(*pin) for pin in pins),
        tuple(Edge(*edge) for edge in edges),
    )


def where(cells: frozenset[Cell]) -> str:
    return cells_marker(cells, frozenset(CELLS))


def by_name(merged: tuple[Merged, ...]) -> dict[str, Merged]:
    return {f"{one.project} {one.version}": one for one in merged}


def test_what_everybody_needs_everywhere_has_no_marker() -> None:
    found = solution(("app", "1"), ("lib", "2"), edges=(("", "", "app", "app"), ("app", "", "lib", "lib>=1")))
    merged = by_name(merge(dict.fromkeys(CELLS, found), {PROJECT: ["app"]}, where))
    assert [one.marker for one in merged.values()] == ["", ""]
    assert merged["app 1"].dependencies == (("lib", ""),)


def test_two_versions_of_a_project_are_disjoint_and_named_by_who_needs_them() -> None:
    old = solution(("app", "1"), ("lib", "1"), edges=(("", "", "app", "app"), ("app", "", "lib", "lib")))
    new = solution(("app", "1"), ("lib", "2"), edges=(("", "", "app", "app"), ("app", "", "lib", "lib")))
    merged = by_name(merge({cell: old if cell.minor < 11 else new for cell in CELLS}, {PROJECT: ["app"]}, where))
    assert merged["lib 1"].marker == "python_version < '3.11'"
    assert merged["lib 2"].marker == "python_version >= '3.11'"
    assert merged["app 1"].dependencies == (("lib", "1"), ("lib", "2"))


def test_groups_and_extras_become_conditions_and_reach_through_extras_of_others() -> None:
    edges = (
        ("", "", "app", "app"),
        ("", "", "check", "check"),
        ("", "", "quick", "quick[c]"),
        ("quick", "c", "shared", "shared"),
        ("check", "", "shared", "shared"),
    )
    found = solution(("app", "1"), ("check", "1"), ("quick", "1"), ("shared", "1"), edges=edges)
    roots = {PROJECT: ["app"], DEV: ["check"], FAST: ["quick[c]"]}
    merged = by_name(merge(dict.fromkeys(CELLS, found), roots, where))
    assert merged["app 1"].marker == ""
    assert merged["check 1"].marker == "'dev' in dependency_groups"
    assert merged["quick 1"].marker == "'fast' in extras"
    assert merged["shared 1"].marker == "'fast' in extras or 'dev' in dependency_groups"


def test_a_group_that_needs_something_on_one_platform_only_says_both() -> None:
    base = (("", "", "app", "app"),)
    windows = solution(("app", "1"), ("colour", "1"), edges=(*base, ("", "", "colour", "colour;os_name=='nt'")))
    others = solution(("app", "1"), edges=base)
    solutions = {cell: windows if cell.platform.os_name == "nt" else others for cell in CELLS}
    merged = by_name(merge(solutions, {PROJECT: ["app"], DEV: ["colour; os_name == 'nt'"]}, where))
    marker = merged["colour 1"].marker
    for cell in CELLS:
        assert holds(marker, cell, groups=frozenset({"dev"})) == (cell.platform.os_name == "nt")
        assert not holds(marker, cell)
