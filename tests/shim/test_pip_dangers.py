"""`zephyr pip` where it could do harm: to files that are nobody's to take, to passwords, to what a hash promises."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from p2pcdn_shim.zephyr.pip import change as changes
from p2pcdn_shim.zephyr.pip.building import own_pin, variables
from p2pcdn_shim.zephyr.pip.change import Change, take_back
from p2pcdn_shim.zephyr.pip.cli import main
from p2pcdn_shim.zephyr.pip.commands.download import _rezipped
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.finder import Finder
from p2pcdn_shim.zephyr.pip.freezing import lines_of
from p2pcdn_shim.zephyr.pip.html_links import links_of
from p2pcdn_shim.zephyr.pip.installed import Distribution
from p2pcdn_shim.zephyr.pip.link import link_at, link_to_path, listed
from p2pcdn_shim.zephyr.pip.repositories import frozen, git, is_of, revision_of
from p2pcdn_shim.zephyr.pip.sources import Sources
from p2pcdn_shim.zephyr.pip.target import find_target
from p2pcdn_shim.zephyr.pip.voice import PipVoice
from tests.shim.pip_site import COMMAND, Site
from tests.shim.zephyr import SYSTEM_PATH, environment


def _tree(directory: Path) -> dict[str, str]:
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()}


# -- an environment is changed whole or not at all --------------------------------------------------------------------


def _left_by_a_killed_command(directory: Path, pid: int) -> Path:
    """The scratch of a command that had moved `was` aside and had brought `came`."""
    scratch = directory / f"~zephyr-{pid}"
    (scratch / "old").mkdir(parents=True)
    (scratch / "old" / "0").write_text("old")
    (directory / "came").write_text("new")
    job = {
        "aside": {str(directory / "was"): str(scratch / "old" / "0")},
        "comes": [str(directory / "came")],
        "made": [],
    }
    (scratch / "journal.json").write_text(json.dumps(job))
    return scratch


def test_a_killed_change_is_taken_back_also_where_another_process_has_its_number(tmp_path: Path) -> None:
    """In a container numbers come again at once; left for later, it would take back what came in between."""
    _left_by_a_killed_command(tmp_path, os.getppid())
    with Change(tmp_path):
        assert (tmp_path / "was").read_text() == "old"
        assert not (tmp_path / "came").exists()


def test_what_cannot_be_put_back_is_kept(tmp_path: Path) -> None:
    scratch = _left_by_a_killed_command(tmp_path, 999999999)
    (tmp_path / "was").mkdir()
    (tmp_path / "was" / "in the way").write_text("mine")
    with pytest.raises(OSError, match="is kept in"):
        take_back(tmp_path)
    assert (scratch / "old" / "0").read_text() == "old"
    (tmp_path / "was" / "in the way").unlink()
    take_back(tmp_path)
    assert _tree(tmp_path) == {"was": "old"}


def test_a_second_interrupt_while_it_is_taken_back_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old").write_text("old")

    def interrupt(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, Change(tmp_path) as change:
        patched.setattr(changes, "_undo", interrupt)
        change.remove([str(tmp_path / "old")])
        change.put(change.new / "missing", tmp_path / "b")
        with pytest.raises(KeyboardInterrupt):
            change.commit()
    with Change(tmp_path):
        assert (tmp_path / "old").read_text() == "old"


def test_a_directory_goes_and_files_of_its_name_come(tmp_path: Path) -> None:
    """As with packages of setuptools, whose whole directory goes for a wheel that has the same."""
    (tmp_path / "lib" / "sub").mkdir(parents=True)
    (tmp_path / "lib" / "sub" / "a.py").write_text("old")
    before = _tree(tmp_path)
    with Change(tmp_path) as change:
        (change.new / "a").write_text("new")
        change.remove([str(tmp_path / "lib")])
        change.put(change.new / "a", tmp_path / "lib" / "sub" / "a.py")
        change.put(change.new / "missing", tmp_path / "b")
        with pytest.raises(PipError):
            change.commit()
        assert _tree(tmp_path / "lib") == {"sub/a.py": before["lib/sub/a.py"]}
    assert _tree(tmp_path) == before
    with Change(tmp_path) as change:
        (change.new / "a").write_text("new")
        change.remove([str(tmp_path / "lib")])
        change.put(change.new / "a", tmp_path / "lib" / "sub" / "a.py")
        change.commit()
    assert _tree(tmp_path) == {"lib/sub/a.py": "new"}


def test_no_file_takes_the_place_of_a_directory_with_files_in_it(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "precious").write_text("mine")
    with Change(tmp_path) as change:
        (change.new / "a").write_text("new")
        change.put(change.new / "a", tmp_path / "lib")
        with pytest.raises(PipError, match="is a directory with files in it"):
            change.commit()
    assert _tree(tmp_path) == {"lib/precious": "mine"}


def test_a_linked_package_goes_as_a_link(tmp_path: Path) -> None:
    """As `flit install --symlink` puts it there: the sources behind it are the user's."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.py").write_text("mine")
    place = tmp_path / "site"
    place.mkdir()
    (place / "lib").symlink_to(tmp_path / "mine")
    with Change(place) as change:
        (change.new / "a").write_text("new")
        change.remove([str(place / "lib")])
        change.put(change.new / "a", place / "lib" / "a.py")
        change.commit()
    assert (place / "lib" / "a.py").read_text() == "new"
    assert (tmp_path / "mine" / "a.py").read_text() == "mine"


