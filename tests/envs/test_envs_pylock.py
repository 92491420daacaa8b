"""pylock.toml: what is read is what was written, in one way only; what breaks PEP 751 is said with file and key."""

from __future__ import annotations

import contextlib
import dataclasses
import tomllib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcdn.envs.errors import BadLock
from p2pcdn.envs.model import Directory, Lock, LockedFile, LockedPackage, Vcs
from p2pcdn.envs.pylock import inputs_hash, is_lock_name, is_stale, read_lock
from p2pcdn.envs.pylock_text import without_credentials, write_lock

SHA = "a" * 64
WHEEL = LockedFile(
    "demo-1.0-py3-none-any.whl",
    {"sha256": SHA},
    url="https://files.example/demo-1.0-py3-none-any.whl",
    size_bytes=12,
    upload_time=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
)
DEMO = LockedPackage("demo", "1.0", index="https://index.example/simple/", wheels=(WHEEL,))
LOCK = Lock("zephyr", (DEMO,), requires_python=">=3.9", tool={"zephyr": {"inputs": "x"}})

TEXT = """\
lock-version = "1.0"
requires-python = ">=3.9"
created-by = "zephyr"

[[packages]]
name = "demo"
version = "1.0"
index = "https://index.example/simple/"
wheels = [
    {name = "demo-1.0-py3-none-any.whl", upload-time = 2026-01-02T03:04:05.000678Z, \
url = "https://files.example/demo-1.0-py3-none-any.whl", size = 12, hashes = {sha256 = "SHA"}},
]

[tool.zephyr]
inputs = "x"
""".replace("SHA", SHA)


def test_a_lock_is_written_byte_for_byte_so() -> None:
    assert write_lock(LOCK).decode() == TEXT


def test_what_is_written_is_read_again() -> None:
    assert read_lock(TEXT.encode(), "pylock.toml") == LOCK


def test_every_kind_of_source_survives() -> None:
    file = LockedFile("a.tar.gz", {"sha512": "ab", "sha256": SHA}, path="dist/a.tar.gz", subdirectory="x")
    packages = (
        LockedPackage("a-archive", archive=file),
        LockedPackage("a-directory", directory=Directory(".", editable=True, subdirectory="sub"), tool={"x": {"y": 1}}),
        LockedPackage("a-vcs", vcs=Vcs("git", "f00", url="https://host/repo", requested_revision="main")),
        LockedPackage(
            "b",
            "1.0",
            marker="sys_platform == 'win32'",
            dependencies=({"name": "demo"},),
            wheels=(),
            sdist=LockedFile("b-1.0.tar.gz", {"sha256": SHA}, url="https://host/b-1.0.tar.gz"),
        ),
        LockedPackage(
            "c",
            "1.0",
            attestation_identities=({"kind": "GitHub"},),
            wheels=(dataclasses.replace(WHEEL, name="c-1.0-py3-none-any.whl"),),
        ),
    )
    lock = Lock(
        "us",
        packages,
        environments=("python_version > '3.8'", "os_name == 'nt'"),
        extras=("a", "b"),
        dependency_groups=("dev",),
        default_groups=("dev",),
        tool={"other": {"a b": [1, {"c": True}]}},
    )
    assert read_lock(write_lock(lock), "pylock.toml") == lock


def test_the_order_of_what_is_locked_does_not_matter() -> None:
    other = dataclasses.replace(DEMO, name="aaa", wheels=(dataclasses.replace(WHEEL, name="aaa-1.0-py3-none-any.whl"),))
    older = dataclasses.replace(
        DEMO,
        version="0.9",
        marker="python_version < '3.9'",
        wheels=(dataclasses.replace(WHEEL, name="demo-0.9-py3-none-any.whl"),),
    )
    packages = [DEMO, other, older]
    written = {write_lock(dataclasses.replace(LOCK, packages=tuple(one))) for one in (packages, packages[::-1])}
    assert len(written) == 1
    names = [package.name + (package.version or "") for package in read_lock(written.pop(), "x").packages]
    assert names == ["aaa1.0", "demo0.9", "demo1.0"]


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("https://user:secret@Index.Example/simple/", "https://index.example/simple/"),
        ("https://token@host:8443/a?b=c#frag", "https://host:8443/a?b=c"),
        ("ssh://git@host/repo.git", "ssh://git@host/repo.git"),
        ("https://[::1]:80/x", "https://[::1]:80/x"),
        ("dist/file.whl", "dist/file.whl"),
    ],
)
def test_no_credentials_stand_in_a_lock(url: str, plain: str) -> None:
    assert without_credentials(url) == plain
    lock = dataclasses.replace(LOCK, packages=(dataclasses.replace(DEMO, index=url),))
    assert b"secret" not in write_lock(lock)


