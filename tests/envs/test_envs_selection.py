"""What a lock gives one environment: the right file, or a sentence that says what is there instead."""

from __future__ import annotations

import dataclasses
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.tags import Tag, compatible_tags, cpython_tags

from p2pcdn.envs.errors import BadLock, NothingFits
from p2pcdn.envs.model import Directory, Lock, LockedFile, LockedPackage, Target, Vcs
from p2pcdn.envs.pylock_text import write_lock
from p2pcdn.envs.selection import select

SHA = {"sha256": "a" * 64}


def target(minor: int = 11, platform: str = "manylinux_2_28_x86_64") -> Target:
    platforms = [platform, "manylinux_2_17_x86_64"] if platform.startswith("manylinux") else [platform]
    tags = [*cpython_tags((3, minor), platforms=platforms), *compatible_tags((3, minor), f"cp3{minor}", platforms)]
    markers = {
        "implementation_name": "cpython",
        "implementation_version": f"3.{minor}.4",
        "os_name": "nt" if platform.startswith("win") else "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_release": "6",
        "platform_system": "Linux",
        "platform_version": "1",
        "python_full_version": f"3.{minor}.4",
        "python_version": f"3.{minor}",
        "sys_platform": "win32" if platform.startswith("win") else "linux",
    }
    return Target(markers, tuple(str(tag) for tag in tags))


def package(name: str, *tags: str, version: str = "2.1", sdist: bool = False, **more: Any) -> LockedPackage:
    stem = f"{name}-{version}"
    wheels = tuple(LockedFile(f"{stem}-{tag}.whl", SHA, url=f"https://h/{stem}-{tag}.whl") for tag in tags)
    source = LockedFile(f"{stem}.tar.gz", SHA, url=f"https://h/{stem}.tar.gz") if sdist else None
    return LockedPackage(name, version, wheels=wheels, sdist=source, **more)


def lock(*packages: LockedPackage, **more: Any) -> Lock:
    return Lock("test", packages, **more)


def chosen(*packages: LockedPackage, minor: int = 11, **more: Any) -> list[str]:
    return [one.file.name for one in select(lock(*packages), target(minor), **more) if one.file]


def test_the_wheel_with_the_best_tag_is_taken() -> None:
    kinds = [
        "py3-none-any",
        "cp311-cp311-manylinux_2_17_x86_64",
        "cp311-abi3-manylinux_2_28_x86_64",
        "cp311-cp311-win32",
    ]
    assert chosen(package("numpy", *kinds)) == ["numpy-2.1-cp311-cp311-manylinux_2_17_x86_64.whl"]


def test_of_two_builds_the_higher_is_taken() -> None:
    assert chosen(package("numpy", "2-py3-none-any", "10-py3-none-any")) == ["numpy-2.1-10-py3-none-any.whl"]


def test_a_part_of_a_lock_that_does_not_say_what_its_packages_need_is_refused() -> None:
    packages = [package(name, "py3-none-any") for name in ("app", "lib")]
    with pytest.raises(NothingFits, match="does not say what its packages need"):
        chosen(*packages, only=["app"])
    assert [one.package.name for one in select(Lock("zephyr", tuple(packages)), target(), only=["app"])] == ["app"]
    needs = [dataclasses.replace(packages[0], dependencies=({"name": "lib"},)), packages[1]]
    assert len(chosen(*needs, only=["app"])) == 2


def test_an_sdist_stands_in_where_no_wheel_fits() -> None:
    numpy = package("numpy", "cp39-cp39-win32", sdist=True)
    assert [one.kind for one in select(lock(numpy), target())] == ["sdist"]
    with pytest.raises(NothingFits, match="its sdist is not to be built"):
        select(lock(numpy), target(), only_wheels=True)


def test_a_missing_wheel_is_said_with_what_is_there() -> None:
    numpy = package("numpy", "cp310-cp310-manylinux_2_17_x86_64.manylinux2014_x86_64", "cp311-cp311-macosx_11_0_arm64")
    with pytest.raises(NothingFits) as caught:
        select(lock(numpy), target(8))
    assert str(caught.value) == (
        "numpy 2.1 has no wheel for cp38 manylinux x86_64; it has cp310 manylinux x86_64, cp311 macosx arm64. "
        "Choose another Python, or lock another version."
    )


def test_markers_choose_between_entries_of_one_name() -> None:
    old = package("numpy", "py3-none-any", version="1.0", marker="python_version < '3.10'")
    new = package("numpy", "py3-none-any", version="2.0", marker="python_version >= '3.10'")
    assert chosen(old, new, minor=9) == ["numpy-1.0-py3-none-any.whl"]
    assert chosen(old, new, minor=12) == ["numpy-2.0-py3-none-any.whl"]


def test_two_entries_that_fit_are_an_error() -> None:
    with pytest.raises(NothingFits, match=r"has numpy twice for this environment, as 1.0 and as 2.0"):
        chosen(package("numpy", "py3-none-any", version="1.0"), package("numpy", "py3-none-any", version="2.0"))