def test_a_copy_to_another_file_system_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the middle of a copy: a half one, taken for what was moved aside, would replace the original."""
    source = tmp_path / "source"
    source.write_text("whole")
    rename = os.rename

    def across(one: str, other: str) -> None:
        if str(one) == str(source):
            raise OSError(changes.errno.EXDEV, "Invalid cross-device link")
        rename(one, other)

    def killed(one: str, other: str, **_: object) -> None:
        Path(other).write_text("wh")
        raise KeyboardInterrupt

    monkeypatch.setattr(changes.os, "rename", across)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copy2", killed)
        with pytest.raises(KeyboardInterrupt):
            changes._move(str(source), str(tmp_path / "place"))
    assert not (tmp_path / "place").exists()
    changes._move(str(source), str(tmp_path / "place"))
    assert _tree(tmp_path) == {"place": "whole"}


def test_a_directory_of_commands_outlives_the_last_of_them(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tool").write_text("")
    (tmp_path / "site" / "lib" / "sub").mkdir(parents=True)
    (tmp_path / "site" / "lib" / "sub" / "a.py").write_text("")
    with Change(tmp_path / "site") as change:
        change.remove([str(tmp_path / "bin" / "tool"), str(tmp_path / "site" / "lib" / "sub" / "a.py")])
        change.commit()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["bin", "site"]


def test_no_package_can_bring_what_would_pass_for_a_journal(site: Site) -> None:
    site.wheel("lib", "1.0", files={"~zephyr-999999999/journal.json": "{}"})
    before = site.files()
    assert "only zephyr itself may use" in site.install("lib", code=1).stderr
    assert site.files() == before


# -- what is taken away -----------------------------------------------------------------------------------------------


def test_a_pin_with_the_hash_of_another_version_is_told_as_a_wrong_hash(site: Site) -> None:
    old, new = site.wheel("lib", "1.0"), site.wheel("lib", "2.0")
    pins = site.directory / "pins.txt"
    pins.write_text(f"lib==2.0 --hash=sha256:{hashlib.sha256(old.read_bytes()).hexdigest()}\n")
    index = site.directory / "index.html"
    links = [
        f'<a href="{one.as_uri()}#sha256={hashlib.sha256(one.read_bytes()).hexdigest()}">x</a>' for one in (old, new)
    ]
    index.write_text("\n".join(links))
    run = site.pip("install", "--no-index", "-f", index.as_uri(), "--require-hashes", "-r", str(pins), code=1)
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in run.stderr
    assert f"Got        {hashlib.sha256(new.read_bytes()).hexdigest()}" in run.stderr
    assert not (site.packages / "lib.py").exists()


@pytest.mark.parametrize(
    ("active", "leads_to", "why"),
    [
        (True, "/nowhere/python3", "is gone"),
        (False, "/nowhere/python3", "is gone"),
        # As of one in another user's home, nobody can say whether it is there.
        (True, f"/{300 * 'x'}", "cannot be reached (File name too long)"),
    ],
)
def test_what_is_meant_for_an_environment_without_interpreter_goes_to_no_other_one(
    site: Site, active: bool, leads_to: str, why: str
) -> None:
    wheel, project = site.wheel("plain", "1"), site.directory / "project"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project / ".venv"], check=True)
    (project / ".venv" / "bin" / "python").unlink()
    (project / ".venv" / "bin" / "python").symlink_to(leads_to)
    more = {"VIRTUAL_ENV": str(project / ".venv")} if active else {}
    run = subprocess.run(
        [*COMMAND, "install", "--no-index", str(wheel)],
        env=environment(site.directory, **more, PATH=f"{site.venv / 'bin'}{os.pathsep}{SYSTEM_PATH}"),
        cwd=site.directory if active else project,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 1
    assert f"The interpreter of the environment {project / '.venv'} {why}." in run.stderr


def test_a_question_that_nobody_answers_is_no_success(site: Site) -> None:
    site.pip("install", "--no-index", str(site.wheel("plain", "1")))
    run = site.pip("uninstall", "plain", code=1)
    assert "Nobody is there to answer; --yes uninstalls" in run.stderr
    assert (site.packages / "plain.py").exists()


def test_nothing_outside_of_the_environment_is_uninstalled_nor_any_directory(site: Site) -> None:
    site.wheel("lib", "1.0")
    site.install("lib")
    precious = site.directory / "precious"
    precious.write_text("mine")
    (site.packages / "other").mkdir()
    (site.packages / "other" / "module.py").write_text("theirs")
    record = site.packages / "lib-1.0.dist-info" / "RECORD"
    way_out = os.path.relpath(precious, site.packages)
    record.write_text(record.read_text() + f"{way_out},,\n{site.directory / 'precious'},,\nother,,\n")
    run = site.pip("uninstall", "-y", "lib")
    assert "Successfully uninstalled lib-1.0" in run.stdout
    assert "lies outside of the environment and stays" in run.stderr
    assert precious.read_text() == "mine"
    assert (site.packages / "other" / "module.py").exists()
    assert not (site.packages / "lib.py").exists()


def test_an_upgrade_in_a_target_that_fails_leaves_it_as_it_was(site: Site) -> None:
    site.wheel("lib", "1.0", files={"pkg/__init__.py": "old"})
    site.install("--target", "there", "lib")
    (site.directory / "there" / "bin" / "tool").mkdir(parents=True)
    (site.directory / "there" / "bin" / "tool" / "precious").write_text("mine")
    before = _tree(site.directory / "there")
    points = {"lib-2.0.dist-info/entry_points.txt": "[console_scripts]\ntool = lib:version\n"}
    site.wheel("lib", "2.0", files={"pkg/__init__.py": "new", **points})
    assert "is a directory with files in it" in site.install("--upgrade", "--target", "there", "lib", code=1).stderr
    assert _tree(site.directory / "there") == before


def test_what_another_command_installed_while_it_waited_is_replaced(site: Site) -> None:
    """What is installed was read before it waited; two versions would be there afterwards."""
    site.wheel("lib", "2.0")
    old = site.wheel("lib", "1.0")
    command = [*COMMAND, "--python", str(site.venv), "install", "--no-index", "-f", str(site.wheels), "lib==2.0"]
    variables = environment(site.directory, PYTHONUNBUFFERED="1")
    with contextlib.ExitStack() as other:
        other.enter_context(Change(site.packages))
        run = subprocess.Popen(command, stdout=subprocess.PIPE, env=variables, text=True, cwd=site.directory)
        assert run.stdout is not None
        assert any(line.startswith("Another command is changing") for line in run.stdout)
        with zipfile.ZipFile(old) as archive:
            archive.extractall(site.packages)
    said = run.communicate(timeout=60)[0]
    assert "Found existing installation: lib 1.0" in said
    assert [path.name for path in site.packages.glob("lib-*")] == ["lib-2.0.dist-info"]


# -- names that are paths ---------------------------------------------------------------------------------------------


def test_a_command_that_would_lie_elsewhere_is_refused(site: Site) -> None:
    points = "[console_scripts]\n../../outside = lib:version\n"
    site.wheel("lib", "1.0", files={"lib-1.0.dist-info/entry_points.txt": points})
    run = site.install("lib", code=1)
    assert "its command '../../outside' cannot be made of" in run.stderr
    assert not list(site.directory.rglob("outside"))


def test_a_link_with_slashes_in_its_name_is_kept_under_the_last_part(site: Site) -> None:
    """`%2F` is one; `#egg=` says what the file is, whatever it is called."""
    page = site.directory / "links.html"
    page.write_text('<a href="http://127.0.0.1:9/..%2F..%2Fx.tar.gz#egg=lib-1.0">lib</a>')
    [link] = links_of(page.read_text(), page.as_uri())
    assert link.filename == "x.tar.gz"
    assert link_at("http://127.0.0.1:9/lib-1.0-py3-none-any.%2F..%2F..%2Fx.whl").filename == "x.whl"


def test_a_record_that_is_no_table_is_told(site: Site) -> None:
    site.wheel("lib", "1.0", files={"lib.py": ""})
    with zipfile.ZipFile(site.wheels / "lib-1.0-py3-none-any.whl") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(site.wheels / "lib-1.0-py3-none-any.whl", "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data if not name.endswith("RECORD") else "x" * 200_000)
    assert (
        "lib-1.0-py3-none-any.whl: a row of RECORD is malformed (field larger than field limit"
        in site.install("lib", code=1).stderr
    )


def test_what_lies_beside_the_user_is_none_of_pythons_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('json of the directory')\n")
    monkeypatch.chdir(tmp_path)
    target = find_target(sys.executable)
    assert target.prefix == sys.prefix
    assert not {"", str(tmp_path), "/nowhere"}.intersection(target.path)


def test_a_file_that_is_asked_for_twice_must_please_both(site: Site) -> None:
    wheel = site.wheel("lib", "1.0")
    sources = Sources(SimpleNamespace(voice=PipVoice(-3)), None)  # type: ignore[arg-type]
    right = {"sha256": frozenset([hashlib.sha256(wheel.read_bytes()).hexdigest()])}
    assert sources.prepared(link_to_path(wheel), "lib", allowed=right).path == wheel
    with pytest.raises(PipError, match="DO NOT MATCH"):
        sources.prepared(link_to_path(wheel), "lib", allowed={"sha256": frozenset(["0" * 64])})


@pytest.mark.parametrize("text", ["{", "[]", '{"files": [1]}', '{"files": [{}]}', '{"files": [{"url": "http://[x/"}]}'])
def test_a_page_that_is_no_page_is_told(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.json"
    page.write_text(text)
    rules = SimpleNamespace(tags=())
    finder = Finder(SimpleNamespace(find_links=[str(page)]), rules, PipVoice(), None, None)  # type: ignore[arg-type]
    assert list(finder._at(str(page))) == []
    assert "it is no list of files" in capsys.readouterr().err


def test_only_hashes_that_can_be_checked_count() -> None:
    row = {"url": "http://host/lib-1.0.zip", "hashes": {"shake_128": "x", "blake2b_256": "y", "sha256": "z"}}
    assert [one.hashes for one in listed([row], "http://host/")] == [{"sha256": "z"}]


def test_of_equal_files_that_is_taken_which_pip_takes(site: Site) -> None:
    """Of several indexes the last, an index before local files: as pip 23.2 and 26.3 do, tried with these."""
    for name in ("one", "two", "local"):
        wheel = site.wheel("lib", "1.0", files={"lib.py": name})
        place = site.directory / name / ("lib" if name != "local" else "")
        place.mkdir(parents=True)
        wheel.rename(place / wheel.name)
        if name != "local":
            (place / "index.html").write_text(f'<a href="{wheel.name}">lib</a>')
    one, two = ((site.directory / name).as_uri() for name in ("one", "two"))
    for words, taken in (
        (("-i", one, "--extra-index-url", two), "two"),
        (("-i", two, "--extra-index-url", one), "one"),
        (("-f", "local", "-i", one), "one"),
    ):
        site.pip("install", "--upgrade", "--target", "there", "--no-compile", *words, "lib")
        assert (site.directory / "there" / "lib.py").read_text() == taken


# -- checkouts --------------------------------------------------------------------------------------------------------


def test_a_directory_of_the_user_is_not_replaced_by_a_checkout(site: Site) -> None:
    precious = site.directory / "sources" / "lib" / "precious.py"
    precious.parent.mkdir(parents=True)
    precious.write_text("mine")
    git = (f"git+file://{site.directory / 'nowhere'}#egg=lib", "--src", "sources")
    run = site.pip("install", "-e", *git, code=1)
    assert "exists and is no checkout of git; it was left as it is" in run.stderr
    site.pip("--exists-action=b", "install", "-e", *git, code=1)
    assert (site.directory / "sources" / "lib.bak" / "precious.py").read_text() == "mine"


def _checkout(directory: Path) -> Path:
    directory.mkdir()
    (directory / "a.py").write_text("one")
    for words in (("init", "-q"), ("add", "."), ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one")):
        git(*words, cwd=directory)
    return directory


def test_a_checkout_is_of_a_repository_whoever_asks_for_it(tmp_path: Path) -> None:
    checkout = _checkout(tmp_path / "checkout")
    assert not is_of(checkout, "https://host/other.git")
    git("config", "remote.origin.url", "https://user:word@host/other", cwd=checkout)
    assert is_of(checkout, "https://host/other.git")


def test_a_password_of_a_checkout_is_not_frozen(tmp_path: Path) -> None:
    checkout = _checkout(tmp_path / "checkout")
    git("config", "remote.origin.url", "https://user:word@host/lib.git", cwd=checkout)
    assert frozen(checkout, "lib") == f"git+https://host/lib.git@{revision_of(checkout)}#egg=lib"
    git("config", "remote.origin.url", "git@host:lib.git", cwd=checkout)
    assert str(frozen(checkout, "lib")).startswith("git+ssh://git@host/lib.git@")


def test_what_is_downloaded_of_a_commit_has_its_links_and_its_programs(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "lib").mkdir(parents=True)
    (tree / ".git").mkdir()
    (tree / ".git" / "config").write_text("of the clone")
    (tree / "LICENSE").write_text("free")
    (tree / "configure").write_text("#!/bin/sh")
    (tree / "configure").chmod(0o755)
    for link, to in {"lib/LICENSE": "../LICENSE", "nowhere": "/etc/passwd", "one": "other", "other": "one"}.items():
        (tree / link).symlink_to(to)
    with tarfile.open(tmp_path / "tree.tar", "w") as tape:
        for path in tree.iterdir():
            tape.add(path, path.name)
    _rezipped(tmp_path / "tree.tar", tmp_path / "lib.zip")
    with zipfile.ZipFile(tmp_path / "lib.zip") as zipped:
        assert {name: zipped.read(name) for name in zipped.namelist()} == {
            "LICENSE": b"free", "lib/LICENSE": b"free", "configure": b"#!/bin/sh",
        }  # fmt: skip
        assert zipped.getinfo("configure").external_attr >> 16 & 0o111


def test_a_build_sees_what_compilers_are_told_and_no_secret() -> None:
    told = {"CFLAGS": "-O0", "PKG_CONFIG_PATH": "/opt/lib", "SETUPTOOLS_SCM_PRETEND_VERSION": "1", "MAX_JOBS": "2"}
    secrets = {"CARGO_REGISTRY_TOKEN": "x", "MATURIN_PASSWORD": "x", "PDM_PUBLISH_USERNAME": "x", "MY_VARIABLE": "x"}
    secrets["CARGO_REGISTRIES_OURS_INDEX"] = "sparse+https://me:word@host/"
    assert variables(told | secrets) == told


# -- what is kept -----------------------------------------------------------------------------------------------------


def test_a_purge_purges(site: Site) -> None:
    kept = site.directory / "cache" / "pip-wheels" / "key" / "lib-1.0-py3-none-any.whl"
    other = kept.with_name("other-1.0-py3-none-any.whl")
    kept.parent.mkdir(parents=True)
    kept.write_text("wheel")
    other.write_text("other")
    assert " - lib-1.0-py3-none-any.whl (5 bytes)" in site.pip("--cache-dir=cache", "cache", "list").stdout
    assert "Files removed: 1 (5 bytes)" in site.pip("--cache-dir=cache", "cache", "remove", "lib").stdout
    assert (kept.exists(), other.exists()) == (False, True)
    assert "Files removed: 1 (5 bytes)" in site.pip("--cache-dir=cache", "cache", "purge").stdout
    assert not other.parent.exists()


def test_what_was_built_in_another_state_of_the_environment_is_not_taken(tmp_path: Path) -> None:
    """With --no-build-isolation: a backend that is being worked on has the same version all day."""
    info = tmp_path / "backend-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: backend\nVersion: 1.0\n")
    assert own_pin(Distribution(info, tmp_path)) != own_pin(Distribution(info, tmp_path))
    (info / "RECORD").write_text("backend.py,sha256=a,1\n")
    first = own_pin(Distribution(info, tmp_path))
    assert first == own_pin(Distribution(info, tmp_path))
    (info / "RECORD").write_text("backend.py,sha256=b,1\n")
    assert first != own_pin(Distribution(info, tmp_path))
    (info / "direct_url.json").write_text('{"url": "file:///x", "dir_info": {"editable": true}}')
    assert own_pin(Distribution(info, tmp_path)) != own_pin(Distribution(info, tmp_path))


# -- bad input --------------------------------------------------------------------------------------------------------

_BAD: tuple[tuple[str, ...], ...] = (
    ("install", "lib @ file:///x/foo.whl"),
    ("install", "http://[x/a.whl"),
    ("install", "lib @ http://[x/a-1.0.zip"),
    ("install", "-f", "http://[x/", "lib"),
    ("install", "--extra-index-url", "http://[x/", "lib"),
    ("install", "--requirements-from-script", "number.py"),
    ("install", "--requirements-from-script", "python.py"),
    ("install", "--requirements-from-script", "latin.txt"),
    ("install", "--group", "latin/pyproject.toml:a"),
    ("install", "--dry-run", "--report", "nowhere/x", "--no-index", "-f", "wheels", "lib"),
    ("download", "--dest", "latin.txt", "--no-index", "-f", "wheels", "lib"),
    ("wheel", "-w", "latin.txt", "--no-index", "-f", "wheels", "lib"),
    ("lock", "-o", "nowhere/pylock.toml", "--no-index", "-f", "wheels", "lib"),
    ("config", "set", "global.index-url", "x"),
    ("freeze", "-r", "latin.txt"),
)


def test_what_cannot_be_read_is_told_and_is_no_fault(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(site.directory)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in environment(site.directory, ZEPHYR_DEBUG="1").items():
        monkeypatch.setenv(name, value)
    site.wheel("lib", "1.0")
    Path("latin.txt").write_bytes(b"lib==1.0 # \xff\n")
    Path("latin").mkdir()
    Path("latin/pyproject.toml").write_bytes(b"\xff")
    Path("number.py").write_text("# /// script\n# dependencies = 1\n# ///\n")
    Path("python.py").write_text("# /// script\n# requires-python = 1\n# ///\n")
    for words in _BAD:
        assert main(["--python", str(site.venv), *words]) == 1, words
        assert "ERROR: " in capsys.readouterr().err, words


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("RECORD", b"x" * 200_000),
        ("direct_url.json", b'{"url": "file:///x", "dir_info": 3}'),
        ("direct_url.json", b'{"url": 1}'),
        ("direct_url.json", b'{"url": "x", "vcs_info": {}}'),
        ("direct_url.json", b'{"url": "x", "archive_info": {"hashes": [1]}}'),
    ],
)
def test_a_damaged_installation_is_listed_all_the_same(tmp_path: Path, name: str, content: bytes) -> None:
    info = tmp_path / "lib-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: lib\nVersion: 1.0\n")
    (info / name).write_bytes(content)
    one = Distribution(info, tmp_path)
    assert (one.record(), one.direct_url, one.is_editable) == (None, None, False)
    assert lines_of(one, print) == ["lib==1.0"]


def test_one_link_that_cannot_be_read_hides_no_other() -> None:
    found = links_of('<a href="http://[x/">a</a><a href="lib-1.0.zip">b</a>', "http://host/")
    assert [one.url for one in found] == ["http://host/lib-1.0.zip"]


# Dies before its n-th step on the disk, without a word; leaves what it left to the next one.
_DIES = """
import os, pathlib, shutil, sys
from p2pcdn_shim.zephyr.pip.change import Change

