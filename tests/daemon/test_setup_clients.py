"""Installers pointed at a node and back; real ones are asked where they are here."""

from __future__ import annotations

import stat
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from p2pcdn_daemon.clients.client_config import find_upstreams
from p2pcdn_daemon.clients.setup_clients import Change, apply, undo
from p2pcdn_daemon.configuration.config import ConfigError
from tests.bench.clients import NoTool, tool

URL = "http://127.0.0.1:7272/simple/"
SECRET = "http://127.0.0.1:7272/private/0123456789abcdef/simple/"
FILES = {"pip": "pip/pip.conf", "uv": "uv/uv.toml", "pdm": "pdm/config.toml"}


class Home:
    """A user with an empty home; /etc is empty too."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environ = {"HOME": str(root), "PATH": "/usr/bin:/bin", "PDM_CHECK_UPDATE": "0"}
        self.project = root / "project"
        self.project.mkdir()

    def file(self, client: str) -> Path:
        return self.project / "pyproject.toml" if client == "poetry" else self.root / ".config" / FILES[client]

    def write(self, client: str, text: str) -> Path:
        file = self.file(client)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
        return file

    def text(self, client: str) -> str:
        return self.file(client).read_bytes().decode()

    def apply(self, client: str, url: str = URL) -> Change:
        return apply(client, url, project=self.project, environ=self.environ, etc=self.root / "etc")

    def undo(self, client: str) -> Change:
        return undo(client, project=self.project, environ=self.environ, etc=self.root / "etc")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


PIP = (
    "# mine\r\n[global]\r\ntimeout = 60  \r\nIndex_URL =\r\n    https://u:p@corp.example/simple\r\n; end\r\n"
    "[list]\r\nformat=columns"
)
UV = """# mine
native-tls = true   # keep

[[index]]
name = "extra"
url = "https://extra.example/simple"

[[index]]
name = "corp"   # the company's
url = 'https://corp.example/simple'
default = true

[pip]
index-url = "https://pip.example/simple"
"""
PDM = """check_update = false

[pypi]
# the company's
url = "https://corp.example/simple"
username = "me"
password = "p w"
"""
POETRY = """[project]
name = "app"   # mine
version = "1.0"
requires-python = ">=3.11"
dependencies = []

[tool.poetry]
package-mode = false

[[tool.poetry.source]]
name = "PyPI"
priority = "primary"

[[tool.poetry.source]]
name = "torch"
url = "https://torch.example/whl"
priority = "explicit"

