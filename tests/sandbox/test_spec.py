"""A spec becomes a plan: who the program is, what it sees, in which order."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from p2pcdn.sandbox.plan import encode, read_plan, read_report
from p2pcdn.sandbox.spec import NOBODY, Bind, Limits, Spec, outside, plan

WHOLE = "         0          0 4294967295\n"


def planned(spec: Spec):  # type: ignore[no-untyped-def]
    return plan(spec, ["/bin/true"], machine="x86_64", parent=77, user=(1001, 1002))


def test_an_ordinary_user_is_himself_outside_and_root_is_nobody() -> None:
    assert outside(Spec(), (1001, 1002), WHOLE) == (1001, 1002)
    assert outside(Spec(), (0, 0), WHOLE) == (NOBODY, NOBODY)
    assert outside(Spec(user=(1005, 1006)), (0, 0), WHOLE) == (1005, 1006)


def test_root_of_a_container_with_nobody_in_it_stays_who_he_is() -> None:
    assert outside(Spec(), (0, 0), "0 100000 65536\n") == (NOBODY, NOBODY)
    assert outside(Spec(), (0, 0), "0 1000 1\n") == (0, 0)
    assert outside(Spec(), (0, 0), "0 1000 1\n1 100000 65535\n") == (NOBODY, NOBODY)


def test_outer_trees_are_shown_before_what_lies_in_them() -> None:
    binds = (Bind(Path("/srv/a/b/c")), Bind(Path("/srv/a")), Bind(Path("/elsewhere"), PurePosixPath("/srv/a/b")))
    assert [target for _, target, _ in planned(Spec(binds))["binds"]] == ["/srv/a", "/srv/a/b", "/srv/a/b/c"]


def test_what_the_systems_trees_show_already_is_not_shown_twice() -> None:
    binds = (
        Bind(Path("/usr/local")),
        Bind(Path("/usr/share/x"), writable=True),
        Bind(Path("/srv"), PurePosixPath("/usr/y")),
    )
    shown = planned(Spec(binds))["binds"]
    assert shown == [("/srv", "/usr/y", False), ("/usr/share/x", "/usr/share/x", True)]


def test_a_path_must_be_absolute() -> None:
    with pytest.raises(ValueError, match="absolute paths only, not lib"):
        planned(Spec((Bind(Path("lib")),)))


def test_every_limit_reaches_the_plan() -> None:
    numbers = {"address_space_bytes": 11, "processes": 12, "open_files": 13, "file_bytes": 14, "cpu_s": 15}
    told = planned(Spec(limits=Limits(scratch_bytes=16, memory_bytes=17, **numbers)))
    assert set(numbers.values()) <= {value for _, value in told["limits"]}
    assert (told["scratch_bytes"], told["memory_bytes"]) == (16, 17)


def test_a_plan_arrives_whole_and_leaves_what_follows() -> None:
    told = planned(Spec((Bind(Path("/srv/ü")),), {"A": "b\n"}))
    read, write = os.pipe()
    os.write(write, encode(told) + b"what follows")
    os.close(write)
    assert read_plan(read) == told
    assert os.read(read, 100) == b"what follows"
    with pytest.raises(EOFError):
        read_plan(read)
    os.close(read)


def test_a_report_is_one_of_two_words() -> None:
    assert read_report(b"ready 7 1\n") == (7, True)
    assert read_report(b"missing a kernel that: can\n") == "a kernel that: can"
    for strange in (b"", b"ready\n", b"ready 7\n", b"ready x y\n", b"hello 1 1\n", b"\xff\n"):
        with pytest.raises(ValueError):
            read_report(strange)


def test_a_machine_without_a_table_is_refused() -> None:
    with pytest.raises(KeyError):
        plan(Spec(), ["/bin/true"], machine="vax", parent=1, user=(1, 1))