def dying(real, left):
    def call(*words, **named):
        left[0] -= 1
        if left[0] < 0:
            os._exit(9)
        return real(*words, **named)
    return call

def change(top, n):
    left = [n]
    with Change(top) as change:
        (change.new / "a").write_text("new")
        (change.new / "b").write_text("new")
        change.remove([str(top / "gone"), str(top / "whole")])
        change.put(change.new / "a", top / "whole" / "sub" / "a")
        change.put(change.new / "b", top / "made" / "b")
        for name in ("rename", "unlink", "rmdir", "makedirs", "mkdir"):
            setattr(os, name, dying(getattr(os, name), left))
        change.commit()
    os._exit(0)

def tree(top):
    return sorted((str(one.relative_to(top)), one.read_text()) for one in top.rglob("*") if one.is_file())

before = [("gone", "old"), ("kept", "old"), ("whole/sub/a", "old"), ("whole/sub/c", "old")]
after = [("kept", "old"), ("made/b", "new"), ("whole/sub/a", "new")]
seen = []
for n in range(100):
    top = pathlib.Path(sys.argv[1]) / str(n)
    (top / "whole" / "sub").mkdir(parents=True)
    for name, text in before:
        (top / name).write_text(text)
    if not (child := os.fork()):
        change(top, n)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with Change(top):
        pass
    assert tree(top) in (before, after), (n, tree(top))
    seen.append(tree(top) == after)
    if not code:
        break
assert seen == sorted(seen) and seen[-1] and not seen[0], seen
print(len(seen))
"""


@pytest.mark.slow
def test_a_change_that_dies_at_any_step_is_taken_back_or_done(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _DIES, str(tmp_path)], env=environment(tmp_path), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 8
