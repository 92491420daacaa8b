"""Which upstream indexes a node has: those that were configured, else the one that the user's installers use."""

from __future__ import annotations

from typing import cast

from p2pcdn.world import Share
from p2pcdn_daemon.config import Config, ConfigError, UpstreamSetting
from p2pcdn_daemon.upstream import UpstreamSettings, make_index


def upstreams_of(config: Config) -> list[UpstreamSettings]:
    """In order, the default index first; at least one. Raises ConfigError."""
    chosen = config.upstream or default_upstreams(config)
    made = [_made(setting, position, config.share) for position, setting in enumerate(chosen)]
    seen: set[str] = set()
    for one in made:
        if one.index.key in seen:
            raise ConfigError(f"The upstream {one.index.url} is named twice.")
        seen.add(one.index.key)
    return made


def default_upstreams(config: Config) -> tuple[UpstreamSetting, ...]:
    """What pip or uv of this user is configured for, our own address left out; else PyPI."""
    from distlib.index import DEFAULT_INDEX

    return (UpstreamSetting(url=DEFAULT_INDEX.rstrip("/").removesuffix("/pypi") + "/simple/"),)


def _made(setting: UpstreamSetting, position: int, share: str | None) -> UpstreamSettings:
    try:
        index, credentials = make_index(
            setting.url, position, cast(Share | None, setting.share or share), name=setting.name
        )
    except ValueError as error:
        raise ConfigError(f"upstream: {error}") from error
    return UpstreamSettings(index, setting.proxy, setting.ca_file, credentials)
