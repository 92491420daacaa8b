"""`zephyr pip`: what a user of pip sees, on wheels that are made here and environments that nobody else has."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from p2pcdn_shim.zephyr.pip.change import Change, take_back
from p2pcdn_shim.zephyr.pip.controls import Control
from p2pcdn_shim.zephyr.pip.errors import PipError
from tests.shim.pip_site import COMMAND, Site
from tests.shim.zephyr import environment


def test_the_interpreter_may_be_named_behind_install_too(site: Site) -> None:
    site.wheel("lib", "1.0")
    site.install("--python", str(site.venv / "bin" / "python"), "lib")
    assert site.pip("list", "--format=freeze").stdout == "lib==1.0\n"
    assert "before" in site.pip("list", f"--python={site.venv}", code=1).stderr


def test_the_help_names_the_commands_however_it_is_asked_for(site: Site) -> None:
    bare = site.pip().stdout
    assert "zephyr pip <command> [options]" in bare
    assert "  install    Install packages." in bare
    assert site.pip("help").stdout == site.pip("--help").stdout == site.pip("-h").stdout == bare
    assert "zephyr pip <command> [options]\n" in site.pip("--no-such-flag", code=2).stderr


def test_a_package_comes_with_what_it_needs_and_goes_without_a_trace(site: Site) -> None:
    before = site.files()
    site.wheel("app", "1.0", needs=["lib>=2"])
    site.wheel("lib", "1.0")
    site.wheel("lib", "2.0")
    run = site.install("app")
    assert "Successfully installed app-1.0 lib-2.0" in run.stdout
    again = site.install("app").stdout
    assert "Requirement already satisfied: app in" in again
    assert "Requirement already satisfied: lib>=2 in" in again
    listed = json.loads(site.pip("list", "--format=json").stdout)
    assert [(one["name"], one["version"]) for one in listed] == [("app", "1.0"), ("lib", "2.0")]
    gone = site.pip("uninstall", "-y", "app", "lib").stdout
    assert "Successfully uninstalled app-1.0" in gone
    assert site.files() == before


def test_an_upgrade_takes_the_old_files_away(site: Site) -> None:
    site.wheel("lib", "1.0", files={"lib_old.py": ""})
    site.install("lib")
    site.wheel("lib", "2.0")
    assert "Requirement already satisfied: lib" in site.install("lib").stdout
    run = site.install("--upgrade", "lib")
    assert "Found existing installation: lib 1.0" in run.stdout
    assert "Successfully installed lib-2.0" in run.stdout
    assert not (site.packages / "lib_old.py").exists()


def test_what_cannot_fit_is_told_and_changes_nothing(site: Site) -> None:
    site.wheel("one", "1.0", needs=["lib==1.0"])
    site.wheel("two", "1.0", needs=["lib==2.0"])
    site.wheel("lib", "1.0")
    site.wheel("lib", "2.0")
    before = site.files()
    run = site.install("one", "two", code=1)
    assert "conflicting dependencies" in run.stderr
    assert "one 1.0 depends on lib==1.0" in run.stdout
    assert site.files() == before
    missing = site.install("nowhere>=3", code=1).stderr
    assert "Could not find a version that satisfies the requirement nowhere>=3 (from versions: none)" in missing
    assert "No matching distribution found for nowhere>=3" in missing


def test_a_dry_run_reports_and_leaves_the_environment_alone(site: Site) -> None:
    site.wheel("app", "1.0", needs=["lib"])
    site.wheel("lib", "1.0")
    before = site.files()
    run = site.install("--dry-run", "--quiet", "--report", "-", "app")
    told = json.loads(run.stdout)
    assert {row["metadata"]["name"]: row["requested"] for row in told["install"]} == {"app": True, "lib": False}
    assert "Would install app-1.0 lib-1.0" in site.install("--dry-run", "app").stdout
    assert site.files() == before


def test_a_wrong_hash_stops_everything(site: Site) -> None:
    wheel = site.wheel("lib", "1.0")
    right = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (site.directory / "r.txt").write_text(f"lib==1.0 --hash=sha256:{'0' * 64}\n")
    run = site.install("-r", "r.txt", code=1)
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in run.stderr
    assert f"Got        {right}" in run.stderr
    (site.directory / "r.txt").write_text(f"lib==1.0 --hash=sha256:{right}\n")
    site.install("-r", "r.txt")
    site.wheel("other", "1.0")
    (site.directory / "r.txt").write_text(f"lib==1.0 --hash=sha256:{right}\nother==1.0\n")
    assert "other==1.0 --hash=sha256:" in site.install("-r", "r.txt", code=1).stderr


def test_where_hashes_are_demanded_a_version_is_too(site: Site) -> None:
    digest = hashlib.sha256(site.wheel("lib", "1.0").read_bytes()).hexdigest()
    (site.directory / "r.txt").write_text(f"lib>=1 --hash=sha256:{digest}\n")
    run = site.install("-r", "r.txt", code=1)
    assert "all requirements must have their versions pinned with ==" in run.stderr
    (site.directory / "r.txt").write_text(f"lib==1.0 --hash=sha256:{digest}\n")
    site.install("-c", "r.txt", "lib")
    site.install("--force-reinstall", "-r", "r.txt")


def test_the_environment_of_the_project_is_found_from_below_and_an_active_one_counts_more(site: Site) -> None:
    below = site.directory / "src" / "package"
    below.mkdir(parents=True)
    (site.directory / ".venv").symlink_to(site.venv)
    site.wheel("lib", "1.0")
    site.install("lib")

    def listed(**variables: str) -> str:
        said = subprocess.run([*COMMAND, "list", "--format=freeze"], cwd=below, capture_output=True, text=True,
                              env=environment(site.directory, **variables), check=True, timeout=60)  # fmt: skip
        return said.stdout

    assert listed() == "lib==1.0\n"
    assert listed(VIRTUAL_ENV=str(Path(sys.executable).parent.parent)) != "lib==1.0\n"


def test_a_setting_is_written_through_a_link_and_whole(site: Site) -> None:
    (site.directory / "dotfiles").mkdir()
    target, named = site.directory / "dotfiles" / "pip.conf", site.directory / ".config" / "pip" / "pip.conf"
    named.parent.mkdir(parents=True)
    target.write_text("[global]\ntimeout = 3\n")
    target.chmod(0o600)
    named.symlink_to(target)
    site.pip("config", "--user", "set", "global.index-url", "https://u:p@host/", PIP_CONFIG_FILE="")
    assert named.is_symlink()
    assert "timeout = 3\nindex-url = https://u:p@host/" in target.read_text()
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_record_that_lies_is_refused_and_nothing_is_left(site: Site) -> None:
    site.wheel("lib", "1.0", lie=True)
    before = site.files()
    assert "is not what its RECORD says" in site.install("lib", code=1).stderr
    assert site.files() == before


def test_constraints_narrow_and_want_nothing(site: Site) -> None:
    for version in ("1.0", "2.0"):
        site.wheel("lib", version)
    site.wheel("unwanted", "1.0")
    (site.directory / "c.txt").write_text("lib<2\nunwanted==1.0\n")
    assert "Successfully installed lib-1.0\n" in site.install("-c", "c.txt", "lib").stdout


def test_packages_go_where_they_are_told(site: Site) -> None:
    site.wheel("lib", "1.0")
    before = site.files()
    site.install("--target", "there", "lib")
    assert (site.directory / "there" / "lib.py").exists()
    site.install("--prefix", "below", "lib")
    assert list((site.directory / "below").glob("lib/*/site-packages/lib.py"))
    assert site.files() == before


def test_a_managed_environment_is_left_alone(site: Site) -> None:
    """PEP 668; the marker lies where the interpreter's own library is, so the sentence is tested by itself."""
    from p2pcdn_shim.zephyr.pip.managed import refusal

    error = refusal("Use the system's own tools.")
    assert "externally-managed-environment" in str(error)
    assert "Use the system's own tools." in str(error)
    assert "--break-system-packages" in error.hint


