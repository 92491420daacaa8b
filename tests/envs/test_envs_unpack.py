"""Good wheels become trees; hostile, lying and broken ones become a sentence, and leave nothing behind."""

from __future__ import annotations

import io
import os
import stat
import struct
import tempfile
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcdn.envs.errors import BadWheel
from p2pcdn.envs.listing import Entry, EntryPoint, Listing
from p2pcdn.envs.member_names import NAME_SIZE_BYTES_MAX, collisions, folded, why_unsafe
from p2pcdn.envs.unpack import is_leftover, remove_tree, settle, unpack
from tests.bench.wheels import make_wheel
from tests.envs.made import WHEEL, MadeWheel, digest, files_below, right_record

GOOD = MadeWheel({"demo/__init__.py": b"version = 1\n", "demo/empty.py": b""})
INFO = "demo-1.0.dist-info"


def unpacked(tmp_path: Path, content: bytes, filename: str = GOOD.filename) -> tuple[Listing, Path]:
    wheel = tmp_path / "blob"
    wheel.write_bytes(content)
    tree = tmp_path / "tree"
    return unpack(wheel, filename, tree), tree


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def refused(tmp_path: Path, content: bytes, filename: str = GOOD.filename) -> str:
    """The sentence; and nothing may be left."""
    with pytest.raises(BadWheel) as caught:
        unpacked(tmp_path, content, filename)
    assert names_in(tmp_path) == ["blob"]
    sentence = str(caught.value)
    assert sentence.startswith(filename)
    assert sentence.endswith("Nothing of it was kept.")
    return sentence


def test_a_wheel_becomes_a_read_only_tree_and_a_listing(tmp_path: Path) -> None:
    listing, tree = unpacked(tmp_path, GOOD.content())
    members = GOOD.members()
    found = files_below(tree)
    assert {name: found[name] for name in members if not name.endswith("RECORD")} == {
        name: content for name, content in members.items() if not name.endswith("RECORD")
    }
    assert (listing.project, listing.version, listing.info, listing.purelib) == ("demo", "1.0", INFO, True)
    assert listing.tags == ("py3-none-any",)
    assert listing.entries[2] == Entry("demo/__init__.py", 12, digest(b"version = 1\n"), place="demo/__init__.py")
    assert [entry.path for entry in listing.entries] == sorted(set(members) - {f"{INFO}/RECORD"})
    assert listing.size_bytes == sum(len(found[entry.path]) for entry in listing.entries)
    assert stat.S_IMODE((tree / "demo/__init__.py").stat().st_mode) & 0o333 == 0
    assert stat.S_IMODE((tree / "demo").stat().st_mode) & 0o222 == 0


def test_the_record_of_a_tree_is_sorted_and_lists_every_file(tmp_path: Path) -> None:
    wheel = MadeWheel({"demo/b,c.py": b"1", "demo/a.py": b"2"})
    listing, tree = unpacked(tmp_path, wheel.content())
    rows = (tree / INFO / "RECORD").read_text().splitlines()
    assert rows[0] == f"{INFO}/METADATA,sha256={listing.entries[0].sha256},{listing.entries[0].size_bytes}"
    assert rows[3] == f'"demo/b,c.py",sha256={digest(b"1")},1'
    assert rows[-1] == f"{INFO}/RECORD,,"


def test_a_listing_survives_being_written_down(tmp_path: Path) -> None:
    wheel = MadeWheel(
        {
            "demo-1.0.data/scripts/run": b"#!python -u\nprint()\n",
            "é.py": b"",
            "demo/x.pth": b"",
            "start.pth": b"import x",
        },
        entry_points="[console_scripts]\nGo = demo.main : App.run [extra]\n[gui_scripts]\nwin=demo:gui\n[m]\na = b\n",
    )
    listing, _ = unpacked(tmp_path, wheel.content())
    assert Listing.decode(listing.encode()) == listing
    assert listing.entry_points == (
        EntryPoint("Go", "demo.main", "App.run"),
        EntryPoint("win", "demo", "gui", gui=True),
    )
    assert listing.has_data
    assert listing.startup_files() == ("start.pth",)
    script = next(entry for entry in listing.entries if entry.part == "scripts")
    assert (script.place, script.shebang, script.executable) == ("run", "python", True)
    with pytest.raises(ValueError):
        Listing.decode(b'{"format": 99}')


