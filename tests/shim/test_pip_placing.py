"""Files of wheels on their way into an environment of `zephyr pip`."""

from __future__ import annotations

import base64
import hashlib
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from p2pcdn_shim.zephyr.machine import side_by_side
from p2pcdn_shim.zephyr.pip.placing import Layout, Placed, prepare

FILES = 300
ANOTHER_TIME_S_MAX = 20.0


class Linkers:
    """Who links: the first of them waits in its first link until there is another one."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self._another = threading.Event()

    def looks(self, event: str, _: object) -> None:
        me = threading.get_ident()
        if event != "os.link" or me in self.seen:
            return
        self.seen.add(me)
        if len(self.seen) > 1:
            self._another.set()
        self._another.wait(ANOTHER_TIME_S_MAX)
        self._another.set()


def wheel_of_many_files(directory: Path) -> Path:
    files = {f"many/m{number}.py": b"x = 1\n" for number in range(FILES)}
    files["many-1.dist-info/METADATA"] = b"Metadata-Version: 2.1\nName: many\nVersion: 1\n"
    files["many-1.dist-info/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    rows = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b'=').decode()},{len(content)}"
        for name, content in files.items()
    ]
    made = directory / "many-1-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr("many-1.dist-info/RECORD", "\n".join([*rows, "many-1.dist-info/RECORD,,", ""]))
    return made


def test_many_files_are_linked_by_as_many_threads_as_sync_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "_cores", lambda: 2)
    wheel = wheel_of_many_files(tmp_path)
    scratch, root = tmp_path / "scratch", tmp_path / "root"
    scratch.mkdir()
    site = root / "lib" / "python3.12" / "site-packages"
    layout = Layout(root, site, site, root / "bin", root / "include", root)
    linkers = Linkers()
    sys.addaudithook(linkers.looks)
    _, built = prepare(
        [Placed(wheel, wheel.name, requested=True)], layout, scratch,
        executable="/usr/bin/python3", python="3.12", compiler=None, cache_tag=None,
    )  # fmt: skip
    assert len(linkers.seen) == 2
    assert len(list(built.rglob("many/*.py"))) == FILES