def test_freeze_check_and_show_say_what_is_there(site: Site) -> None:
    site.wheel("app", "1.0", needs=["lib==2.0"])
    site.install("--no-deps", "app")
    assert site.pip("freeze").stdout == "app==1.0\n"
    assert site.pip("check", code=1).stdout == "app 1.0 requires lib, which is not installed.\n"
    shown = site.pip("show", "-f", "app").stdout
    assert "Requires: lib\n" in shown
    assert "  app.py\n" in shown
    assert site.pip("show", "nobody", code=1).stderr == "WARNING: Package(s) not found: nobody\n"


_HOOK = """
import sys
from importlib.metadata import Distribution, DistributionFinder

class Invented(Distribution):
    def locate_file(self, path):
        return path

    def read_text(self, name):
        return "Metadata-Version: 2.1\\nName: lib\\nVersion: 1.0\\n" if name == "METADATA" else None

class Hook(DistributionFinder):
    def find_spec(self, *_):
        return None

    def find_distributions(self, context=None):
        return [Invented()]

class Broken(Hook):
    def find_distributions(self, context=None):
        raise RuntimeError

sys.meta_path += [Broken(), Hook()]
"""


def test_what_an_import_hook_speaks_of_is_there_and_cannot_be_taken_away(site: Site) -> None:
    (site.packages / "hook.py").write_text(_HOOK)
    (site.packages / "hook.pth").write_text("import hook\n")  # Debian has a sitecustomize of its own
    site.wheel("app", "1.0", needs=["lib==1.0"])
    assert "Requirement already satisfied: lib==1.0 in <memory>" in site.install("app").stdout
    assert site.pip("freeze").stdout == "app==1.0\nlib==1.0\n"
    places = [one["metadata_location"] for one in json.loads(site.pip("inspect").stdout)["installed"]]
    assert places == [str(site.packages / "app-1.0.dist-info"), None]
    before = site.files()
    assert "Not uninstalling lib at <memory>" in site.pip("uninstall", "-y", "lib").stdout
    assert site.files() == before
    site.wheel("lib", "2.0")
    site.install("--no-deps", "lib==2.0")
    assert site.pip("freeze").stdout == "app==1.0\nlib==2.0\n"  # what lies in a directory counts more