def test_the_right_to_execute_comes_from_the_archive_alone(tmp_path: Path) -> None:
    wheel = MadeWheel({"demo/a": b"", "demo/b": b""}, modes={"demo/a": stat.S_IFREG | 0o775})
    _, tree = unpacked(tmp_path, wheel.content())
    assert os.access(tree / "demo/a", os.X_OK)
    assert (tree / "demo/b").stat().st_mode & 0o111 == 0


def test_byte_code_in_a_wheel_is_left_out_and_told(tmp_path: Path) -> None:
    wheel = MadeWheel({"demo/a.py": b"", "demo/__pycache__/a.cpython-311.pyc": b"evil"})
    listing, tree = unpacked(tmp_path, wheel.content())
    assert not (tree / "demo/__pycache__").exists()
    assert "brings a file of byte code; it was left out" in listing.notes[0]


def test_a_newer_minor_format_is_told_and_a_newer_major_one_refused(tmp_path: Path) -> None:
    listing, _ = unpacked(tmp_path, MadeWheel({}, wheel=WHEEL.replace("1.0", "1.9")).content())
    assert "newer format 1.9" in listing.notes[0]
    (tmp_path / "other").mkdir()
    assert "is 2.0" in refused(tmp_path / "other", MadeWheel({}, wheel=WHEEL.replace("1.0", "2.0")).content())


@pytest.mark.parametrize("force", ["zip64", "descriptor", "stored", "directories"])
def test_every_way_to_write_a_zip_that_wheels_use_is_read(tmp_path: Path, force: str) -> None:
    buffer = _Unseekable() if force == "descriptor" else io.BytesIO()
    method = zipfile.ZIP_STORED if force == "stored" else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(buffer, "w", method) as archive:
        if force == "directories":
            archive.mkdir("demo")
        for name, content in GOOD.members().items():
            with archive.open(name, "w", force_zip64=force == "zip64") as member:
                member.write(content)
    _, tree = unpacked(tmp_path, buffer.getvalue())
    assert (tree / "demo/__init__.py").read_bytes() == b"version = 1\n"