[tool.other]
x = 1
"""
TEXTS = {"pip": PIP, "uv": UV, "pdm": PDM, "poetry": POETRY}
PREVIOUS = {
    "pip": ("https://u:p@corp.example/simple/",),
    "uv": ("https://extra.example/simple/", "https://corp.example/simple/"),
    "pdm": ("https://me:p%20w@corp.example/simple/",),
    "poetry": (),
}
clients = pytest.mark.parametrize("client", ["pip", "uv", "poetry", "pdm"])


def urls(change: Change) -> tuple[str, ...]:
    return tuple(found.url_with_credentials for found in change.previous_upstreams)


@clients
def test_setup_and_undo_give_the_file_back_byte_for_byte(home: Home, client: str) -> None:
    file = home.write(client, TEXTS[client])
    file.chmod(0o640)
    change = home.apply(client)
    assert (change.changed, change.path, urls(change)) == (True, file, PREVIOUS[client])
    assert URL in home.text(client)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    kept = [line for line in TEXTS[client].splitlines() if "#" in line or "timeout" in line or "format" in line]
    assert all(line in home.text(client) for line in kept)
    assert home.undo(client).changed
    assert home.text(client) == TEXTS[client]
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


@clients
def test_a_second_setup_changes_nothing(home: Home, client: str) -> None:
    home.write(client, TEXTS[client])
    home.apply(client)
    text = home.text(client)
    again = home.apply(client)
    assert (again.changed, again.previous_upstreams) == (False, ())
    assert home.text(client) == text
    home.undo(client)
    assert home.text(client) == TEXTS[client]


@pytest.mark.parametrize("client", ["pip", "uv", "pdm"])
def test_a_file_that_was_not_there_is_gone_after_undo(home: Home, client: str) -> None:
    assert home.apply(client).previous_upstreams == ()
    assert stat.S_IMODE(home.file(client).stat().st_mode) == 0o600
    assert home.undo(client).changed
    assert not home.file(client).exists()


@clients
def test_undo_without_setup_says_so(home: Home, client: str) -> None:
    home.write(client, TEXTS[client])
    change = home.undo(client)
    assert not change.changed
    assert "was not changed" in change.notes[0]
    assert home.text(client) == TEXTS[client]


@clients
def test_undo_of_a_file_that_was_edited_since_takes_only_ours_back(home: Home, client: str) -> None:
    home.write(client, TEXTS[client])
    home.apply(client)
    home.file(client).write_bytes(b"# added\n" + home.text(client).encode())
    change = home.undo(client)
    assert change.changed
    assert "edited since" in change.notes[0]
    assert home.text(client).startswith("# added\n")
    assert URL not in home.text(client)
    if client == "pip":
        assert "index-url = https://u:p@corp.example/simple\r\n" in home.text(client)
    else:
        assert tomllib.loads(home.text(client)) == tomllib.loads(TEXTS[client])


@clients
def test_undo_leaves_a_file_alone_that_names_another_index_by_now(home: Home, client: str) -> None:
    home.write(client, TEXTS[client])
    home.apply(client)
    text = home.text(client).replace(URL, "https://later.example/simple/")
    home.file(client).write_bytes(text.encode())
    change = home.undo(client)
    assert not change.changed
    assert home.text(client) == text


@clients
def test_another_url_of_ours_replaces_the_first_and_undo_still_knows_the_beginning(home: Home, client: str) -> None:
    file = home.write(client, TEXTS[client])
    home.apply(client)
    change = home.apply(client, SECRET)
    assert (change.changed, change.previous_upstreams) == (True, ())
    assert SECRET in home.text(client)
    assert URL not in home.text(client)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    home.undo(client)
    assert home.text(client) == TEXTS[client]


@clients
def test_a_url_with_a_token_stands_only_in_files_of_mode_0600(home: Home, client: str) -> None:
    home.write(client, TEXTS[client]).chmod(0o644)
    home.apply(client, SECRET)
    for file in home.root.rglob("*"):
        if file.is_file() and b"0123456789abcdef" in file.read_bytes():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    home.undo(client)
    assert stat.S_IMODE(home.file(client).stat().st_mode) == 0o644
    assert not any(b"0123456789abcdef" in file.read_bytes() for file in home.root.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    ("client", "text"),
    [
        ("pip", "no section"),
        ("pip", "[global]\nindex-url = a\nindex-url = b\n"),
        ("uv", "[[index]\n"),
        ("pdm", "x = "),
        ("poetry", "{"),
        ("uv", "\ufffe\x00"),
    ],
)
def test_settings_that_cannot_be_read_are_left_as_they_are(home: Home, client: str, text: str) -> None:
    home.write(client, text)
    with pytest.raises(ConfigError):
        home.apply(client)
    assert home.text(client) == text


def test_a_file_behind_a_link_is_changed_and_the_link_stays(home: Home) -> None:
    dotfile = home.root / "dotfiles" / "pip.conf"
    dotfile.parent.mkdir()
    dotfile.write_text("[global]\n")
    link = home.file("pip")
    link.parent.mkdir(parents=True)
    link.symlink_to(dotfile)
    home.apply("pip")
    assert link.is_symlink()
    assert URL in dotfile.read_text()
    home.undo("pip")
    assert link.is_symlink()
    assert dotfile.read_text() == "[global]\n"


def test_poetry_needs_a_project(home: Home) -> None:
    with pytest.raises(ConfigError, match="name a project"):
        home.apply("poetry")


def test_an_unknown_installer_is_named(home: Home) -> None:
    with pytest.raises(ConfigError, match="conda"):
        home.apply("conda")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", f"[global]\nindex-url = {URL}\n"),
        ("[list]\nformat=x", f"[list]\nformat=x\n\n[global]\nindex-url = {URL}\n"),
        ("[global]", f"[global]\nindex-url = {URL}\n"),
        ("[global]\npypi-url: a\n  b\n\ntimeout=1\n", f"[global]\nindex-url = {URL}\n\ntimeout=1\n"),
        (
            "[install]\nindex-url = a\n[global]\ncert=x\n",
            f"[install]\nindex-url = {URL}\n[global]\nindex-url = {URL}\ncert=x\n",
        ),
    ],
)
def test_only_pips_index_lines_change(home: Home, text: str, expected: str) -> None:
    home.write("pip", text)
    home.apply("pip")
    assert home.text("pip") == expected
    home.undo("pip")
    assert home.text("pip") == text


def test_a_command_section_of_the_system_is_answered_in_kind(home: Home) -> None:
    system = home.root / "etc" / "pip.conf"
    system.parent.mkdir()
    system.write_text("[install]\nindex-url = https://corp.example/simple\nextra-index-url = https://x.example/\n")
    change = home.apply("pip")
    assert home.text("pip") == f"[global]\nindex-url = {URL}\n\n[install]\nindex-url = {URL}\n"
    assert urls(change) == ("https://corp.example/simple/", "https://x.example/")
    assert "extra index" in change.notes[0]
    assert str(system) in change.notes[0]


def test_what_still_wins_over_us_is_told(home: Home) -> None:
    home.environ |= {
        "PIP_INDEX_URL": "https://a.example/",
        "UV_DEFAULT_INDEX": "https://b.example/",
        "PDM_PYPI_URL": "x",
    }
    assert "PIP_INDEX_URL" in home.apply("pip").notes[0]
    assert "UV_DEFAULT_INDEX" in home.apply("uv").notes[0]
    assert "PDM_PYPI_URL" in home.apply("pdm").notes[0]


def test_the_node_does_not_take_itself_for_its_upstream(home: Home) -> None:
    home.apply("pip")
    home.apply("uv")
    found = find_upstreams(home.environ, [("127.0.0.1", 7272)], etc=home.root / "etc")
    assert [one.origin for one in found] == ["the default"]


@pytest.mark.parametrize(
    "text", ["", UV, 'index = [{url = "https://a.example/"}]\n', 'index-url = "https://a.example/"\n[pip]\nx = 1\n']
)
def test_uvs_settings_name_one_default_and_it_is_ours(home: Home, text: str) -> None:
    home.write("uv", text)
    home.apply("uv")
    settings = tomllib.loads(home.text("uv"))
    defaults = [table["url"] for table in settings.get("index", []) if table.get("default")]
    assert defaults == [URL]
    assert settings.get("index-url", URL) == URL
    home.undo("uv")
    assert home.text("uv") == text


# --- the real ones ---


def installer(name: str) -> str:
    try:
        return str(tool(name).command)
    except NoTool as why:
        pytest.skip(str(why))


def ask(home: Home, *command: str) -> str:
    said = subprocess.run(
        command, env=home.environ, cwd=home.project, capture_output=True, text=True, check=False, timeout=60
    )
    return said.stdout + said.stderr


@pytest.mark.parametrize("text", ["", PIP])
def test_pip_sees_the_node(home: Home, text: str) -> None:
    home.write("pip", text)
    home.apply("pip")
    listed = ask(home, sys.executable, "-m", "pip", "config", "list", "--user")
    assert f"global.index-url='{URL}'" in listed
    assert ("global.timeout='60'" in listed) == bool(text)


@pytest.mark.parametrize("text", ["", UV])
def test_uv_sees_the_node(home: Home, text: str) -> None:
    uv = installer("uv")
    home.write("uv", text)
    home.apply("uv")
    shown = ask(home, uv, "pip", "install", "--show-settings", "x")
    indexes = shown[shown.index("index_locations") :]
    assert "7272" in indexes[: indexes.index("default: true")] if "default: true" in indexes else "7272" in indexes


@pytest.mark.parametrize("text", ["", PDM])
def test_pdm_sees_the_node(home: Home, text: str) -> None:
    pdm = installer("pdm")
    home.write("pdm", text)
    home.apply("pdm")
    assert URL in ask(home, pdm, "config", "pypi.url").splitlines()


@pytest.mark.parametrize("text", [POETRY, POETRY[: POETRY.index("[tool.poetry]")]])
@pytest.mark.slow
def test_poetry_sees_the_node_and_no_other(home: Home, text: str) -> None:
    poetry = installer("poetry")
    home.write("poetry", text)
    home.apply("poetry")
    shown = ask(home, poetry, "source", "show")
    assert URL in shown
    primaries = [block for block in shown.split("name") if "primary" in block]
    assert len(primaries) == 1, shown
    assert "p2pcdn" in primaries[0]
    home.undo("poetry")
    assert URL not in ask(home, poetry, "source", "show")


@pytest.fixture
def index() -> Iterator[ThreadingHTTPServer]:
    """An index that has nothing; `asked` says what for."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.asked = asked  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


COMMANDS = {
    "pip": ["-m", "pip", "download", "--no-deps", "some-project"],
    "uv": ["pip", "install", "--dry-run", "--no-cache", "--target", "x", "some-project"],
    "pdm": ["lock"],
    "poetry": ["lock"],
}


@clients
def test_the_installer_really_asks_the_node_and_nobody_else(
    home: Home, client: str, index: ThreadingHTTPServer
) -> None:
    command = [sys.executable if client == "pip" else installer(client), *COMMANDS[client]]
    # Whatever is not on the loopback goes to a proxy, and that is our index too: it would see the request.
    proxy = f"http://127.0.0.1:{index.server_port}/"
    home.environ |= {"http_proxy": proxy, "https_proxy": proxy, "no_proxy": "127.0.0.1", "UV_PYTHON": sys.executable}
    (home.project / "pyproject.toml").write_text(POETRY.replace("dependencies = []", 'dependencies = ["some-project"]'))
    home.apply(client, f"http://127.0.0.1:{index.server_port}/simple/")
    said = ask(home, *command)
    asked = set(index.asked)  # type: ignore[attr-defined]
    # pip also looks whether there is a newer pip, at the same index.
    assert asked - {"/simple/pip/"} == {"/simple/some-project/"}, said