def test_options_come_from_variables_and_files_too(site: Site) -> None:
    site.wheel("lib", "1.0")
    run = site.pip("install", "lib", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(site.wheels))
    assert "Successfully installed lib-1.0" in run.stdout
    wrong = site.pip("install", "--updgrade", code=2).stderr
    assert "no such option: --updgrade" in wrong
    site.pip("config", "--site", "set", "list.format", "freeze", PIP_CONFIG_FILE="")
    assert site.pip("list", PIP_CONFIG_FILE="").stdout == "lib==1.0\n"


def test_a_download_keeps_the_archives(site: Site) -> None:
    site.wheel("app", "1.0", needs=["lib"])
    site.wheel("lib", "1.0")
    site.pip("download", "--no-index", "-f", str(site.wheels), "-d", "kept", "app")
    assert sorted(path.name for path in (site.directory / "kept").iterdir()) == [
        "app-1.0-py3-none-any.whl",
        "lib-1.0-py3-none-any.whl",
    ]


def test_a_change_that_fails_takes_everything_back(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    with Change(tmp_path) as change:
        (change.new / "a").write_text("new")
        change.remove([str(tmp_path / "old")])
        change.put(change.new / "a", tmp_path / "made" / "a")
        change.put(change.new / "missing", tmp_path / "b")
        with pytest.raises(PipError):
            change.commit()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"old": "old"}


def test_a_killed_change_is_taken_back_by_the_next_one(tmp_path: Path) -> None:
    """The scratch of a process that is gone, whose journal says what it had begun."""
    scratch = tmp_path / "~zephyr-999999999"
    (scratch / "old").mkdir(parents=True)
    (scratch / "old" / "0").write_text("old")
    (tmp_path / "came").write_text("new")
    job = {"aside": {str(tmp_path / "was"): str(scratch / "old" / "0")}, "comes": [str(tmp_path / "came")], "made": []}
    (scratch / "journal.json").write_text(json.dumps(job))
    take_back(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"was": "old"}


def test_the_last_word_on_binaries_counts() -> None:
    control = Control()
    control.put(":all:", "first")
    control.put("lib,Other_One", "second")
    assert control.in_first("anything")
    assert control.in_second("other-one")
    assert not control.in_first("lib")
    control.put(":none:", "second")
    assert control.in_first("lib")


def test_two_changes_of_one_environment_wait_for_each_other(tmp_path: Path) -> None:
    said: list[str] = []
    program = (
        "import sys, pathlib\nfrom p2pcdn_shim.zephyr.pip.change import Change\n"
        "with Change(pathlib.Path(sys.argv[1])):\n print('in', flush=True); sys.stdin.readline()\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(tmp_path), text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"

        def wait(sentence: str) -> None:
            said.append(sentence)
            assert other.stdin is not None
            other.stdin.write("\n")
            other.stdin.flush()

        with Change(tmp_path, wait):
            assert other.wait(60) == 0
    assert said == [f"Another command is changing {tmp_path}; waiting for it."]
