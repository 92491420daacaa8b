"""Settings: which place wins, what each says of itself, and sentences with file, key and line for what is wrong."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from p2pcdn_shim.zephyr.commands.config import _toml, shown
from p2pcdn_shim.zephyr.configuration.config import Config, find_project_file, resolve
from p2pcdn_shim.zephyr.configuration.settings import BY_KEY, SETTINGS
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.pip.target import find_target
from tests.shim.zephyr import ROOT, assert_one_sentence, zephyr


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home" / "config.toml"


def settings(tmp_path: Path, user_file: Path, flags: dict[str, object] | None = None, **variables: str) -> Config:
    return resolve(flags or {}, tmp_path, {"ZEPHYR_CONFIG_FILE": str(user_file), **variables})


def test_every_row_has_a_field_with_its_default_and_every_field_a_row() -> None:
    fields = set(Config._names) - {"origins", "project_file", "unknown_variables"}
    assert fields == {setting.field_name for setting in SETTINGS}
    assert len(BY_KEY) == len(SETTINGS)
    for setting in SETTINGS:
        default = getattr(Config(), setting.field_name)
        assert isinstance(default, tuple) == setting.many, setting.key
        assert (default is not None) or setting.default_text, setting.key
        assert setting.help.endswith("."), setting.key


def test_every_setting_stands_in_the_documentation_as_it_is() -> None:
    text = (ROOT / "docs" / "zephyr-configuration.md").read_text()
    for setting in SETTINGS:
        row = next((line for line in text.splitlines() if line.startswith(f"| `{setting.key}` |")), None)
        assert row is not None, setting.key
        assert setting.help.rstrip(".") in row
        assert f"`{setting.variable}`" in row
        default = setting.default_text or f"`{_toml(shown(setting, Config()))}`"
        assert f" | {default} | " in row, default


def test_flags_win_over_variables_over_the_project_over_the_user(tmp_path: Path, user_file: Path) -> None:
    assert settings(tmp_path, _written(user_file, "")).prefer == "highest"
    _written(user_file, 'prefer = "lowest"\npython = "3.9"\nkeyring = "never"\nlink-mode = "copy"')
    _written(tmp_path / "pyproject.toml", '[tool.zephyr]\npython = "3.10"\nkeyring = "auto"\nlink-mode = "env"')
    config = settings(
        tmp_path, user_file, {"link_mode": "reflink"}, ZEPHYR_KEYRING="never", ZEPHYR_LINK_MODE="hardlink"
    )
    assert (config.prefer, config.python, config.keyring, config.link_mode) == ("lowest", "3.10", "never", "reflink")
    assert config.origin("prefer") == f"file {user_file}, line 1"
    assert config.origin("python") == f"file {tmp_path / 'pyproject.toml'}, line 2"
    assert config.origin("keyring") == "variable ZEPHYR_KEYRING"
    assert config.origin("link-mode") == "flag --link-mode"
    assert config.origin("offline") == "default"


def _written(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_the_file_of_the_user_is_in_the_home_unless_another_is_named(tmp_path: Path) -> None:
    _written(tmp_path / ".zephyr" / "config.toml", 'python = "3.9"')
    assert resolve({}, tmp_path, {"HOME": str(tmp_path)}).python == "3.9"
    _written(tmp_path / "other.toml", 'python = "3.10"')
    assert resolve({}, tmp_path, {"HOME": str(tmp_path)}, config_file="other.toml").python == "3.10"
    for place in ({"config_file": "nowhere"}, {}):
        environ = {"HOME": str(tmp_path)} | ({} if place else {"ZEPHYR_CONFIG_FILE": "/nowhere/x.toml"})
        with pytest.raises(UsageError, match="does not exist"):
            resolve({}, tmp_path, environ, **place)


def test_where_an_environment_is_begins_at_the_project_in_a_file_and_here_as_a_flag(
    tmp_path: Path, user_file: Path
) -> None:
    _written(user_file, 'venv = "env"')
    assert settings(tmp_path, user_file).venv == Path("env")
    assert settings(tmp_path, user_file, {"venv": "here"}).venv == tmp_path / "here"


def test_the_project_is_found_upwards(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    _written(tmp_path / "pyproject.toml", "")
    assert find_project_file(deep) == tmp_path / "pyproject.toml"
    _written(tmp_path / "a" / "pyproject.toml", "")
    assert find_project_file(deep) == tmp_path / "a" / "pyproject.toml"


def test_what_a_stranger_put_above_us_is_no_project_and_no_environment_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anybodys, deep = tmp_path / "anybodys", tmp_path / "anybodys" / "mine"
    deep.mkdir(parents=True)
    (anybodys / ".venv" / "bin").mkdir(parents=True)
    for name in ("pyproject.toml", ".venv/pyvenv.cfg"):
        _written(anybodys / name, "")
    planted = anybodys / ".venv" / "bin" / "python"
    planted.symlink_to(sys.executable)
    monkeypatch.chdir(deep)
    anybodys.chmod(0o1777)
    assert (find_project_file(deep), find_target(None, {}).python) == (anybodys / "pyproject.toml", planted)
    if os.getuid() == 0:
        for path in (anybodys / "pyproject.toml", anybodys / ".venv"):
            os.chown(path, 1234, 1234)
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    assert find_project_file(deep) is None
    assert find_target(None, {}).python != planted
    anybodys.chmod(0o755)  # a project that its owner shares
    assert (find_project_file(deep), find_target(None, {}).python) == (anybodys / "pyproject.toml", planted)


def test_values_are_read_alike_from_files_and_variables(tmp_path: Path, user_file: Path) -> None:
    _written(
        user_file,
        'offline = true\ngenerations = 3\nexclude-newer = 2026-03-01\nvenvs = "all"\ndefault-groups = ["a", "b"]\n'
        'constraints = ["x<2 ; python_version < \'3.9\'"]\nfind-links = "wheels"\nindex-url = "./index"\n',
    )
    config = settings(tmp_path, user_file)
    assert (config.offline, config.generations, config.exclude_newer) == (True, 3, "2026-03-01T00:00:00Z")
    assert config.venvs == user_file.parent / "all"
    assert config.find_links == ((user_file.parent / "wheels").as_uri(),)
    assert config.index_url == (user_file.parent / "index").as_uri()
    assert config.default_groups == ("a", "b")
    config = settings(
        tmp_path, _written(user_file, ""), ZEPHYR_OFFLINE="yes", ZEPHYR_GENERATIONS="3", ZEPHYR_VENVS="all",
        ZEPHYR_EXCLUDE_NEWER="2026-03-01T01:00:00+01:00", ZEPHYR_DEFAULT_GROUPS="a b",
        ZEPHYR_CONSTRAINTS="x<2 ; python_version < '3.9'\ny==1",
    )  # fmt: skip
    assert (config.offline, config.generations, config.exclude_newer) == (True, 3, "2026-03-01T00:00:00Z")
    assert config.venvs == tmp_path / "all"
    assert config.default_groups == ("a", "b")
    assert config.constraints == ("x<2 ; python_version < '3.9'", "y==1")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("\npyhton = '3.9'", 2, "there is no setting 'pyhton'; did you mean 'python'?"),
        ("offline = 'perhaps'", 1, "offline: 'perhaps' is not true or false"),
        ("a = 1", 1, "there is no setting 'a'."),
        ("# x\n\nlink-mode = 'magic'", 3, "link-mode: 'magic' is not one of reflink, hardlink, copy, env"),
        ("generations = '3'", 1, "generations: '3' is not number"),
        ("generations = true", 1, "generations: 'True' is not number"),
        ("python = 3.12", 1, "python: '3.12' is not text"),
        ("exclude-newer = 'yesterday'", 1, "neither a day"),
        ("index-url = 'ftp://x'", 1, "index-url: 'ftp://x' is not an http, https or file URL"),
        ("[[index]]\nname = 'a'", 1, "index: an index needs its `url`"),
        ("[[index]]\nurl = 'https://x.example/'\nnmae = 'a'", 1, "'nmae' is not one of url, name, default, explicit"),
        ("default-groups = [1]", 1, "default-groups: '1' is not name"),
        ("trusted-host = ['a b']", 1, "'a b' is not a host"),
        ("prefer = ]", 1, "is not TOML"),
        ('python = "\\ud800"', 1, "is not TOML"),
    ],
)
def test_a_fault_is_told_with_file_key_and_line(
    tmp_path: Path, user_file: Path, text: str, line: int, words: str
) -> None:
    for file, written in ((user_file, text), (tmp_path / "pyproject.toml", _in_table(text))):
        _written(file, written)
        with pytest.raises(UsageError) as caught:
            settings(tmp_path, user_file if file == user_file else _written(user_file, ""))
        sentence = str(caught.value)
        assert sentence.startswith(str(file))
        assert words in sentence
        if "TOML" not in words:
            assert f"{file}, line {line + (file != user_file)}: " in sentence
        else:
            assert re.search(r"line \d+", sentence)
        file.unlink()


def _in_table(text: str) -> str:
    return "[tool.zephyr]\n" + text.replace("[[index]]", "[[tool.zephyr.index]]")


def test_a_fault_of_a_variable_or_flag_names_it(tmp_path: Path, user_file: Path) -> None:
    _written(user_file, "")
    with pytest.raises(UsageError, match=r"^ZEPHYR_LINK_MODE: 'x' is not one of"):
        settings(tmp_path, user_file, ZEPHYR_LINK_MODE="x")
    with pytest.raises(UsageError, match=r"^--link-mode: 'x' is not one of"):
        settings(tmp_path, user_file, {"link_mode": "x"})
    with pytest.raises(UsageError, match="more than the 1024"):
        settings(tmp_path, user_file, ZEPHYR_DEFAULT_GROUPS=" ".join(f"g{n}" for n in range(1025)))


def test_a_file_that_is_no_text_gets_a_sentence(tmp_path: Path, user_file: Path) -> None:
    user_file.write_bytes(b"python = '\xff'")
    with pytest.raises(UsageError, match="is not UTF-8"):
        settings(tmp_path, user_file)
    user_file.write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    with pytest.raises(UsageError, match="larger than 4 MiB"):
        settings(tmp_path, user_file)
    user_file.unlink()
    user_file.mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        settings(tmp_path, user_file)


def test_a_mark_at_the_start_and_windows_line_ends_do_no_harm(tmp_path: Path, user_file: Path) -> None:
    user_file.write_bytes(b"\xef\xbb\xbfpython = '3.9'\r\noffline = true\r\n")
    assert settings(tmp_path, user_file).python == "3.9"


def test_a_misspelled_variable_is_told(tmp_path: Path) -> None:
    run = zephyr("config", "python", home=tmp_path, variables={"ZEPHYR_PYHTON": "3", "ZEPHYR_INDEX_CORP_PASSWORD": "x"})
    assert run.returncode == 0
    assert run.stderr == "zephyr: ZEPHYR_PYHTON is set but is no setting of zephyr.\n"


def test_config_shows_every_setting_and_where_it_comes_from(tmp_path: Path) -> None:
    _written(tmp_path / ".zephyr" / "config.toml", 'index-url = "https://user:secret@x.example/simple/"\n')
    run = zephyr("config", home=tmp_path, variables={"ZEPHYR_OFFLINE": "1"})
    lines = run.stdout.splitlines()
    assert len(lines) == len(SETTINGS)
    assert any(re.match(r"offline += true +# variable ZEPHYR_OFFLINE$", line) for line in lines)
    assert any('"https://x.example/simple/"' in line and ".zephyr/config.toml, line 1" in line for line in lines)
    assert "secret" not in run.stdout
    values = json.loads(zephyr("config", "--json", "keyring", home=tmp_path).stdout)
    assert values == {"keyring": {"value": "auto", "origin": "default"}}


def test_config_shows_indexes_without_their_passwords(tmp_path: Path) -> None:
    _written(tmp_path / ".zephyr" / "config.toml", '[[index]]\nname = "corp"\nurl = "https://u:secret@x.example/"\n')
    for words in (["config"], ["config", "--json"]):
        run = zephyr(*words, home=tmp_path)
        assert "corp" in run.stdout
        assert "secret" not in run.stdout


def test_a_wrong_file_stops_every_command_with_a_sentence(tmp_path: Path) -> None:
    _written(tmp_path / ".zephyr" / "config.toml", "pythn = '3'")
    for words in (["config"], ["venv", "create", "x"], ["run", "true"]):
        assert "did you mean 'python'" in assert_one_sentence(zephyr(*words, home=tmp_path), 2)
    assert zephyr("--version", home=tmp_path).returncode == 0