class _Unseekable(io.BytesIO):
    """What makes zipfile write sizes behind the bytes."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


NAMES = {
    "../evil": "does not stay",
    "demo/../../evil": "does not stay",
    "/absolute": "absolute",
    "C:/drive": "absolute",
    "demo\\evil": "backslash",
    "demo//twice": "does not stay",
    "./dot": "does not stay",
    "demo/line\nbreak": "control character",
    "demo/" + "x" * 256: "255 bytes",
    "x/" * 600 + "y": f"{NAME_SIZE_BYTES_MAX} bytes",
}


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    assert NAMES[name] in refused(tmp_path, MadeWheel({name: b"evil"}).content())


def test_a_name_with_a_nul_is_refused(tmp_path: Path) -> None:
    # zipfile itself cuts such names, so it is put in afterwards.
    content = MadeWheel({"demo/QQ.py": b""}).content().replace(b"demo/QQ.py", b"demo/Q\0.py")
    assert "control character" in refused(tmp_path, content)


PAIRS = [
    ("demo/A.py", "demo/a.py"),
    (unicodedata.normalize("NFC", "demo/é.py"), unicodedata.normalize("NFD", "demo/é.py")),
    ("demo/x", "demo/x/y"),
    ("demo/X", "demo/x/y"),
    ("demo/straße", "demo/STRASSE"),
]


@pytest.mark.parametrize("pair", PAIRS, ids=range(len(PAIRS)))
def test_names_that_are_one_file_somewhere_are_refused(tmp_path: Path, pair: tuple[str, str]) -> None:
    assert "cannot both be files" in refused(tmp_path, MadeWheel(dict.fromkeys(pair, b"")).content())


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    wheel = MadeWheel({"demo/a.py": b"good"}, more=[("demo/a.py", b"evil")])
    assert "cannot both be files" in refused(tmp_path, wheel.content())


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK], ids=oct)
def test_a_link_or_a_device_is_refused(tmp_path: Path, kind: int) -> None:
    wheel = MadeWheel({"demo/link": b"../../etc/passwd"}, modes={"demo/link": kind | 0o777})
    assert "link or a device" in refused(tmp_path, wheel.content())


def test_a_bomb_is_refused_before_a_byte_of_it_is_written(tmp_path: Path) -> None:
    wheel = MadeWheel({"demo/zeros": b"\0" * (65 * 1024 * 1024)}, record="")
    assert "a bomb" in refused(tmp_path, wheel.content())


def test_a_wheel_with_too_many_members_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pcdn.envs.archive.MEMBERS_MAX", 4)
    assert "has 5 members" in refused(tmp_path, GOOD.content())


def test_a_wheel_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pcdn.envs.archive.UNPACKED_SIZE_BYTES_MAX", 100)
    assert "the limit is 100" in refused(tmp_path, GOOD.content())


def _patched(
    find: bytes, at: int, form: str, change: Callable[[int], int], *, also: bytes | None = None, content: bytes = b""
) -> bytes:
    """The good wheel with a number changed in the record that begins with `find` (of demo/__init__.py, the first
    member).
    """
    content = content or GOOD.content()
    for sign, offset in ((find, at), (also, at - 2)) if also else ((find, at),):
        place = content.index(sign) + offset
        (value,) = struct.unpack_from(form, content, place)
        content = content[:place] + struct.pack(form, change(value)) + content[place + struct.calcsize(form) :]
    return content


RIGHT = right_record({name: one for name, one in GOOD.members().items() if "RECORD" not in name}, f"{INFO}/RECORD")
# RECORD need not say sizes; then the archive alone does.
UNSIZED = MadeWheel(GOOD.files, record=RIGHT.replace(",12", ",")).content()
CENTRAL, LOCAL, END = b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"
BROKEN = {
    "encrypted": (_patched(CENTRAL, 8, "<H", lambda _: 1, also=LOCAL), "encrypted"),
    "lzma": (_patched(CENTRAL, 10, "<H", lambda _: 14, also=LOCAL), "packed in a way"),
    "another method where it stands": (_patched(LOCAL, 8, "<H", lambda _: 0), "called otherwise"),
    "another name where it stands": (GOOD.content().replace(b"demo/__init__.py", b"demo/__evil__.py", 1), "otherwise"),
    "a smaller size than it has": (_patched(CENTRAL, 24, "<L", lambda _: 3), "fill its place"),
    "a larger packed size": (_patched(CENTRAL, 20, "<L", lambda size: size + 1), "fill its place"),
    "another checksum in both": (_patched(CENTRAL, 16, "<L", lambda crc: crc ^ 1, also=LOCAL), "length and checksum"),
    "a smaller size in both": (_patched(CENTRAL, 24, "<L", lambda _: 3, also=LOCAL, content=UNSIZED), "holds more"),
    "a larger size in both": (
        _patched(CENTRAL, 24, "<L", lambda _: 300, also=LOCAL, content=UNSIZED),
        "length and checksum",
    ),
    "something in front": (b"#!/bin/sh\n" + GOOD.content(), "is not where"),
    "something behind": (GOOD.content() + b"x", "behind its end"),
    "nothing": (b"", "end record is missing"),
    "no zip": (b"\x7fELF" + b"\0" * 100, "end record is missing"),
    "a count that is wrong": (_patched(END, 10, "<H", lambda _: 9), "directory is not where"),
    "a count that is too small": (
        _patched(END, 8, "<H", lambda count: count - 1, content=_patched(END, 10, "<H", lambda count: count - 1)),
        "longer than",
    ),
    "another volume": (_patched(END, 4, "<H", lambda _: 1), "volumes"),
    "its members at one place": (_patched(CENTRAL, 42, "<L", lambda _: 60), "before its first member"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_archive_that_two_readers_could_read_differently_is_refused(tmp_path: Path, name: str) -> None:
    content, why = BROKEN[name]
    assert why in refused(tmp_path, content)


def test_a_gap_between_two_members_is_refused(tmp_path: Path) -> None:
    content = GOOD.content()
    second = content.index(LOCAL, 4)
    hidden = content[:second] + b"hidden" + content[second:]
    buffer = io.BytesIO(hidden)
    # zipfile moves the directory's offsets where a file begins with something else; here they are put right by hand.
    directory = hidden.index(CENTRAL)
    at, first = directory, True
    while hidden[at : at + 4] == CENTRAL:
        name, extra, comment = struct.unpack_from("<3H", hidden, at + 28)
        (offset,) = struct.unpack_from("<L", hidden, at + 42)
        buffer.seek(at + 42)
        buffer.write(struct.pack("<L", offset if first else offset + 6))
        at, first = at + 46 + name + extra + comment, False
    buffer.seek(at + 16)
    buffer.write(struct.pack("<L", directory))
    assert "fill its place" in refused(tmp_path, buffer.getvalue())


def test_a_field_that_renames_a_member_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in GOOD.members().items():
            member = zipfile.ZipInfo(name)
            member.extra = struct.pack("<2HBL4s", 0x7075, 9, 1, 0, b"evil")
            archive.writestr(member, content)
    assert "contradict" in refused(tmp_path, buffer.getvalue())


def test_no_cut_and_no_flipped_bit_gives_anything_but_the_right_files_or_a_sentence(tmp_path: Path) -> None:
    content = MadeWheel({"demo/a.py": b"x = 1\n" * 20}).content()
    right = content_of(tmp_path / "right", content)
    for at in range(0, len(content), 7):
        assert content_of(tmp_path / f"cut{at}", content[:at]) is None
    for at in range(0, len(content), 3):
        flipped = content[:at] + bytes([content[at] ^ (1 << at % 8)]) + content[at + 1 :]
        assert content_of(tmp_path / f"flip{at}", flipped) in (None, right)


@given(
    st.lists(
        st.tuples(
            st.floats(0, 1),
            st.sampled_from([b"PK\x01\x02", b"PK\x05\x06", b"\xff" * 4]) | st.binary(max_size=3),
            st.integers(0, 60),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_a_mangled_wheel_is_a_sentence_or_whole(changes: list[tuple[float, bytes, int]]) -> None:
    content = GOOD.content()
    for place, put, dropped in changes:
        at = int(place * len(content))
        content = content[:at] + put + content[at + dropped :]
    with tempfile.TemporaryDirectory() as directory:
        found = content_of(Path(directory) / "x", content)
        assert found is None or found["demo/__init__.py"] == b"version = 1\n"


def content_of(directory: Path, content: bytes) -> dict[str, bytes] | None:
    directory.mkdir()
    try:
        _, tree = unpacked(directory, content)
    except BadWheel:
        return None
    return files_below(tree)


LIES = {
    "a wrong hash": (RIGHT.replace(digest(b"version = 1\n"), digest(b"other")), "is not what its RECORD says"),
    "a wrong size": (RIGHT.replace(",12", ",13"), "another size"),
    "a file that is missing in it": (RIGHT.replace("demo/empty.py", "demo/full.py"), "not in the wheel"),
    "a row too few": ("\n".join(RIGHT.splitlines()[1:]), "is not in RECORD"),
    "a weak hash": (RIGHT.replace(f"sha256={digest(b'')}", "md5=1B2M2Y8AsgTpgAmY7PhCfg"), "a weak one"),
    "no hash": (RIGHT.replace(f"sha256={digest(b'')}", ""), "no hash"),
    "two rows that disagree": (RIGHT + f"demo/empty.py,sha256={digest(b'x')},0\n", "two things"),
    "a row of two": (RIGHT + "demo/empty.py,\n", "malformed"),
    "a size that is no number": (RIGHT.replace(",12", ",twelve"), "malformed"),
    "a path outside": (RIGHT + f"../evil,sha256={digest(b'')},0\n", "not in the wheel"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_record_that_lies_is_refused(tmp_path: Path, lie: str) -> None:
    record, why = LIES[lie]
    wheel = MadeWheel(GOOD.files, record=record)
    assert why in refused(tmp_path, wheel.content())


def test_who_forgives_takes_an_incomplete_record_but_none_that_lies(tmp_path: Path) -> None:
    incomplete = {"": "", "no hash": RIGHT.replace(f"sha256={digest(b'')}", ""), "names": "demo/gone.py\n"}
    for name, record in incomplete.items():
        (tmp_path / "blob").write_bytes(MadeWheel(GOOD.files, record=record).content())
        listing = unpack(tmp_path / "blob", GOOD.filename, tmp_path / f"tree {name}", forgiving=True)
        assert len(listing.entries) == 4
    record, why = LIES["a wrong hash"]
    (tmp_path / "blob").write_bytes(MadeWheel(GOOD.files, record=record).content())
    with pytest.raises(BadWheel, match=why):
        unpack(tmp_path / "blob", GOOD.filename, tmp_path / "lie", forgiving=True)


def test_a_stronger_hash_in_record_is_checked_too(tmp_path: Path) -> None:
    import base64
    import hashlib

    strong = base64.urlsafe_b64encode(hashlib.sha512(b"").digest()).rstrip(b"=").decode()
    record = RIGHT.replace(f"sha256={digest(b'')}", f"sha512={strong}")
    listing, _ = unpacked(tmp_path, MadeWheel(GOOD.files, record=record).content())
    assert listing.entries[-1].sha256 == digest(b"")
    (tmp_path / "other").mkdir()
    lying = MadeWheel(GOOD.files, record=record.replace(strong[:5], "AAAAA"))
    assert "not what its RECORD says" in refused(tmp_path / "other", lying.content())


WRONG = {
    "no dist-info": (MadeWheel({}).content().replace(b".dist-info", b".dust-info"), GOOD.filename, "0 .dist-info"),
    "two of them": (MadeWheel({"a-1.dist-info/METADATA": b""}).content(), GOOD.filename, "2 .dist-info"),
    "another project": (MadeWheel({}, project="other").content(), GOOD.filename, "another project"),
    "metadata that is not text": (
        MadeWheel({}, metadata="Name: QQ\nVersion: 1.0\n").content(),
        GOOD.filename,
        "METADATA is of QQ",
    ),
    "another version": (MadeWheel({}, version="1.1").content(), GOOD.filename, "another project or version"),
    "metadata of another": (
        MadeWheel({}, metadata="Name: evil\nVersion: 1.0\n").content(),
        GOOD.filename,
        "METADATA is of evil",
    ),
    "no wheel's name": (GOOD.content(), "demo.whl", "its name is not a wheel's"),
    "no version of the format": (MadeWheel({}, wheel="Root-Is-Purelib: true\n").content(), GOOD.filename, "Wheel-Vers"),
    "an unknown part": (MadeWheel({"demo-1.0.data/etc/x": b""}).content(), GOOD.filename, "belongs to no part"),
    "a script in a directory": (MadeWheel({"demo-1.0.data/scripts/a/b": b""}).content(), GOOD.filename, "no part"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wheel_that_is_not_what_it_is_called_is_refused(tmp_path: Path, name: str) -> None:
    content, filename, why = WRONG[name]
    assert why in refused(tmp_path, content, filename)


@pytest.mark.parametrize(
    "line", ["x = os;print(1):main", "x = demo", "x = demo:", "../x = demo:main", "a/b = demo:main", "x = demo:1a", "x"]
)
def test_an_entry_point_that_would_write_other_code_is_refused(tmp_path: Path, line: str) -> None:
    wheel = MadeWheel({}, entry_points=f"[console_scripts]\n{line}\n")
    assert "entry_points" in (sentence := refused(tmp_path, wheel.content())) or "its command" in sentence


def test_a_wheel_of_other_spelling_is_the_same_project(tmp_path: Path) -> None:
    wheel = make_wheel("Foo.Bar-baz", "1.0")
    listing, _ = unpacked(tmp_path, wheel.content, wheel.filename)
    assert listing.project == "Foo.Bar-baz"


def test_two_who_unpack_at_once_leave_one_tree(tmp_path: Path) -> None:
    first, tree = unpacked(tmp_path, GOOD.content())
    second = unpack(tmp_path / "blob", GOOD.filename, tree)
    assert first == second
    assert names_in(tmp_path) == ["blob", "tree"]


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    (tmp_path / "blob").write_bytes(MadeWheel({"demo/big": os.urandom(300_000)}).content())
    import signal

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError):
            unpack(tmp_path / "blob", GOOD.filename, tmp_path / "tree")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert names_in(tmp_path) == ["blob"]


def test_leftovers_are_known_by_their_names_and_trees_can_be_removed(tmp_path: Path) -> None:
    _, tree = unpacked(tmp_path, GOOD.content())
    settle(tmp_path)
    remove_tree(tree)
    remove_tree(tree)
    assert not tree.exists()
    assert is_leftover(".tree.0123456789abcdef.unpacking")
    assert not is_leftover("tree")


names = st.lists(st.text(st.characters(codec="utf-8"), max_size=12), min_size=1, max_size=5).map("/".join)


@given(st.one_of(names, st.text(max_size=40)))
def test_a_name_that_passes_stays_below_its_directory(name: str) -> None:
    if why_unsafe(name):
        return
    joined = os.path.normpath(f"/base/{name}")
    assert joined == f"/base/{name}"
    assert not any(ord(one) < 32 for one in name)


@given(st.lists(names, max_size=6, unique=True))
def test_names_without_a_collision_can_all_be_files_where_case_does_not_count(paths: list[str]) -> None:
    paths = [path for path in paths if not why_unsafe(path)]
    clash = any(
        folded(one) == folded(other) or folded(other).startswith(folded(one) + "/")
        for one in paths
        for other in paths
        if one is not other
    )
    assert bool(list(collisions(paths))) == clash
