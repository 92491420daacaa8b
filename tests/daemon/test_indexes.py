"""To whom the files of each index are given: what it is, what its own table says, what one flag says of all."""

from __future__ import annotations

import pytest

from p2pcdn_daemon.configuration.config import Config, ConfigError
from p2pcdn_daemon.configuration.kinds import UpstreamSetting
from p2pcdn_daemon.upstream.indexes import upstreams_of

PUBLIC = "https://index.example/simple/"
INSIDE = "http://seed:7272/simple/"
SECRET = "https://user:s3cret@private.example/simple/"


def share(url: str, own: str | None, flag: str | None) -> str:
    (made,) = upstreams_of(Config(upstream=(UpstreamSetting(url, share=own),), share=flag), [])
    return made.index.share


@pytest.mark.parametrize(
    ("url", "own", "flag", "given_to"),
    [
        (PUBLIC, None, None, "lan"),
        (INSIDE, None, None, "group"),
        (SECRET, None, None, "never"),
        (PUBLIC, None, "never", "never"),
        (PUBLIC, None, "group", "group"),
        (INSIDE, None, "lan", "lan"),
        (INSIDE, "never", "lan", "never"),
        (PUBLIC, "lan", "never", "lan"),
        # One flag for all never opens what has credentials.
        (SECRET, None, "lan", "never"),
        (SECRET, None, "group", "never"),
        (SECRET, "group", None, "group"),
        (SECRET, "group", "never", "group"),
    ],
)
def test_who_gets_the_files_of_an_index(url: str, own: str | None, flag: str | None, given_to: str) -> None:
    assert share(url, own, flag) == given_to


def test_what_an_index_means_by_its_statuses_is_known() -> None:
    setting = UpstreamSetting(PUBLIC, ignore_error_codes=frozenset({403}))
    (made,) = upstreams_of(Config(upstream=(setting,)), [])
    assert made.index.absent == {403}


def test_an_index_with_credentials_is_not_shared_with_everybody() -> None:
    with pytest.raises(ConfigError, match="your group") as refusal:
        share(SECRET, "lan", None)
    assert "s3cret" not in str(refusal.value)