def test_extras_and_groups_choose_and_are_checked() -> None:
    extra = package("extra", "py3-none-any", marker="'Fast_Path' in extras or 'fast-path' in extras")
    dev = package("dev", "py3-none-any", marker="'dev' in dependency_groups")
    whole = lock(extra, dev, extras=("fast-path",), dependency_groups=("dev", "docs"), default_groups=("dev",))
    names = lambda **more: [one.package.name for one in select(whole, target(), **more)]  # noqa: E731
    assert names() == ["dev"]
    assert names(groups=()) == []
    assert names(groups=("docs",), extras=("Fast.Path",)) == ["extra"]
    with pytest.raises(NothingFits, match="The lock has no extra slow; it has fast-path"):
        select(whole, target(), extras=("slow",))
    with pytest.raises(NothingFits, match="no dependency group test; it has dev, docs"):
        select(whole, target(), groups=("test",))


def test_a_lock_for_other_environments_is_said() -> None:
    whole = lock(package("a", "py3-none-any"), environments=("sys_platform == 'win32'",))
    assert select(whole, target(platform="win_amd64"))
    with pytest.raises(
        NothingFits, match="not made for cp311 manylinux x86_64; it was made for: sys_platform == 'win32'"
    ):
        select(whole, target())


@pytest.mark.parametrize("marker", ["os_name ~= 'posix'", "extra == 'fast'", "extras < '1'"])
def test_a_marker_that_can_be_read_and_means_nothing_is_the_locks_fault(marker: str) -> None:
    senseless = package("a", "py3-none-any", marker=marker)
    with pytest.raises(BadLock, match=r"The lock of test has a marker of a 2\.1 that nothing can decide: "):
        select(lock(package("b", "py3-none-any"), senseless), target())
    with pytest.raises(BadLock, match="a marker of an environment that nothing can decide"):
        select(lock(package("b", "py3-none-any"), environments=(marker,)), target())


def test_another_python_is_said() -> None:
    with pytest.raises(NothingFits, match=r"The lock needs Python >=3.12, and this environment has 3.11.4"):
        select(lock(package("a", "py3-none-any"), requires_python=">=3.12"), target())
    with pytest.raises(NothingFits, match=r"a 2.1 needs Python <3.9, and this environment has 3.11.4"):
        chosen(package("a", "py3-none-any", requires_python="<3.9"))


def test_who_has_an_older_patch_release_is_told_how_to_hold_a_package_back() -> None:
    with pytest.raises(NothingFits, match=r"one that fits, or hold it back: `--constraints 'a<2\.1'`\.$"):
        chosen(package("a", "py3-none-any", requires_python=">=3.11.5"))
    with pytest.raises(NothingFits, match=r"make it anew with one that fits\.$"):
        chosen(package("a", "py3-none-any", requires_python=">=3.12"))


def test_sources_that_are_no_files_are_handed_on() -> None:
    whole = lock(LockedPackage("a", directory=Directory(".", editable=True)), LockedPackage("b", vcs=Vcs("git", "f0")))
    assert [one.kind for one in select(whole, target())] == ["directory", "vcs"]


KINDS = [
    "py3-none-any",
    "cp311-cp311-manylinux_2_17_x86_64",
    "cp312-cp312-manylinux_2_17_x86_64",
    "cp39-abi3-win_amd64",
    "cp310-abi3-manylinux_2_28_x86_64",
    "py2.py3-none-any",
]
MARKERS = [None, "python_version >= '3.11'", "sys_platform == 'win32'", "'a' in extras", "'dev' in dependency_groups"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["x", "y", "z"]), st.sets(st.sampled_from(KINDS)), st.booleans(), st.sampled_from(MARKERS)
        ),
        max_size=4,
    ),
    st.sampled_from([9, 11, 12]),
    st.sampled_from(["manylinux_2_28_x86_64", "win_amd64"]),
    st.booleans(),
    st.booleans(),
)
def test_it_chooses_what_packaging_chooses(
    rows: list[tuple[str, set[str], bool, str | None]], minor: int, platform: str, extra: bool, group: bool
) -> None:
    oracle = pytest.importorskip("packaging.pylock")
    packages = [
        package(name, *sorted(kinds), sdist=sdist or not kinds, marker=marker) for name, kinds, sdist, marker in rows
    ]
    whole = lock(*packages, extras=("a",), dependency_groups=("dev",))
    where = target(minor, platform)
    extras, groups = (["a"] if extra else []), (["dev"] if group else [])
    try:
        ours = [
            (one.package.name, one.file and one.file.name) for one in select(whole, where, extras=extras, groups=groups)
        ]
    except NothingFits:
        ours = None
    theirs = oracle.Pylock.from_dict(tomllib.loads(write_lock(whole).decode()))
    tags = [Tag(*tag.split("-", 2)) for tag in where.tags]
    try:
        found = list(theirs.select(environment=where.markers, tags=tags, extras=extras, dependency_groups=groups))
        expected = [(one.name, file.name) for one, file in found]
    except oracle.PylockSelectError:
        expected = None
    assert (ours and sorted(ours)) == (expected and sorted(expected)), dataclasses.asdict(whole)
