"""Archives as they come, good and hostile: whatever happens, nothing lies outside and nothing half-made stays."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2pcdn.build import unpack as unpack_module
from p2pcdn.build.unpack import unpack
from p2pcdn.errors import Refused

Fill = Callable[[tarfile.TarFile], object]


def tar(path: Path, fill: Fill, **options: object) -> Path:
    with tarfile.open(path, "w:gz", **options) as archive:  # type: ignore[call-overload]
        fill(archive)
    return path


def add(archive: tarfile.TarFile, name: str, content: bytes = b"x", **attributes: object) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content) if attributes.get("type", tarfile.REGTYPE) == tarfile.REGTYPE else 0
    for attribute, value in attributes.items():
        setattr(member, attribute, value)
    archive.addfile(member, io.BytesIO(content))


def _good(archive: tarfile.TarFile) -> None:
    add(archive, "demo-1.0/configure", b"#!/bin/sh\n", mode=0o4755, mtime=1_000_000_000)
    add(archive, "demo-1.0/src/one.py", b"1", mode=0o600)
    add(archive, "demo-1.0/src/two.py", type=tarfile.LNKTYPE, linkname="demo-1.0/src/one.py")
    add(archive, "demo-1.0/link.py", type=tarfile.SYMTYPE, linkname="src/one.py")
    add(archive, "demo-1.0/empty", type=tarfile.DIRTYPE, mode=0o000)
    add(archive, "demo-1.0/" + "long" * 40 + "/" + "name" * 30, b"long")


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_good_archive_is_unpacked_as_it_is_but_for_its_rights(tmp_path: Path, form: int) -> None:
    old = os.umask(0o077)
    try:
        tree = unpack(tar(tmp_path / "demo-1.0.tar.gz", _good, format=form), tmp_path / "out")
    finally:
        os.umask(old)
    assert tree == tmp_path / "out" / "demo-1.0"
    assert (tree / "link.py").resolve() == tree / "src" / "one.py"
    assert (tree / "src" / "two.py").read_bytes() == b"1"
    assert (tree / ("long" * 40) / ("name" * 30)).read_bytes() == b"long"
    assert (tree / "configure").stat().st_mtime == 1_000_000_000
    modes = {name: stat.S_IMODE((tree / name).stat().st_mode) for name in ("configure", "src/one.py", "empty", "src")}
    assert modes == {"configure": 0o755, "src/one.py": 0o644, "empty": 0o755, "src": 0o755}


@pytest.mark.parametrize(("ending", "pack"), [("bz2", bz2.compress), ("xz", lzma.compress), ("gz", gzip.compress)])
def test_the_other_packings_are_read_too(tmp_path: Path, ending: str, pack: Callable[[bytes], bytes]) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        add(archive, "demo/file", b"content")
    path = tmp_path / f"demo-1.0.tar.{ending}"
    path.write_bytes(pack(plain.getvalue()))
    assert (unpack(path, tmp_path / "out") / "file").read_bytes() == b"content"


def test_a_zip_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "demo-1.0.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("demo-1.0/", b"")
        program = zipfile.ZipInfo("demo-1.0/configure", (2001, 2, 3, 4, 5, 6))
        program.external_attr = (stat.S_IFREG | 0o755) << 16
        archive.writestr(program, b"#!/bin/sh\n")
        archive.writestr("demo-1.0/src/one.py", b"1", zipfile.ZIP_DEFLATED)
    tree = unpack(path, tmp_path / "out")
    assert (tree / "src" / "one.py").read_bytes() == b"1"
    assert os.access(tree / "configure", os.X_OK)


def test_an_archive_without_one_directory_is_its_own_tree(tmp_path: Path) -> None:
    def fill(archive: tarfile.TarFile) -> None:
        add(archive, "setup.py")
        add(archive, "src/one.py")

    assert unpack(tar(tmp_path / "demo-1.0.tar.gz", fill), tmp_path / "out") == tmp_path / "out"


HOSTILE: dict[str, tuple[Fill, str]] = {
    "traversal": (lambda archive: add(archive, "demo/../../escaped"), "outside of its directory"),
    "absolute": (lambda archive: add(archive, "/tmp/escaped"), "outside of its directory"),
    "symlink out": (
        lambda archive: add(archive, "demo/link", type=tarfile.SYMTYPE, linkname="../../../etc"),
        "leads outside",
    ),
    "hard link out": (
        lambda archive: add(archive, "demo/link", type=tarfile.LNKTYPE, linkname="../../etc/passwd"),
        "outside of its directory",
    ),
    "hard link to nothing": (
        lambda archive: add(archive, "demo/link", type=tarfile.LNKTYPE, linkname="demo/nothing"),
        "which is no file before it",
    ),
    "device": (lambda archive: add(archive, "demo/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3), "a device"),
    "pipe": (lambda archive: add(archive, "demo/pipe", type=tarfile.FIFOTYPE), "a device, a pipe"),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_tar_is_refused_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    add_hostile, said = HOSTILE[name]

    def fill(archive: tarfile.TarFile) -> None:
        add(archive, "demo/first")
        add_hostile(archive)

    path = tar(tmp_path / "demo-1.0.tar.gz", fill)
    with pytest.raises(Refused, match=rf"demo-1\.0\.tar\.gz cannot be unpacked: .*{said}.*Nothing was kept"):
        unpack(path, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_file_is_never_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()

    def fill(archive: tarfile.TarFile) -> None:
        add(archive, "demo/d", type=tarfile.SYMTYPE, linkname=".")
        add(archive, "demo/d/file")

    with pytest.raises(Refused, match="written through"):
        unpack(tar(tmp_path / "demo-1.0.tar.gz", fill), tmp_path / "out")


def test_bombs_are_cut_at_their_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack_module, "RATIO_FROM_SIZE_BYTES", 100_000)

    def fill(archive: tarfile.TarFile) -> None:
        add(archive, "demo/zeros", bytes(1 << 22))

    with pytest.raises(Refused, match="more than 50 times its size"):
        unpack(tar(tmp_path / "demo-1.0.tar.gz", fill), tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "demo-1.0.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("demo/zeros", bytes(1 << 22))
    with pytest.raises(Refused, match="more than 50 times its size"):
        unpack(tmp_path / "demo-1.0.zip", tmp_path / "out")
    monkeypatch.setattr(unpack_module, "UNPACKED_SIZE_BYTES_MAX", 50_000)
    with pytest.raises(Refused, match=r"more than 50\.0 kB"):
        unpack(tmp_path / "demo-1.0.tar.gz", tmp_path / "out")


def test_headers_that_would_fill_the_memory_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def long_header(archive: tarfile.TarFile) -> None:
        add(archive, "demo/file", pax_headers={"comment": "x" * 2_000_000})

    with pytest.raises(Refused, match=r"a header in it has more than 1\.0 MB"):
        unpack(tar(tmp_path / "a.tar.gz", long_header, format=tarfile.PAX_FORMAT), tmp_path / "out")
    monkeypatch.setattr(unpack_module, "MEMBERS_MAX", 5)
    with pytest.raises(Refused, match="more than 5 members"):
        unpack(tar(tmp_path / "b.tar.gz", lambda tape: [add(tape, f"demo/{at}") for at in range(8)]), tmp_path / "out")
    monkeypatch.setattr(unpack_module, "DIRECTORY_SIZE_BYTES_MAX", 100)
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        for at in range(8):
            archive.writestr(f"demo/{at}", b"x")
    with pytest.raises(Refused, match="its directory has more than 100 B"):
        unpack(tmp_path / "c.zip", tmp_path / "out")


def test_a_zip_with_a_link_or_a_password_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("demo/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, b"/etc/passwd")
    with pytest.raises(Refused, match="a link or a device"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("demo/file", b"x")
    raw = (tmp_path / "b.zip").read_bytes()
    central = raw.index(b"PK\x01\x02")
    (tmp_path / "b.zip").write_bytes(raw[: central + 8] + b"\x01" + raw[central + 9 :])
    with pytest.raises(Refused, match="encrypted"):
        unpack(tmp_path / "b.zip", tmp_path / "out")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2000), st.integers(0, 255), st.booleans(), st.sampled_from(["demo-1.0.tar.gz", "demo-1.0.zip"]))
def test_damaged_archives_are_refused_or_read_and_nothing_else(
    tmp_path: Path, at: int, byte: int, cut: bool, name: str
) -> None:
    path, out = tmp_path / name, tmp_path / "out"
    if name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("demo-1.0/file", b"content" * 20)
            archive.writestr("demo-1.0/other", b"content")
    else:
        tar(path, _good)
    raw = bytearray(path.read_bytes())
    at %= len(raw)
    raw[at] = byte
    path.write_bytes(raw[:at] if cut else raw)
    try:
        unpack(path, out)
    except Refused:
        assert not out.exists()
    for left in sorted(out.rglob("*"), reverse=True) if out.exists() else ():
        left.rmdir() if left.is_dir() and not left.is_symlink() else left.unlink()
    if out.exists():
        out.rmdir()
    path.unlink()
    assert list(tmp_path.iterdir()) == []