def test_a_lock_of_other_inputs_is_stale() -> None:
    inputs = {"requires": ["numpy>=1"], "options": {"prefer": "lowest"}}
    lock = dataclasses.replace(LOCK, tool={"zephyr": {"inputs": inputs_hash(inputs)}})
    assert not is_stale(lock, {"options": {"prefer": "lowest"}, "requires": ["numpy>=1"]})
    assert is_stale(lock, {**inputs, "requires": ["numpy>=2"]})
    assert is_stale(dataclasses.replace(LOCK, tool={}), inputs)


def test_names_of_locks() -> None:
    assert is_lock_name("pylock.toml")
    assert is_lock_name("pylock.dev.toml")
    assert not is_lock_name("pylock.a.b.toml")
    assert not is_lock_name("poetry.lock")


WRONG = {
    'lock-version = "1.0"': ('lock-version = "2.0"', "lock-version is 2.0"),
    'lock-version = "1.0"\n': ("", "lock-version is missing"),
    'created-by = "zephyr"\n': ("", "created-by is missing"),
    'created-by = "zephyr"': ("created-by = 3", "created-by must be a string, and is '3'"),
    '">=3.9"': ('"3.9 or so"', "requires-python is '3.9 or so', which cannot be read"),
    'name = "demo"': ('name = "De_mo"', "packages[0].name must be a normalized project name"),
    'version = "1.0"\nindex': ('version = "one"\nindex', "packages[0].version is 'one'"),
    "index = ": ('marker = "os_name = 3"\nindex = ', "packages[0].marker is"),
    "index =": ('directory = {path = "."}\nindex =', "packages[0] (demo) has several sources"),
    "size = 12": ("size = -1", "packages[0].wheels[0].size must not be negative"),
    "size = 12,": ("size = true,", "packages[0].wheels[0].size must be an integer"),
    "2026-01-02T03:04:05.000678Z": ("2026-01-02", "packages[0].wheels[0].upload-time must be a date with a time"),
    ".000678Z": (".000678+02:00", "packages[0].wheels[0].upload-time must be in UTC"),
    f'{{sha256 = "{SHA}"}}': ("{}", "packages[0].wheels[0].hashes must name at least one"),
    SHA: ("zz", "packages[0].wheels[0].hashes.sha256 must be hexadecimal digits"),
    f'"{SHA}"': ('"abc"', "packages[0].wheels[0].hashes.sha256 must have 64 digits"),
    'url = "https://files.example/demo-1.0-py3-none-any.whl", ': ("", "packages[0].wheels[0].url is missing, and path"),
    '"demo-1.0-py3': ('"other-1.0-py3', "packages[0].wheels[0].name is not a wheel of demo 1.0: other-1.0"),
    '"demo-1.0-py3-none-any.whl"': ('"demo.whl"', "packages[0].wheels[0].name is no wheel's"),
    "wheels = [": ('wheels = [\n    "x",', "packages[0].wheels[0] must be a table"),
    "[[packages]]": ("[packages]", "packages must be an array"),
    'inputs = "x"': ("inputs = ", "is not TOML"),
}


