"""packse's scenarios, by which uv is tested, for one environment; python -m tests.resolve.fetch_snapshots brings them.

Those that lock for many environments at once are the locker's.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from packaging.tags import compatible_tags, cpython_tags

from p2pcdn.names import normalize_project
from p2pcdn.resolve import NoSolution, Target, Wanted
from tests.resolve.fetch_snapshots import snapshots
from tests.resolve.universe import LINUX_311, Universe, pins

PLATFORMS = ["manylinux_2_17_x86_64", "manylinux2014_x86_64", "linux_x86_64"]
PRERELEASES = "pip and PEP 440: a pre-release does where no final version fits, and where a dependency names one"
# Where we do as pip does and not as uv does.
POLICY = {
    "package-only-prereleases-in-range": PRERELEASES,
    "transitive-package-only-prereleases-in-range": PRERELEASES,
    "transitive-prerelease-and-stable-dependency": PRERELEASES,
    "transitive-prerelease-and-stable-dependency-many-versions": PRERELEASES,
    "transitive-prerelease-and-stable-dependency-many-versions-holes": PRERELEASES,
    "python-less-than-current": "pip: an upper bound of Requires-Python is a bound",
    "transitive-yanked-and-unyanked-dependency": "pip: a dependency's pin takes a yanked version, too",
}


def scenarios() -> list[dict[str, Any]]:
    found = [tomllib.loads(file.read_text()) for file in sorted(snapshots("packse").rglob("*.toml"))]
    return [one for one in found if not one.get("resolver_options", {}).get("universal")]


def test_a_scenario_of_packse_comes_out_as_it_says_or_as_pip_does_it() -> None:
    found = scenarios()
    if not found:
        pytest.skip("packse's scenarios are not here: python -m tests.resolve.fetch_snapshots")
    different = {one["name"] for one in found if not is_as_expected(one)}
    assert different == POLICY.keys()


def is_as_expected(scenario: Mapping[str, Any]) -> bool:
    expected = scenario["expected"]
    try:
        found = pins(world_of(scenario["packages"]).solve(_wanted(scenario), _target(scenario)))
    except NoSolution:
        return not expected["satisfiable"]
    wanted = {normalize_project(name): version for name, version in expected.get("packages", {}).items()}
    return bool(expected["satisfiable"]) and wanted in (found, {})


def _wanted(scenario: Mapping[str, Any]) -> Wanted:
    options = scenario.get("resolver_options", {})
    return Wanted(
        tuple(scenario["root"]["requires"]),
        prereleases="allow" if options.get("prereleases") else "if-necessary",
        no_binary=tuple(options.get("no_binary", ())),
        only_binary=tuple(options.get("no_build", ())),
    )


def _target(scenario: Mapping[str, Any]) -> Target:
    asked = scenario.get("resolver_options", {}).get("python") or scenario.get("environment", {}).get("python", "3.12")
    full = asked if asked.count(".") == 2 else f"{asked}.0"
    major, minor, _ = map(int, full.split("."))
    environment = {"python_full_version": full, "implementation_version": full, "python_version": f"{major}.{minor}"}
    tags = [
        *cpython_tags((major, minor), platforms=PLATFORMS),
        *compatible_tags((major, minor), interpreter=f"cp{major}{minor}", platforms=PLATFORMS),
    ]
    return Target.of(dict(LINUX_311.environment) | environment, tuple(map(str, tags)))


def world_of(packages: dict[str, Any]) -> Universe:
    world = Universe()
    for name, package in packages.items():
        for version, one in package["versions"].items():
            yanked = one.get("yanked", False)
            world.add(
                normalize_project(name),
                version,
                *_requires(one),
                extras=one.get("extras", {}),
                tags=tuple(one.get("wheel_tags") or (["py3-none-any"] if one.get("wheel", True) else [])),
                sdist=one.get("sdist", True),
                yanked=("" if yanked is True else yanked) if yanked is not False else None,
                requires_python=one.get("requires_python", ""),
            )
    return world


def _requires(version: dict[str, Any]) -> Iterator[str]:
    yield from version.get("requires", ())
    for extra, several in version.get("extras", {}).items():
        for text in several:
            plain, semicolon, marker = text.partition(";")
            yield f'{plain}; ({marker}) and extra == "{extra}"' if semicolon else f'{plain}; extra == "{extra}"'
