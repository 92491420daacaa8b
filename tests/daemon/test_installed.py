"""A node notices that the p2pcdn that it was started from is another one now, and says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pcdn import __version__
from p2pcdn.errors import Leaving, Replaced
from p2pcdn_daemon.doors.installed import InstalledPackage

RECORD = """p2pcdn/__init__.py,sha256=aaa,44
p2pcdn/node.py,sha256=bbb,9000
p2pcdn-{version}.dist-info/RECORD,,
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """As an installer leaves it: the package, and beside it its RECORD."""
    (tmp_path / "p2pcdn").mkdir()
    (tmp_path / "p2pcdn" / "__init__.py").write_text("__version__ = '1'\n")
    record_of(tmp_path).parent.mkdir()
    record_of(tmp_path).write_text(RECORD)
    return tmp_path / "p2pcdn"


def record_of(place: Path, version: str = __version__) -> Path:
    return place / f"p2pcdn-{version}.dist-info" / "RECORD"


def test_another_version_in_its_place_is_noticed_and_so_is_another_build_of_the_same_one(package: Path) -> None:
    record = record_of(package.parent)
    one = InstalledPackage(package=package, environ={})
    one.check()
    record.write_text(RECORD.replace("bbb", "ccc"))
    with pytest.raises(Replaced, match=r"restart the node: end it \(process \d+\) and run `p2pcdn serve`\. Nothing"):
        one.check()
    record.write_text(RECORD)
    one.check()
    record.parent.rename(record_of(package.parent, "99.0").parent)
    with pytest.raises(Replaced):
        one.check()


def test_the_same_one_installed_again_or_with_byte_code_is_no_other_one(package: Path) -> None:
    record = record_of(package.parent)
    one = InstalledPackage(package=package, environ={})
    (again := record.with_name("new")).write_text(f"{RECORD}p2pcdn/__pycache__/node.cpython-312.pyc,,\nINSTALLER,,\n")
    again.rename(record)
    one.check()


def test_in_a_checkout_the_version_tells(package: Path) -> None:
    record_of(package.parent).unlink()
    one = InstalledPackage(package=package, environ={})
    (package / "__init__.py").write_text("__version__ = '2'\n")
    with pytest.raises(Replaced):
        one.check()


@pytest.mark.parametrize(
    ("environ", "command"),
    [
        ({"NOTIFY_SOCKET": "/run/systemd/notify"}, "`systemctl restart p2pcdn`"),
        ({"NOTIFY_SOCKET": "/run/user/1000/systemd/notify", "MANAGERPID": "7"}, "`systemctl --user restart p2pcdn`"),
    ],
)
def test_the_services_of_systemd_are_restarted_by_it(package: Path, environ: dict[str, str], command: str) -> None:
    one = InstalledPackage(package=package, environ=environ)
    record_of(package.parent).unlink()
    with pytest.raises(Replaced, match=command):
        one.check()


def test_a_node_that_is_to_leave_then_does(package: Path) -> None:
    left: list[None] = []
    one = InstalledPackage(lambda: left.append(None), package=package, environ={})
    one.check()
    assert not left
    record_of(package.parent).unlink()
    with pytest.raises(Leaving, match="the next command starts another"):
        one.check()
    assert left
