"""A plan carried out: what is there afterwards is what PyPA's `installer` makes, by links, reflinks or copies."""

from __future__ import annotations

import errno
import importlib.util
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from p2pcdn.envs import link
from p2pcdn.envs.errors import CannotInstall
from p2pcdn.envs.install import Source, install, install_site, sentence
from p2pcdn.envs.link import Linker
from p2pcdn.envs.planning import ReadyWheel, make_plan
from p2pcdn.envs.scheme import Scheme
from p2pcdn.envs.scripts import entry_point_text, launcher_file, rewritten, shebang
from p2pcdn.envs.unpack import unpack
from tests.bench.wheels import RealWheels, real_wheels
from tests.envs.made import MadeWheel, files_below
from tests.envs.ready import PYTHON, SCHEME, SITE, bare_venv, planned, ready

if TYPE_CHECKING:
    from p2pcdn.envs.install import LinkMode

DEMO = MadeWheel(
    {
        "demo/__init__.py": b"version = '1'\ndef main():\n    print('hello', version)\n",
        "demo/data.bin": b"\0" * 1000,
        "demo-1.0.data/scripts/old": b"#!python\nimport demo; print('old', demo.version)\n",
        "demo-1.0.data/scripts/three": b"#!python3 -s\nimport demo; print('three', demo.version)\n",
        "demo-1.0.data/scripts/raw": b"#!/bin/sh\necho raw\n",
        "demo-1.0.data/data/share/demo.txt": b"shared",
        "demo-1.0.data/headers/demo.h": b"//",
        "demo-1.0.data/platlib/native.so": b"ELF",
    },
    entry_points="[console_scripts]\ndemo-run = demo:main\n",
)


def output(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_an_installed_wheel_runs(tmp_path: Path) -> None:
    root = bare_venv(tmp_path / "venv with space" / ".venv")
    plan, sources = planned(tmp_path / "trees", DEMO)
    (tmp_path / "new").mkdir()
    done = install(plan, sources, str(tmp_path / "new"), python=str(root / "bin/python"))
    assert sum(done.how.values()) == sum(len(one.names) for one in plan.links)
    assert set(done.phases_s) == {"links", "writes"}
    # Where it will stand: `generations` swaps it in; here it is enough to move it.
    for name in (
        "bin/demo-run",
        "bin/old",
        "bin/three",
        "bin/raw",
        "share/demo.txt",
        f"{SITE}/demo",
        f"{SITE}/native.so",
    ):
        (root / name).parent.mkdir(exist_ok=True)
        (tmp_path / "new" / name).rename(root / name)
    assert output(root / "bin/demo-run") == "hello 1"
    assert output(root / "bin/old") == "old 1"
    assert output(root / "bin/three") == "three 1"
    assert output(root / "bin/raw") == "raw"
    assert (tmp_path / "new/include/site" / f"python{PYTHON}" / "demo/demo.h").exists()


def test_every_row_of_the_installed_record_is_true(tmp_path: Path) -> None:
    import base64
    import csv
    import hashlib

    plan, sources = planned(tmp_path / "trees", DEMO)
    (tmp_path / "new").mkdir()
    install(plan, sources, str(tmp_path / "new"), python="/venv/bin/python")
    rows = list(csv.reader((tmp_path / "new" / SITE / "demo-1.0.dist-info/RECORD").read_text().splitlines()))
    found = set()
    for path, digest, size in rows:
        file = Path(os.path.normpath(tmp_path / "new" / SITE / path))
        found.add(str(file.relative_to(tmp_path / "new")))
        if digest:
            right = base64.urlsafe_b64encode(hashlib.sha256(file.read_bytes()).digest()).rstrip(b"=").decode()
            assert (digest, int(size)) == (f"sha256={right}", file.stat().st_size)
    assert found == set(files_below(tmp_path / "new")) == set(plan.paths())


@pytest.mark.parametrize("mode", ["reflink", "hardlink", "copy"])
def test_every_way_gives_the_same_files(tmp_path: Path, mode: LinkMode) -> None:
    plan, sources = planned(tmp_path / "trees", DEMO)
    (tmp_path / "new").mkdir()
    done = install(plan, sources, str(tmp_path / "new"), python="/venv/bin/python", link_mode=mode)
    target, source = tmp_path / "new" / SITE / "demo/data.bin", Path(sources[0].tree) / "demo/data.bin"
    assert target.read_bytes() == source.read_bytes()
    # Byte code is valid for this time of its source only.
    assert target.stat().st_mtime_ns == source.stat().st_mtime_ns
    assert target.samefile(source) == (done.how["hardlink"] > 0)
    if mode == "copy":
        # All but the scripts, RECORD and INSTALLER, which are written.
        assert done.how["copy"] == len(list(plan.paths())) - len(plan.scripts) - 2
        assert target.stat().st_mode & stat.S_IWUSR
    else:
        assert done.how["copy"] == 0


class _System:
    """Stands in for a file system: refuses what it cannot."""

    def __init__(self, number: int, after: int = 0) -> None:
        self.number = number
        self.after = after
        self.calls = 0

    def link(self, source: str, target: str) -> None:
        self.calls += 1
        if self.calls > self.after:
            raise OSError(self.number, os.strerror(self.number), source)
        os.link(source, target)


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM])
def test_what_two_file_systems_cannot_is_asked_once_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    system = _System(number)
    monkeypatch.setitem(link._PUT, "hardlink", system.link)
    plan, sources = planned(tmp_path / "trees", DEMO)
    (tmp_path / "new").mkdir()
    done = install(plan, sources, str(tmp_path / "new"), python="/p", link_mode="hardlink")
    assert system.calls == 1
    assert done.how["copy"] == sum(len(one.names) for one in plan.links)
    assert len(done.told) == 1
    assert "are copied and not linked" in done.told[0]


