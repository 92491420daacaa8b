"""The units: accepted by systemd's own tools, hardened, and installed as they are."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from p2pcdn_daemon.configuration.config import ConfigError
from p2pcdn_daemon.serve import systemd
from tests.daemon.nodes import ROOT

# systemd-analyze counts tenths: 1.5 on its scale of 0 (safe) to 10.
EXPOSURE_MAX = 15

analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")


@analyze
def test_the_service_is_hardened() -> None:
    unit = ROOT / "systemd" / "p2pcdn.service"
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", str(unit)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr
    exposure = re.search(r"exposure level for p2pcdn.service: ([0-9.]+)", run.stdout)
    assert exposure is not None
    assert float(exposure[1]) <= EXPOSURE_MAX / 10


@analyze
@pytest.mark.parametrize("user", [False, True])
def test_systemd_understands_the_units(user: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A user's units are looked up below this; the machine that tests may have no session.
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    _install(user, tmp_path / "units", monkeypatch)
    units = [str(tmp_path / "units" / name) for name in systemd.UNITS]
    command = ["systemd-analyze", *(["--user"] if user else []), "verify", *units]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    ours = [line for line in run.stderr.splitlines() if "p2pcdn" in line]
    assert not ours, run.stderr
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("user", [False, True])
def test_setup_writes_both_units_with_the_command_that_runs_and_undo_takes_them_away(
    user: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = _install(user, tmp_path, monkeypatch)
    assert "ExecStart=/bin/true serve" in (tmp_path / "p2pcdn.service").read_text()
    assert lines[0] == f"{tmp_path}/p2pcdn.socket: written."
    assert lines[-1] == f"To undo: p2pcdn setup systemd{' --user' if user else ''} --undo"
    assert _install(user, tmp_path, monkeypatch)[0].endswith("is there already.")
    assert systemd.uninstall(user=user, directory=tmp_path)[0] == f"{tmp_path}/p2pcdn.socket: removed."
    assert list(tmp_path.iterdir()) == []
    assert systemd.uninstall(user=user, directory=tmp_path)[0].endswith("was not there.")


@pytest.mark.parametrize("there", [False, True])
def test_without_a_systemd_to_talk_to_nothing_is_installed_and_undo_works_all_the_same(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    if there:
        (tmp_path / "bin" / "systemctl").write_text("#!/bin/sh\necho Failed to connect to bus >&2\nexit 1\n")
        (tmp_path / "bin" / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    why = "Failed to connect to bus" if there else "There is no systemctl"
    with pytest.raises(ConfigError, match=rf"{why}.* Nothing was installed\."):
        _install(True, None, monkeypatch)
    units = tmp_path / "systemd" / "user"
    assert list(units.iterdir()) == []
    _install(True, units, monkeypatch)
    lines = systemd.uninstall(user=True)
    assert [why in line for line in lines] == [False, False, True, False], "it is told once"
    assert list(units.iterdir()) == []
    assert len(systemd.uninstall(user=True)) == 3, "and of units that were not there, systemd knows nothing"


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        _install(True, tmp_path / "file", monkeypatch)


def test_a_command_in_a_home_directory_is_refused_for_the_system_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd.sys, "executable", "/home/ann/v/bin/python")
    monkeypatch.setattr(systemd.shutil, "which", lambda _: "/home/ann/v/bin/p2pcdn")
    with pytest.raises(ConfigError, match="--user"):
        systemd._command(False)
    assert systemd._command(True) == "/home/ann/v/bin/p2pcdn"


def _install(user: bool, directory: Path | None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    # The command must exist for `verify`, and the interpreter of the tests may live in a home directory.
    monkeypatch.setattr(systemd, "_command", lambda _: "/bin/true")
    return systemd.install(user=user, directory=directory)