@pytest.mark.parametrize("find", WRONG)
def test_a_lock_that_is_wrong_is_said_with_file_and_key(find: str) -> None:
    replacement, why = WRONG[find]
    content = TEXT.replace(find, replacement, 1)
    assert content != TEXT
    with pytest.raises(BadLock) as caught:
        read_lock(content.encode(), "pylock.dev.toml")
    assert str(caught.value).startswith("pylock.dev.toml")
    assert why in str(caught.value)


def test_a_package_without_a_source_is_said() -> None:
    with pytest.raises(BadLock, match=r"packages\[0\] \(demo\) has no source"):
        read_lock(b'lock-version="1.0"\ncreated-by="x"\n[[packages]]\nname="demo"\nversion="1"\n', "pylock.toml")


def test_a_newer_minor_version_is_told_and_unknown_keys_pass() -> None:
    lock = read_lock(b'lock-version="1.7"\ncreated-by="x"\nfuture=1\npackages=[]\n', "pylock.toml")
    assert "newer lock-version 1.7" in lock.notes[0]


@pytest.mark.parametrize("content", [b"\xff", b"a = [" * 5000, b"", b"packages = 1"])
def test_what_is_no_lock_is_a_sentence(content: bytes) -> None:
    with pytest.raises(BadLock, match=r"pylock\.toml"):
        read_lock(content, "pylock.toml")


words = st.text(st.characters(codec="utf-8"), max_size=8)
names = st.from_regex(r"[a-z0-9]{1,4}(-[a-z0-9]{1,3})?", fullmatch=True)
versions = st.from_regex(r"[1-9]\.[0-9]{1,2}", fullmatch=True)
hashes = st.dictionaries(st.sampled_from(["sha256", "sha512", "blake2b"]), st.just(SHA), min_size=1)
times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
tools = st.recursive(
    words | st.integers(-(2**62), 2**62) | st.booleans() | times,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def packages(draw: st.DrawFn) -> LockedPackage:
    name, version = draw(names), draw(versions)
    stem = f"{name.replace('-', '_')}-{version}"
    size, uploaded, digests = draw(st.none() | st.integers(0, 2**40)), draw(st.none() | times), draw(hashes)
    known: dict[str, Any] = {"size_bytes": size, "upload_time": uploaded, "hashes": digests}
    kinds = draw(st.sets(st.sampled_from(["py3-none-any", "cp312-cp312-win_amd64"])))
    wheels = tuple(LockedFile(f"{stem}-{kind}.whl", url=f"https://h/{kind}.whl", **known) for kind in sorted(kinds))
    sdist = (
        LockedFile(f"{stem}.tar.gz", path=f"d/{stem}.tar.gz", **known) if not wheels or draw(st.booleans()) else None
    )
    marker = draw(st.none() | st.sampled_from(["os_name == 'nt'", "'dev' in dependency_groups"]))
    wheels = tuple(sorted(wheels, key=lambda one: one.name))
    return LockedPackage(
        name, version, marker, wheels=wheels, sdist=sdist, tool=draw(st.dictionaries(words, tools, max_size=2))
    )


@st.composite
def locks(draw: st.DrawFn) -> Lock:
    found = draw(st.lists(packages(), max_size=3, unique_by=lambda one: one.name))
    tool = draw(st.dictionaries(words, st.dictionaries(words, tools, max_size=2), max_size=2))
    return Lock(draw(words), tuple(sorted(found, key=lambda one: one.name)), extras=("a",), tool=tool)


@given(locks())
def test_any_lock_survives_being_written_and_is_a_lock_to_others(lock: Lock) -> None:
    oracle = pytest.importorskip("packaging.pylock")
    content = write_lock(lock)
    assert read_lock(content, "pylock.toml") == lock
    assert write_lock(read_lock(content, "pylock.toml")) == content
    theirs = oracle.Pylock.from_dict(tomllib.loads(content.decode()))
    assert [package.name for package in theirs.packages] == [package.name for package in lock.packages]


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_raise_anything_but_a_sentence(content: bytes) -> None:
    for text in (content, b'lock-version = "1.0"\ncreated-by = "x"\npackages = []\n' + content):
        with contextlib.suppress(BadLock):
            read_lock(text, "pylock.toml")