def test_a_file_with_too_many_links_is_copied_and_the_others_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(_System):
        def link(self, source: str, target: str) -> None:
            if source.endswith("/b"):
                raise OSError(errno.EMLINK, "too many", source)
            os.link(source, target)

    monkeypatch.setitem(link._PUT, "hardlink", Full(0).link)
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    for name in "abc":
        (tmp_path / "from" / name).write_text(name)
    linker = Linker("hardlink", str(tmp_path / "to"))
    linker.link_all(linker.pair(str(tmp_path / "from")), f"{tmp_path}/from/", f"{tmp_path}/to/", ["a", "b", "c"])
    assert linker.counts == {"reflink": 0, "hardlink": 2, "copy": 1}
    assert not linker.told


def test_what_is_to_be_ones_own_shares_no_inode_with_the_store(tmp_path: Path) -> None:
    plan, sources = planned(tmp_path / "trees", DEMO)
    (tmp_path / "root").mkdir()
    done = install(plan, sources, str(tmp_path / "root"), python="/p", link_mode="own")
    assert done.how["hardlink"] == 0
    assert all(path.stat().st_nlink == 1 for path in (tmp_path / "root").rglob("*") if path.is_file())


def test_files_on_another_file_system_are_copied(tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system here")
    import tempfile

    plan, sources = planned(tmp_path / "trees", DEMO)
    with tempfile.TemporaryDirectory(dir=memory) as root:
        done = install(plan, sources, root, python="/p")
        assert done.how["copy"] == sum(len(one.names) for one in plan.links)
        assert "they are on different file systems" in done.told[0]


def test_a_tree_that_is_gone_is_a_sentence(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path / "trees", DEMO)
    (tmp_path / "new").mkdir()
    with pytest.raises(CannotInstall, match="is gone from the store"):
        install(plan, [Source(str(tmp_path / "nowhere"))], str(tmp_path / "new"), python="/p")


def test_byte_code_is_linked_beside_its_source(tmp_path: Path) -> None:
    import py_compile

    wheels, sources = ready(tmp_path / "trees", MadeWheel({"demo.py": b"x = 1\n"}))
    name = f"__pycache__/demo.{sys.implementation.cache_tag}.pyc"
    code = tmp_path / "code"
    py_compile.compile(f"{sources[0].tree}/demo.py", cfile=str(code / name), dfile="demo.py")
    plan = make_plan([ReadyWheel(wheels[0].listing, "w", "0" * 64, bytecode=(name,))], SCHEME)
    root = bare_venv(tmp_path / ".venv")
    new = tmp_path / "new"
    new.mkdir()
    install(plan, [Source(sources[0].tree, str(code))], str(new), python="/p")
    (new / SITE / "demo.py").rename(root / SITE / "demo.py")
    (new / SITE / "__pycache__").rename(root / SITE / "__pycache__")
    # It is taken as it is: Python compiles nothing again, and says where it read the code.
    done = subprocess.run(
        [root / "bin/python", "-v", "-c", "import demo; print(demo.x)"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"
    assert f"matches {root / SITE / 'demo.py'}" in done.stderr


def test_the_site_of_link_mode_env_may_have_data_files_beside_it(tmp_path: Path) -> None:
    beside = MadeWheel({"demo.py": b"", "demo-1.0.data/data/lib/pkgconfig/demo.pc": b"Name: demo\n"})
    plan, sources = planned(tmp_path / "trees", beside)
    install_site(plan, sources, str(tmp_path / "site"))
    (tmp_path / "new").mkdir()
    left = plan.outside_site()
    install(left, sources, str(tmp_path / "new"), python="/p", link_mode="env", site_tree=str(tmp_path / "site"))
    assert (tmp_path / "new/lib/pkgconfig/demo.pc").exists()
    assert (tmp_path / "new" / SITE / "demo.py").exists()


def test_the_site_of_link_mode_env_is_one_link(tmp_path: Path) -> None:
    plan, sources = planned(tmp_path / "trees", DEMO)
    site_tree = tmp_path / "site"
    install_site(plan, sources, str(site_tree))
    install_site(plan, sources, str(site_tree))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site", "trees"]
    record = (site_tree / "demo-1.0.dist-info/RECORD").read_text()
    assert "../../../bin/demo-run,,\n" in record
    assert (site_tree / "demo").stat().st_mode & 0o222 == 0
    assert (site_tree / "demo-1.0.dist-info/INSTALLER").stat().st_mode & 0o222 == 0
    (tmp_path / "new").mkdir()
    install(plan, sources, str(tmp_path / "new"), python="/p", link_mode="env", site_tree=str(site_tree))
    assert (tmp_path / "new" / SITE).readlink() == site_tree
    assert (tmp_path / "new/bin/demo-run").exists()
    assert (tmp_path / "new/share/demo.txt").exists()
    flat = make_plan(ready(tmp_path / "trees", DEMO)[0], Scheme.of_target(PYTHON))
    with pytest.raises(CannotInstall, match="site-packages directory of its own"):
        install(flat, sources, str(tmp_path / "new"), python="/p", link_mode="env", site_tree=str(site_tree))


def test_first_lines_that_no_kernel_reads_go_through_a_shell(tmp_path: Path) -> None:
    assert shebang("/venv/bin/python", "-u") == b"#!/venv/bin/python -u\n"
    assert rewritten("/v/python", b"#!python -E\r\nprint()\n") == b"#!/v/python -E\nprint()\n"
    assert rewritten("/v/python", b"#!python") == b"#!/v/python\n"
    for python in (tmp_path / ("long" * 40) / "python", tmp_path / "it's a place" / "python"):
        python.parent.mkdir()
        python.symlink_to(sys.executable)
        script = tmp_path / "script"
        script.write_bytes(
            shebang(str(python), "-B") + b"import sys; print(sys.argv[1:], sys.flags.dont_write_bytecode)\n"
        )
        script.chmod(0o755)
        assert output(script, "a b", "c") == "['a b', 'c'] 1"


def test_an_entry_point_calls_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "mod.py").write_text(
        "import sys\nclass App:\n    @staticmethod\n    def run(): return sys.argv[0][-2:] == 'go'"
    )
    (tmp_path / "go").write_bytes(entry_point_text(sys.executable, "mod:App.run"))
    done = subprocess.run([sys.executable, tmp_path / "go"], cwd=tmp_path, check=False)
    assert done.returncode == 1


def test_a_windows_launcher_is_followed_by_its_line_and_its_zip(tmp_path: Path) -> None:
    content = launcher_file(b"MZ", "C:\\my env\\python.exe", "gui", b"print(1)\n")
    assert content.startswith(b'MZ#!"C:\\my env\\pythonw.exe"\r\nPK')
    (tmp_path / "x.exe").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "x.exe") as archive:
        assert archive.read("__main__.py") == b"print(1)\n"
    plan = make_plan(ready(tmp_path / "trees", DEMO)[0], Scheme.of_venv(PYTHON, windows=True))
    sources = [Source(str(next(path for path in (tmp_path / "trees").iterdir() if path.is_dir())))]
    for name, launcher in (("without", None), ("with", lambda kind: kind.encode())):
        (tmp_path / name).mkdir()
        if launcher is None:
            with pytest.raises(CannotInstall, match="no launcher"):
                install(plan, sources, str(tmp_path / name), python="C:\\python.exe")
        else:
            install(plan, sources, str(tmp_path / name), python="C:\\python.exe", launcher=launcher)
            assert (tmp_path / name / "Scripts/demo-run.exe").read_bytes().startswith(b"console#!C:\\python.exe\r\n")


@pytest.fixture(scope="module")
def wheels() -> RealWheels:
    return real_wheels()


@pytest.mark.upstream
@pytest.mark.skipif(importlib.util.find_spec("installer") is None, reason="needs installer: pip install -e '.[test]'")
def test_real_wheels_are_installed_as_the_reference_does(tmp_path: Path, wheels: RealWheels) -> None:
    from installer import install as install_with_reference
    from installer.destinations import SchemeDictionaryDestination
    from installer.sources import WheelFile

    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    found, sources = [], []
    places = {"purelib": SITE, "platlib": SITE, "scripts": "bin", "data": "", "headers": f"include/site/python{PYTHON}"}
    for one in [*wheels.files[:25], *(_distribution(DEMO, tmp_path),)]:
        path = tmp_path / one.filename
        path.write_bytes(one.content)
        found.append(
            ReadyWheel(unpack(path, one.filename, tmp_path / f"tree-{one.filename}"), one.filename, one.sha256)
        )
        sources.append(Source(str(tmp_path / f"tree-{one.filename}")))
        scheme = {key: str(theirs / place) for key, place in places.items()}
        scheme["headers"] += f"/{one.project.lower()}"
        destination = SchemeDictionaryDestination(scheme, interpreter="/venv/bin/python", script_kind="posix")
        with WheelFile.open(path) as source:
            install_with_reference(source, destination, additional_metadata={"INSTALLER": b"zephyr\n"})
    install(make_plan(found, SCHEME), sources, str(ours), python="/venv/bin/python")
    left, right = files_below(ours), files_below(theirs)
    assert set(left) == set(right)
    for name, content in left.items():
        if name.endswith("/RECORD"):
            assert _rows(content) == _rows(right[name]), name
        elif not name.startswith("bin/"):
            assert content == right[name], name


def _distribution(wheel: MadeWheel, directory: Path):  # type: ignore[no-untyped-def]
    from tests.bench.wheels import read_wheel

    (directory / "made").mkdir()
    return read_wheel(wheel.write(directory / "made"))


def _rows(content: bytes) -> set[str]:
    """Without the scripts: each installer writes them in its own words."""
    rows = content.decode().replace("\r", "").splitlines()
    return {row.removeprefix("./") for row in rows if "/bin/" not in row}


@pytest.mark.parametrize("beside", [".zephyr/.venv/next-7", "~zephyr-42/new/built"])
def test_a_full_disk_is_told_by_the_place_that_its_user_knows(beside: str) -> None:
    told = sentence(OSError(errno.ENOSPC, "No space left on device"), f"/home/me/project/{beside}")
    assert told.startswith("The disk of /home/me/project is full.")
