"""The filter, read step by step as the kernel reads it; the table of numbers beside the kernel's own header."""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcdn.sandbox.filter import DENIED, Denied, When, seccomp_filter
from p2pcdn.sandbox.syscalls import ARCHES, number

ALLOW, ERROR, KILL = 0x7FFF0000, 0x00050000, 0x80000000
READ, OPENAT = 0, 257
HEADER = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
GENERIC_HEADER = Path("/usr/include/asm-generic/unistd.h")

machines = pytest.mark.parametrize("machine", sorted(ARCHES))


def verdict(program: bytes, call: int, arguments: tuple[int, ...] = (), arch: int = ARCHES["x86_64"]) -> int:
    """What the kernel's interpreter returns for a call: linux/filter.h, the five instructions that we use."""
    seen = struct.pack("<iIQ6Q", call, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    steps = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    loaded, at = 0, 0
    while True:
        code, if_true, if_false, value = steps[at]
        at += 1
        if code == 0x06:
            return value
        if code == 0x20:
            (loaded,) = struct.unpack_from("<I", seen, value)
        else:
            holds = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[code]
            at += if_true if holds else if_false


@machines
def test_every_call_of_the_table_gets_its_error(machine: str) -> None:
    program = seccomp_filter(machine)
    for rule in DENIED:
        call = number(rule.call, machine)
        if rule.when is None and call is not None:
            assert verdict(program, call, arch=ARCHES[machine]) == ERROR | rule.error, rule


@given(st.integers(0, 500), st.tuples(*[st.integers(0, 2**64 - 1)] * 6))
def test_what_the_table_does_not_name_is_allowed(call: int, arguments: tuple[int, ...]) -> None:
    if call not in {number(rule.call, "x86_64") for rule in DENIED}:
        assert verdict(FILTER, call, arguments) == ALLOW


FILTER = seccomp_filter("x86_64")


@pytest.mark.parametrize(
    ("name", "arguments", "allowed"),
    [
        ("socket", (1, 1), True),
        ("socket", (2, 1), False),
        ("socket", (16, 3), False),
        ("socket", (0x1_0000_0001, 1), True),  # the kernel takes an int: the upper half is not looked at
        ("clone", (0x11,), True),
        ("clone", (0x003D0F00,), True),  # a thread
        ("clone", (0x10000011,), False),
        ("clone", (0x40000000 | 0x20000,), False),
        ("ioctl", (0, 0x5401), True),
        ("ioctl", (0, 0x5412), False),
        ("ioctl", (0, 0xFFFF_FFFF_0000_5412), False),
    ],
)
def test_a_condition_looks_at_its_argument(name: str, arguments: tuple[int, ...], allowed: bool) -> None:
    call = number(name, "x86_64")
    assert call is not None
    assert verdict(FILTER, call, arguments) == (ALLOW if allowed else ERROR | errno.EPERM)


def test_a_call_by_another_table_ends_the_process() -> None:
    i386 = 0x40000003
    assert verdict(FILTER, READ, arch=i386) == KILL
    assert verdict(FILTER, 0x40000000 + READ) == KILL
    assert verdict(seccomp_filter("aarch64"), READ, arch=ARCHES["x86_64"]) == KILL


def test_rules_for_one_call_are_all_heard() -> None:
    rules = [Denied("ioctl", When(1, "equal", 7)), Denied("ioctl", When(1, "equal", 9), errno.ENOTTY), Denied("ptrace")]
    program = seccomp_filter("x86_64", rules)
    assert [verdict(program, 16, (0, word)) for word in (7, 8, 9)] == [ERROR | 1, ALLOW, ERROR | errno.ENOTTY]
    assert verdict(program, 101) == ERROR | 1


def test_the_program_fits_the_kernel() -> None:
    assert len(FILTER) % 8 == 0
    assert len(FILTER) // 8 < 4096


@pytest.mark.parametrize(("machine", "header"), [("x86_64", HEADER), ("aarch64", GENERIC_HEADER)])
def test_the_numbers_are_those_of_the_kernels_header(machine: str, header: Path) -> None:
    if not header.exists():
        pytest.skip(f"{header} is not installed (linux-libc-dev)")
    pairs = re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", header.read_text())
    theirs: dict[str, int] = {}
    for name, value in pairs:
        theirs.setdefault(name, int(value))
    ours = {rule.call: number(rule.call, machine) for rule in DENIED}
    # What a header of an older kernel lacks is no contradiction.
    assert {name: value for name, value in ours.items() if name in theirs and theirs[name] != value} == {}
    assert len(set(ours) & set(theirs)) > 50
