"""The user's own indexes, found where pip and uv find them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from p2pcdn_daemon.clients.client_config import FoundUpstream, find_upstreams, leads_to, pypi

PYPI = pypi().url


class Machine:
    """A home and an /etc in a temporary directory."""

    def __init__(self, root: Path) -> None:
        self.root, self.etc = root, root / "etc"
        self.environ = {"HOME": str(root / "home")}

    def write(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def found(self, *ours: tuple[str, int], **environ: str) -> tuple[FoundUpstream, ...]:
        return find_upstreams(self.environ | environ, ours, etc=self.etc)

    def urls(self, *ours: tuple[str, int], **environ: str) -> list[str]:
        return [found.url for found in self.found(*ours, **environ)]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_where_nothing_is_configured_it_is_pypi(machine: Machine) -> None:
    (found,) = machine.found()
    assert found.url == PYPI
    assert found.url.startswith("https://")
    assert found.url.endswith("/simple/")
    assert found.origin == "the default"


def test_each_stronger_setting_of_pip_wins(machine: Machine) -> None:
    environ = {"VIRTUAL_ENV": str(machine.root / "venv"), "PIP_CONFIG_FILE": str(machine.root / "named.conf")}
    steps = [
        "etc/xdg/pip/pip.conf", "etc/pip.conf", "home/.pip/pip.conf", "home/.config/pip/pip.conf", "venv/pip.conf",
        "named.conf",
    ]  # fmt: skip
    for step, path in enumerate(steps):
        machine.write(path, f"# a comment\n[global]\ntimeout = 3\nindex-url = https://{step}.example/simple\n")
        assert machine.urls(**environ) == [f"https://{step}.example/simple/"]
        assert machine.found(**environ)[0].origin == f"{machine.root / path}, line 4"
    machine.write("etc/pip.conf", "[install]\nindex_url = https://install.example/\n")
    assert machine.urls(**environ) == ["https://install.example/"]
    environ["PIP_INDEX_URL"] = "https://variable.example/"
    assert machine.urls(**environ) == ["https://variable.example/"]
    assert machine.found(**environ)[0].origin == "PIP_INDEX_URL"


def test_a_pip_that_reads_no_files_is_taken_at_its_word(machine: Machine) -> None:
    machine.write("etc/pip.conf", "[global]\nindex-url = https://etc.example/\n")
    assert machine.urls(PIP_CONFIG_FILE="/dev/null") == [PYPI]


def test_extra_indexes_of_pip_follow_the_default_and_none_comes_twice(machine: Machine) -> None:
    machine.write(
        "etc/pip.conf",
        "[global]\nextra-index-url =\n    https://one.example/simple\n    /srv/two\n  https://ONE.example:443/simple/\n",
    )
    assert machine.urls() == [PYPI, "https://one.example/simple/", "file:///srv/two/"]
    assert machine.urls(PIP_EXTRA_INDEX_URL="https://three.example") == [PYPI, "https://three.example/"]
    assert machine.urls(PIP_INDEX_URL="https://one.example/simple") == [
        "https://one.example/simple/",
        "file:///srv/two/",
    ]


def test_uv_counts_where_pip_says_nothing(machine: Machine) -> None:
    machine.write("etc/uv/uv.toml", 'index-url = "https://system.example/"\n')
    assert machine.urls() == ["https://system.example/"]
    machine.write(
        "home/.config/uv/uv.toml", '\n[[index]]\nname = "corp"\nurl = "https://user.example/"\ndefault = true\n'
    )
    (found,) = machine.found()
    assert (found.url, found.name) == ("https://user.example/", "corp")
    assert found.origin == f"{machine.root}/home/.config/uv/uv.toml, line 4"
    assert machine.urls(UV_INDEX_URL="https://old.example/") == ["https://old.example/"]
    both = {"UV_INDEX_URL": "https://old.example/", "UV_DEFAULT_INDEX": "corp=https://new.example/"}
    assert machine.urls(**both) == ["https://new.example/"]
    assert machine.urls(**both, PIP_INDEX_URL="https://pip.example/") == ["https://pip.example/"]
    assert machine.urls(UV_NO_CONFIG="1") == [PYPI]
    other = machine.write("other.toml", '[pip]\nindex-url = "https://other.example/"')
    assert machine.urls(UV_CONFIG_FILE=str(other)) == ["https://other.example/"]


def test_further_indexes_of_uv_own_their_names_before_the_default_as_in_uv(machine: Machine) -> None:
    machine.write(
        "home/.config/uv/uv.toml",
        'extra-index-url = ["https://extra.example/"]\n'
        '[[index]]\nurl = "https://corp.example/"\n'
        '[[index]]\nname = "pinned"\nurl = "https://pinned.example/"\nexplicit = true\n'
        '[[index]]\nurl = "https://links.example/"\nformat = "flat"\n',
    )
    assert machine.urls() == ["https://corp.example/", "https://extra.example/", PYPI]
    assert machine.urls(UV_INDEX="first=https://first.example/")[0] == "https://first.example/"


@pytest.mark.parametrize(("written", "codes"), [("[403]", {403}), ("[200]", set()), ('"403"', set())])
def test_what_uvs_user_says_of_statuses_is_taken_over(machine: Machine, written: str, codes: set[int]) -> None:
    machine.write(
        "home/.config/uv/uv.toml", f'[[index]]\nurl = "https://storage.example/"\nignore-error-codes = {written}\n'
    )
    assert [found.ignore_error_codes for found in machine.found()] == [codes, set()]


def test_credentials_are_kept_apart_and_never_shown(machine: Machine) -> None:
    (found,) = machine.found(PIP_INDEX_URL="https://me%40corp:p%3Aw@Index.Example:8443/simple")
    assert found.url == "https://index.example:8443/simple/"
    assert (found.username, found.password) == ("me@corp", "p:w")
    assert found.url_with_credentials == "https://me%40corp:p%3Aw@index.example:8443/simple/"
    assert "p:w" not in repr(found)
    assert "p%3Aw" not in repr(found)


def test_our_own_address_is_skipped_and_what_it_overrules_counts(machine: Machine) -> None:
    machine.write("etc/pip.conf", "[global]\nindex-url = https://corp.example/simple/\n")
    machine.write("home/.config/pip/pip.conf", "[global]\nindex-url = http://localhost:7272/simple/\n")
    assert machine.urls(("127.0.0.1", 7272)) == ["https://corp.example/simple/"]
    assert machine.urls(("127.0.0.1", 7300)) == ["http://localhost:7272/simple/"]
    assert machine.urls(("127.0.0.1", 7272), PIP_EXTRA_INDEX_URL="http://[::1]:7272/x") == [
        "https://corp.example/simple/"
    ]


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        ("http://127.0.0.1:7272/simple/", True),
        ("http://127.9.9.9:7272/", True),
        ("http://[::1]:7272/", True),
        ("http://[::ffff:127.0.0.1]:7272/", True),
        ("http://0.0.0.0:7272/", True),
        ("http://LOCALHOST:7272/", True),
        ("http://a.localhost.:7272/", True),
        ("http://192.0.2.7:7272/", True),
        ("http://127.0.0.1:7273/", False),
        ("http://127.0.0.1/", False),
        ("http://192.0.2.8:7272/", False),
        ("http://index.example:7272/", False),
        ("http://[::1:7272/", False),
        ("file:///srv/", False),
        ("http://127.0.0.1:99999/", False),
    ],
)
def test_a_loop_is_the_same_port_at_any_name_of_this_machine(url: str, ours: bool) -> None:
    assert leads_to(url, [("127.0.0.1", 7272), ("192.0.2.7", 7272)]) is ours


def test_broken_settings_are_left_aside(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.write("etc/pip.conf", "index-url = https://no-section.example/\n")
    machine.write("home/.config/pip/pip.conf", "[global]\nindex-url = ftp://secret:word@files.example/\n")
    machine.write("home/.config/uv/uv.toml", "[[index]\n")
    machine.write("etc/uv/uv.toml", 'index = 3\nindex-url = ["x"]\npip = "y"\n')
    assert machine.urls(PIP_EXTRA_INDEX_URL="not-a-url http://[::1/", UV_INDEX="=") == [PYPI]
    assert len(caplog.records) >= 5
    assert "word" not in caplog.text


def test_who_wants_no_index_has_none_to_offer(machine: Machine) -> None:
    machine.write("etc/pip.conf", "[global]\nno-index = true\nindex-url = https://corp.example/\n")
    assert machine.urls() == [PYPI]


def test_pip_itself_agrees_on_which_setting_wins(machine: Machine) -> None:
    machine.write("home/.pip/pip.conf", "[global]\nindex-url = https://legacy.example/\n")
    machine.write(
        "home/.config/pip/pip.conf",
        "[global]\nindex_url: https://user.example/\n[install]\nindex-url=https://i.example/",
    )
    said = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--no-deps", "--retries=0", "-v", "no-such-project-at-all"],
        env=machine.environ | {"PATH": "/usr/bin:/bin", "PIP_PROXY": "http://127.0.0.1:9/", "PIP_TIMEOUT": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd=machine.root,
    )
    # `pip download` obeys [download] and [global]; the later of the user's two files is the stronger one.
    assert "https://user.example/" in said.stdout + said.stderr
    assert machine.urls() == ["https://i.example/"]
