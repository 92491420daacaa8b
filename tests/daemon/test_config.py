"""Settings from file, environment and flags: what wins, what is refused, and that the documentation says the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcdn.sizes import format_size
from p2pcdn.swarm.wire import advice
from p2pcdn_daemon.clients.client_config import pip_files
from p2pcdn_daemon.configuration.config import SETTINGS, Config, ConfigError
from p2pcdn_daemon.configuration.documentation import documentation_table
from p2pcdn_daemon.configuration.kinds import READERS_MAX, UpstreamSetting
from p2pcdn_daemon.configuration.layers import resolve
from p2pcdn_daemon.configuration.quantities import format_duration, parse_duration, parse_size
from p2pcdn_daemon.configuration.urls import without_credentials
from p2pcdn_daemon.upstream.credentials import Netrc
from tests.daemon.nodes import ROOT, assert_one_sentence, p2pcdn


def read(text: str, tmp_path: Path, environ: dict[str, str] | None = None, **flags: object) -> Config:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return resolve({key.replace("_", "-"): value for key, value in flags.items()}, environ or {}, config_file=str(file))


def test_a_flag_beats_the_environment_and_the_environment_the_file(tmp_path: Path) -> None:
    text = 'port = 1\npeer-port = 1\nstore-size = "1GB"\nhost = "127.0.0.2"'
    environ = {"P2PCDN_PORT": "2", "P2PCDN_PEER_PORT": "2", "P2PCDN_STORE_SIZE": "2GiB"}
    config = read(text, tmp_path, environ, port="3", peer_port="3")
    assert (config.port, config.peer_port, config.store_size, config.host) == (3, 3, 2 * 2**30, "127.0.0.2")
    assert config.source("port") == "flag --port"
    assert config.source("store-size") == "environment P2PCDN_STORE_SIZE"
    assert config.source("host") == f"file {tmp_path / 'config.toml'}"
    assert config.source("log-level") == "default"


def test_as_many_may_read_the_origin_as_a_question_between_nodes_can_say() -> None:
    assert READERS_MAX == advice.READERS_MAX


def test_every_setting_can_be_given_in_all_three_ways(tmp_path: Path) -> None:
    examples = {"upstream": "https://index.example/simple/", "peer": "10.0.0.1:7273", "share": "lan", "keep-for": "30d"}
    examples |= {"log-level": "debug", "log-format": "json", "store-size": "1MB", "pages-size": "1MB"}
    examples |= {"peer-dns": "_peer._tcp.p2pcdn.example", "upload-limit": "1MB", "metered": "no", "origin-readers": "2"}
    for key, setting in SETTINGS.items():
        usual = "true" if setting.off else "12"
        word = examples.get(key, usual)
        in_file = read(f'{key} = "{word}"', tmp_path)
        in_environment = read("", tmp_path, {setting.variable: word})
        by_flag = read("", tmp_path, **{key.replace("-", "_"): (word,) if setting.many else word})
        values = {str(getattr(config, setting.field_name)) for config in (in_environment, by_flag)}
        values |= set() if setting.kind.form == "path" else {str(getattr(in_file, setting.field_name))}
        assert len(values) == 1, (key, values)
        assert in_file.source(key).startswith("file")


@pytest.mark.parametrize("text", ["prot = 1", "store_size = 1", "[upstreams]\nurl = 1"])
def test_an_unknown_key_is_refused_with_the_nearest_one(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"did you mean '(port|store-size|upstream)'"):
        read(text, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "port = 70000", "port = true", 'port = "x"', "port = -1", 'port = [1]', 'store-size = "many"', "share = 'all'",
        'keep-for = "30 moons"', 'peer = "nohost"', 'peer = "host:0"', 'peer = "fe80::1:80"', "offline = 'maybe'",
        'upstream = "ftp://x/"', 'upstream = "https://"', "[[upstream]]\nname = 'x'", "upstream = [[1]]",
        "[[upstream]]\nurl = 'https://x/'\nproxi = 'y'", "[[upstream]]\nurl = 'https://x/'\nproxy = 'ftp://y'",
        'peer-dns = "seed"', 'peer-dns = "_peer.p2pcdn.example"', 'peer-dns = "_peer._tcp.a b"', "metered = 'maybe'",
        'upload-limit = "fast"',
        "x", "port = 1\nport = 2", 'host = ""', 'host = "a\\u0000b"',
    ],
)  # fmt: skip
def test_a_bad_value_is_one_sentence_that_names_the_place(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        read(text, tmp_path)
    sentence = str(refusal.value)
    assert "config.toml" in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")


def test_upstreams_have_a_table_of_their_own(tmp_path: Path) -> None:
    config = read(
        """
        [[upstream]]
        url = "https://user:secret@index.example/simple/"
        share = "group"
        proxy = "http://proxy.example:3128"
        ca-file = "ca.pem"
        name = "inner"
        ignore-error-codes = [403]
        [[upstream]]
        url = "/srv/wheels"
        """,
        tmp_path,
    )
    assert config.upstream == (
        UpstreamSetting(
            "https://user:secret@index.example/simple/",
            "inner",
            "group",
            "http://proxy.example:3128",
            tmp_path / "ca.pem",
            frozenset({403}),
        ),
        UpstreamSetting("file:///srv/wheels"),
    )
    assert config.shown("upstream") == ["https://index.example/simple/", "file:///srv/wheels"]


def test_a_relative_path_in_the_file_begins_at_the_file(tmp_path: Path) -> None:
    assert read('store = "kept"', tmp_path).store == tmp_path / "kept"


def test_several_values_in_a_variable_are_separated_by_spaces() -> None:
    config = resolve({}, {"P2PCDN_PEER": "a:1 [fe80::1]:2", "P2PCDN_CONFIG": "/dev/null"})
    assert config.peer == ("a:1", "[fe80::1]:2")


def test_an_empty_variable_is_as_none() -> None:
    assert resolve({}, {"P2PCDN_PORT": "", "P2PCDN_CONFIG": "/dev/null"}).port == 7272


def test_config_shows_each_value_and_where_it_came_from(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('upstream = "https://user:secret@index.example/simple/"\n')
    variables = {"P2PCDN_CONFIG": str(file), "P2PCDN_STORE_SIZE": "5GB", "P2PCDN_STROE": "x"}
    run = p2pcdn("config", "--port", "0", "--json", "--no-mdns", home=tmp_path, variables=variables)
    assert run.returncode == 0, run.stderr
    settings = json.loads(run.stdout)["settings"]
    assert set(settings) == set(SETTINGS)
    assert settings["port"] == {"value": "0", "source": "flag --port"}
    assert settings["no-mdns"] == {"value": "true", "source": "flag --no-mdns"}
    assert settings["store-size"] == {"value": "5.0 GB", "source": "environment P2PCDN_STORE_SIZE"}
    assert settings["upstream"] == {"value": ["https://index.example/simple/"], "source": f"file {file}"}
    assert "P2PCDN_STROE is set but is no setting" in run.stderr
    assert "secret" not in run.stdout + run.stderr


def test_config_fits_a_wide_terminal_in_a_pipe_too(tmp_path: Path) -> None:
    run = p2pcdn("config", home=tmp_path)
    assert run.returncode == 0, run.stderr
    assert max(map(len, run.stdout.splitlines())) <= 132, run.stdout


@pytest.mark.parametrize("content", [b"\xff", b"a = [", b"x" * 1_100_000, None, b"[" * 5000])
def test_an_unreadable_configuration_ends_with_2(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    if content is not None:
        file.write_bytes(content)
    for command in ("config", "status", "serve"):
        assert_one_sentence(p2pcdn(command, "--config", str(file), home=tmp_path))


def test_a_directory_as_configuration_ends_with_2(tmp_path: Path) -> None:
    assert_one_sentence(p2pcdn("serve", "--config", str(tmp_path), home=tmp_path))


def test_the_documentation_holds_the_table_of_settings() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    assert documentation_table() in text, (
        "put the output of `python -m p2pcdn_daemon.configuration.documentation` into it"
    )


@given(st.integers(0, 10**15))
def test_a_size_in_bytes_reads_as_itself(size_bytes: int) -> None:
    assert parse_size(str(size_bytes)) == size_bytes


@given(st.text(max_size=30))
def test_any_text_is_a_quantity_or_a_sentence(text: str) -> None:
    for parse in (parse_size, parse_duration):
        try:
            amount, sentence = parse(text), "."
        except ValueError as error:
            amount, sentence = 0, str(error)
        assert amount >= 0
        assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("20GB", 20 * 10**9), ("20 GiB", 20 * 2**30), ("1.5k", 1500), ("7", 7), ("3Mib", 3 << 20)]
)
def test_sizes(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


def test_quantities_are_written_with_three_figures() -> None:
    assert [format_size(size) for size in (0, 999, 1000, 99_960, 1_234_567, 999_600_000, 5e12)] == [
        "0 B", "999 B", "1.0 kB", "100 kB", "1.2 MB", "1.0 GB", "5.0 TB",
    ]  # fmt: skip
    assert [format_duration(time_s) for time_s in (0, 59.6, 125, 3600, 90_061)] == [
        "0 s", "1 min", "2 min 5 s", "1 h", "1 d 1 h",
    ]  # fmt: skip


@pytest.mark.parametrize("url", ["https://u:a/pw@h/simple/", "https://u:pw?x@h/", "u:pw@h/simple/", "ftp://u:pw@h/"])
def test_a_url_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve({"upstream": (url,)}, {})
    assert "pw" not in str(caught.value)


def test_a_user_without_a_home_names_a_store_and_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 54_321)
    monkeypatch.setattr("os.getuid", lambda: 54_321)
    with pytest.raises(ConfigError, match="--store"):
        resolve({}, {})
    assert resolve({"store": str(tmp_path)}, {}).store == tmp_path
    assert Netrc.read({}).of("h") is None
    assert not any(file.exists() for file in pip_files({}, etc=tmp_path))
    with pytest.raises(ConfigError, match="home"):
        resolve({"store": "~nobody-has-this-name/x"}, {})


def test_an_at_sign_in_a_path_is_no_password() -> None:
    assert without_credentials("https://u:pw@h:8443/a@b/") == "https://h:8443/a@b/"
    assert without_credentials("https://h:8443/a@b/") == "https://h:8443/a@b/"
    assert without_credentials("file:///a@b/") == "file:///a@b/"


def test_what_config_shows_can_be_written_again(tmp_path: Path) -> None:
    for written, meant in (("none", 0), ("20MB", 20_000_000), ("1.5 MB/s", 1_500_000)):
        config = read(f'upload-limit = "{written}"', tmp_path)
        assert config.upload_limit == meant
        assert read(f'upload-limit = "{config.shown("upload-limit")}"', tmp_path).upload_limit == meant


def test_neighbours_by_dns_are_names_with_a_port_or_services(tmp_path: Path) -> None:
    config = read('peer-dns = ["peers.example:7273", "_Peer._TCP.p2pcdn.example.", "[::1]:7273"]', tmp_path)
    assert config.peer_dns == ("peers.example:7273", "_peer._tcp.p2pcdn.example.", "[::1]:7273")
