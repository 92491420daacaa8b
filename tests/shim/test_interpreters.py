"""Interpreters found and chosen: by version, range, name, path, by the project; asked once while they stay the same."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from p2pcdn_shim.zephyr.environment import venv
from p2pcdn_shim.zephyr.errors import UsageError, ZephyrError
from p2pcdn_shim.zephyr.interpreters import finding, probes
from p2pcdn_shim.zephyr.interpreters.probes import Probe, probe
from p2pcdn_shim.zephyr.machine import platforms
from tests.shim.zephyr import assert_one_sentence, zephyr

# An interpreter that answers as the script does, without being one; it counts how often it is asked.
FAKE = """#!/bin/sh
file="$(/usr/bin/readlink -f "$0")"
echo asked >> "$file.asked"
/bin/cat "$file.json"
"""


def make_fake(folder: Path, name: str, version: str, interpreter: Probe, **more: object) -> Path:
    """A program on some PATH that says that it is Python of this version."""
    folder.mkdir(parents=True, exist_ok=True)
    said = interpreter.as_dict() | {"prefix": str(folder), "base_prefix": str(folder)}
    said["base_executable"] = str(folder / name)
    del said["executable"], said["tags"]
    said["version"] = [int(part) for part in version.split(".")[:2]]
    said["markers"] = dict(interpreter.markers) | {"python_full_version": version}
    (folder / f"{name}.json").write_text(json.dumps(said | more))
    (folder / name).write_text(FAKE)
    (folder / name).chmod(0o755)
    return folder / name


def asked(fake: Path) -> int:
    counts = fake.with_name(f"{fake.name}.asked")
    return len(counts.read_text().splitlines()) if counts.exists() else 0


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    path = os.pathsep.join([f"{tmp_path}/one", f"{tmp_path}/two"])
    return {"PATH": path, "HOME": str(tmp_path), "ZEPHYR_CACHE_DIR": f"{tmp_path}/cache"}


def test_an_interpreter_says_what_it_is(interpreters: list[Probe]) -> None:
    for one in interpreters:
        assert one.full_version.startswith(f"3.{one.version[1]}.")
        assert one.version >= (3, 8)
        assert Path(one.base_executable).exists()
        assert one.markers["sys_platform"] == sys.platform
        assert one.markers["platform_release"] == os.uname().release
        assert one.scheme["purelib"] == f"{{base}}/lib/python3.{one.version[1]}/site-packages"
        assert one.tags[0].startswith(f"cp3{one.version[1]}-cp3{one.version[1]}")
        assert one.cache_tag == f"cpython-3{one.version[1]}"


def test_an_interpreter_is_asked_once_and_again_when_its_file_changes(
    tmp_path: Path, interpreter: Probe, environ: dict[str, str]
) -> None:
    fake = make_fake(tmp_path / "one", "python3", "3.12.1", interpreter)
    assert probe(fake, environ) == probe(fake, environ)
    assert asked(fake) == 1
    make_fake(tmp_path / "one", "python3", "3.12.2", interpreter)
    os.utime(fake, ns=(1, 1))
    assert probe(fake, environ).full_version == "3.12.2"
    assert asked(fake) == 2


def test_an_environment_is_known_from_its_base_as_if_it_had_been_asked(
    tmp_path: Path, interpreters: list[Probe], environ: dict[str, str]
) -> None:
    for one in interpreters:
        python = venv.create(tmp_path / one.full_version, one).python
        probe(Path(one.base_executable), environ)
        files = sorted((tmp_path / "cache").rglob("*.json"))
        known = probe(python, environ)
        assert sorted((tmp_path / "cache").rglob("*.json")) == files, "it was asked"
        asked_itself = probes.ask(python, environ)
        assert Path(known.base_executable).samefile(one.base_executable)
        assert known.but(base_executable="") == asked_itself.but(base_executable="")


def test_an_interpreter_that_its_environment_does_not_link_to_is_asked(
    tmp_path: Path, interpreter: Probe, environ: dict[str, str]
) -> None:
    fake = make_fake(tmp_path / "one", "python3", "3.12.1", interpreter)
    other = make_fake(tmp_path / "two", "python3", "3.12.2", interpreter)
    (tmp_path / "env" / "bin").mkdir(parents=True)
    (tmp_path / "env" / "pyvenv.cfg").write_text(f"home = {fake.parent}\n")
    (tmp_path / "env" / "bin" / "python").symlink_to(other)
    assert probe(tmp_path / "env" / "bin" / "python", environ).full_version == "3.12.2"
    assert (asked(fake), asked(other)) == (0, 1)


def test_a_kept_answer_that_is_broken_is_asked_for_again(
    tmp_path: Path, interpreter: Probe, environ: dict[str, str]
) -> None:
    fake = make_fake(tmp_path / "one", "python3", "3.12.1", interpreter)
    first = probe(fake, environ)
    (kept,) = (tmp_path / "cache" / "interpreters").iterdir()
    for content in ("", "{", "[]", "null", '{"state": 1}', kept.read_text()[:-20]):
        kept.write_text(content)
        assert probe(fake, environ).full_version == first.full_version


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    tmp_path: Path, interpreter: Probe, environ: dict[str, str]
) -> None:
    (tmp_path / "cache").write_text("a file")
    fake = make_fake(tmp_path / "one", "python3", "3.12.1", interpreter)
    assert probe(fake, environ).full_version == probe(fake, environ).full_version == "3.12.1"
    assert asked(fake) == 2


def test_what_is_no_interpreter_is_told_in_a_sentence(tmp_path: Path, environ: dict[str, str]) -> None:
    for content, words in (("#!/bin/sh\necho oh no >&2; exit 1\n", "oh no"), ("#!/bin/sh\necho hello\n", "exit code 0"),
                           ("no program", "cannot be started")):  # fmt: skip
        file = tmp_path / "python3"
        file.write_text(content)
        file.chmod(0o755)
        with pytest.raises(ZephyrError, match=words):
            probe(file, environ)
    with pytest.raises(ZephyrError, match="No such file"):
        probe(tmp_path / "nowhere", environ)


def test_the_first_on_the_path_is_taken_and_a_version_asks_for_its_own(
    tmp_path: Path, interpreter: Probe, environ: dict[str, str]
) -> None:
    make_fake(tmp_path / "one", "python3", "3.11.4", interpreter)
    make_fake(tmp_path / "two", "python3.12", "3.12.1", interpreter)
    make_fake(tmp_path / "two", "python3", "3.9.1", interpreter, prefix="another")
    for wanted, version in ((None, "3.11.4"), ("3", "3.11.4"), ("3.12", "3.12.1"), ("3.9", "3.9.1"), ("3.9.1", "3.9.1"),
                            (">=3.12", "3.12.1"), ("<3.10", "3.9.1"), ("python3.12", "3.12.1"),
                            ("cp312", "3.12.1")):  # fmt: skip
        assert finding.find(wanted, None, tmp_path, environ).full_version == version, wanted


def test_only_names_that_can_be_the_version_are_asked(
    tmp_path: Path, interpreter: Probe, environ: dict[str, str]
) -> None:
    wanted = make_fake(tmp_path / "one", "python3.12", "3.12.1", interpreter)
    other = make_fake(tmp_path / "one", "python3.11", "3.11.1", interpreter, prefix="another")
    finding.find("3.12", None, tmp_path, environ)
    assert (asked(wanted), asked(other)) == (1, 0)


def test_a_program_or_a_file_may_be_named(tmp_path: Path, interpreter: Probe, environ: dict[str, str]) -> None:
    file = make_fake(tmp_path / "one", "mypython", "3.10.1", interpreter)
    make_fake(tmp_path / "else" / "bin", "python", "3.9.9", interpreter)
    assert finding.find("mypython", None, tmp_path, environ).executable == str(file)
    assert finding.find("./one/mypython", None, tmp_path, environ).executable == str(file)
    assert finding.find("else/", None, tmp_path, environ).full_version == "3.9.9"
    for wanted in ("./nowhere", "another-python", "!", ">=x"):
        with pytest.raises(UsageError):
            finding.find(wanted, None, tmp_path, environ)


def test_the_project_says_which_python_it_needs(tmp_path: Path, interpreter: Probe, environ: dict[str, str]) -> None:
    make_fake(tmp_path / "one", "python3", "3.12.1", interpreter)
    make_fake(tmp_path / "two", "python3.9", "3.9.1", interpreter)
    file = tmp_path / "pyproject.toml"
    file.write_text('[project]\nrequires-python = "<3.10"\n')
    assert finding.find(None, file, tmp_path, environ).full_version == "3.9.1"
    (tmp_path / ".python-version").write_text("3.12\n")
    assert finding.find(None, file, tmp_path, environ).full_version == "3.12.1"
    (tmp_path / ".python-version").write_text("my-environment\n")
    assert finding.find(None, file, tmp_path, environ).full_version == "3.9.1"
    file.write_text('[project]\nrequires-python = "three"\n')
    with pytest.raises(UsageError, match="requires-python"):
        finding.find(None, file, tmp_path, environ)


def test_where_none_fits_it_is_said_what_there_is(tmp_path: Path, interpreter: Probe, environ: dict[str, str]) -> None:
    make_fake(tmp_path / "one", "python3", "3.12.1", interpreter)
    with pytest.raises(ZephyrError, match=r"No interpreter fits Python 3\.7; there is 3\.12\.1") as caught:
        finding.find("3.7", None, tmp_path, environ)
    assert "--python" in str(caught.value)


def test_a_shim_of_pyenv_stands_for_what_pyenv_would_choose(
    tmp_path: Path, interpreter: Probe, environ: dict[str, str]
) -> None:
    root = tmp_path / "pyenv"
    for version in ("3.9.1", "3.12.1", "3.11.9", "3.7.1"):
        make_fake(root / "versions" / version / "bin", "python", version, interpreter)
    make_fake(root / "shims", "python3", "3.8.0", interpreter)
    (root / "version").write_text("3.11.9\n3.9.1\n")
    environ |= {"PYENV_ROOT": str(root), "PATH": str(root / "shims")}
    assert finding.find(None, None, tmp_path, environ).full_version == "3.11.9"
    assert finding.find("3.9", None, tmp_path, environ).full_version == "3.9.1"
    assert finding.find("3.12", None, tmp_path, environ).full_version == "3.12.1"
    assert finding.find(None, None, tmp_path, environ | {"PYENV_VERSION": "3.12.1"}).full_version == "3.12.1"
    found = [one.full_version for one in finding.every(tmp_path, environ) if "pyenv" in one.executable]
    assert found == ["3.11.9", "3.9.1", "3.12.1"]
    assert asked(root / "shims" / "python3") == 0


def test_an_interpreter_under_several_names_is_listed_once(
    tmp_path: Path, interpreter: Probe, environ: dict[str, str]
) -> None:
    file = make_fake(tmp_path / "one", "python3.12", "3.12.1", interpreter)
    for name in ("python", "python3"):
        (tmp_path / "one" / name).symlink_to(file.name)
    mine = [one.executable for one in finding.every(tmp_path, environ) if "/one/" in one.executable]
    assert mine == [str(tmp_path / "one" / "python3")]
    assert asked(file) == 1


def test_the_windows_launcher_names_its_interpreters() -> None:
    said = (
        " -V:3.12 *        C:\\Program Files\\Python312\\python.exe\n -V:3.9           D:\\py\\python.exe\n"
        " -3.8-32          C:\\old\\python.exe\nNo Pythons found\n"
    )
    assert [str(one) for one in platforms.launcher_paths(said)] == [
        "C:\\Program Files\\Python312\\python.exe", "D:\\py\\python.exe", "C:\\old\\python.exe",
    ]  # fmt: skip


def test_each_platform_has_its_own_places() -> None:
    environ = {"HOME": "/home/user", "LOCALAPPDATA": "/local"}
    assert platforms.cache_directory(environ, "linux") == Path("/home/user/.cache/zephyr")
    assert platforms.cache_directory(environ, "darwin") == Path("/home/user/Library/Caches/zephyr")
    assert platforms.data_directory(environ, "win32") == Path("/local/zephyr")
    assert platforms.data_directory({**environ, "XDG_DATA_HOME": "/data"}, "linux") == Path("/data/zephyr")
    assert platforms.python_of(Path("/e"), "nt") == Path("/e/Scripts/python.exe")
    assert platforms.interpreter_names(12, "nt") == ["python.exe"]
    assert next(iter(platforms.other_places(environ, "darwin"))).name == "python3.14"


def test_python_list_shows_them_and_find_prints_the_one(tmp_path: Path, interpreter: Probe) -> None:
    make_fake(tmp_path / "bin", "python3", "3.12.1", interpreter)
    variables = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    rows = json.loads(zephyr("python", "list", "--json", home=tmp_path, variables=variables).stdout)
    assert rows[0]["version"] == "3.12.1"
    assert rows[0]["executable"] == str(tmp_path / "bin" / "python3")
    text = zephyr("python", "list", home=tmp_path, variables=variables).stdout
    assert text.splitlines()[0].split() == ["3.12.1", str(tmp_path / "bin" / "python3")]
    found = zephyr("python", "find", "3.12", home=tmp_path, variables=variables)
    assert found.stdout == f"{tmp_path / 'bin' / 'python3'}\n"
    assert "No interpreter fits" in assert_one_sentence(zephyr("python", "find", "3.3", home=tmp_path), 1)


def test_the_kept_answer_is_private_enough_to_be_trusted(
    tmp_path: Path, interpreter: Probe, environ: dict[str, str]
) -> None:
    probe(make_fake(tmp_path / "one", "python3", "3.12.1", interpreter), environ)
    (kept,) = (tmp_path / "cache" / "interpreters").iterdir()
    assert not stat.S_IMODE(kept.stat().st_mode) & stat.S_IWOTH
