"""Which wheels an interpreter takes: its tags in order (PEP 425, 600, 656), from what the probe said of it.

`packaging` knows the order; the platforms are our own, because it can only look at the interpreter that it runs in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

# PEP 600's names for the older policies.
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
# CentOS 5 and 7: the oldest glibc that wheels of these machines were ever made for.
_OLDEST_GLIBC_MINOR = {"x86_64": 5, "i686": 5}
_OLDEST_GLIBC_MINOR_ELSEWHERE = 17
_SMALL = {"x86_64": "i686", "aarch64": "armv8l"}


def tags_of(said: Mapping[str, Any]) -> list[str]:
    """said: what `probe_script.py` printed. Such as ["cp312-cp312-manylinux_2_36_x86_64", ...], the best first."""
    from packaging import tags

    platforms = list(platforms_of(said))
    major, minor = said["version"]
    if said["markers"]["implementation_name"] == "cpython":
        name = f"cp{major}{minor}"
        own = tags.cpython_tags((major, minor), _abis(said), platforms)
    else:
        short = {"pypy": "pp", "graalpy": "graalpy"}.get(said["markers"]["implementation_name"], "py")
        name = f"{short}{major}{minor}"
        own = tags.generic_tags(name, _generic_abis(said), platforms)
    shared = "pp3" if name.startswith("pp") else name
    return list(dict.fromkeys(map(str, (*own, *tags.compatible_tags((major, minor), shared, platforms)))))


def platforms_of(said: Mapping[str, Any]) -> Iterator[str]:
    """The platform part of its tags, the best first."""
    platform = said["platform"].replace("-", "_").replace(".", "_")
    if platform.startswith("linux_"):
        yield from _linux(platform.removeprefix("linux_"), said["bits"], said["glibc"])
    elif platform.startswith("macosx_"):
        from packaging import tags

        major, minor = (*said["macos"].split("."), "0")[:2]
        machine = said["markers"]["platform_machine"]
        yield from tags.mac_platforms((int(major), int(minor)), machine if said["bits"] == 64 else "i386")
    else:
        yield platform


def _linux(machine: str, bits: int, glibc: str | None) -> Iterator[str]:
    machine = _SMALL.get(machine, machine) if bits == 32 else machine
    machines = ["armv8l", "armv7l"] if machine == "armv8l" else [machine]
    # What was built for this very machine comes first.
    for one in machines:
        yield f"linux_{one}"
    for one in machines:
        yield from _manylinux(one, glibc) if glibc else _musllinux(one)


def _manylinux(machine: str, glibc: str) -> Iterator[str]:
    newest = int(glibc.split(".")[1])
    oldest = _OLDEST_GLIBC_MINOR.get(machine, _OLDEST_GLIBC_MINOR_ELSEWHERE)
    for minor in range(newest, oldest - 1, -1):
        yield f"manylinux_2_{minor}_{machine}"
        if minor in _LEGACY:
            yield f"{_LEGACY[minor]}_{machine}"


def _musllinux(machine: str) -> Iterator[str]:
    """Another libc says no version of itself; where ours is the same one, packaging finds it out."""
    from packaging import tags

    yield from (one for one in tags.platform_tags() if one.startswith("musllinux") and one.endswith(machine))


def _abis(said: Mapping[str, Any]) -> list[str]:
    major, minor = said["version"]
    release = f"cp{major}{minor}{'t' if said['free_threaded'] else ''}"
    # A debug build loads the extensions of release builds, too.
    return [f"{release}d", release] if said["debug"] else [release]


def _generic_abis(said: Mapping[str, Any]) -> list[str]:
    parts = (said["soabi"] or "").split("-")
    if parts[0].startswith("pypy"):
        return ["_".join(parts[:2])]
    return ["_".join(parts[:3])] if parts[0].startswith("graalpy") else []
