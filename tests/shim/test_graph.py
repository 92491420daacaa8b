"""How the packages of a lock are shown."""

from __future__ import annotations

from p2pcdn_shim.zephyr.lock.graph import nodes_of, tree


def test_groups_are_told_where_something_is_asked_for_and_machines_at_the_package() -> None:
    packages = [
        {"name": "pytest", "version": "9", "marker": "'dev' in dependency_groups", "dependencies": [{"name": "toml"}]},
        {
            "name": "toml",
            "version": "1",
            "marker": "os_name == 'nt' and ('web' in extras or 'dev' in dependency_groups)",
        },
        {"name": "toml", "version": "2", "marker": "'fast' not in extras"},
    ]
    assert list(tree({"pytest": ["group dev"]}, nodes_of(packages), None)) == [
        "pytest 9 [group dev]",
        '└── toml 1 (os_name == "nt"), 2',
    ]
