"""Which upstream indexes a node has: those that were configured, else the one that the user's installers use."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import cast
from urllib.parse import unquote, urlsplit

from p2pcdn.world import Share
from p2pcdn_daemon.clients.client_config import Address, find_upstreams
from p2pcdn_daemon.configuration.config import Config, ConfigError
from p2pcdn_daemon.configuration.kinds import UpstreamSetting
from p2pcdn_daemon.upstream.index_url import make_index
from p2pcdn_daemon.upstream.upstream import UpstreamSettings

log = logging.getLogger(__name__)


def upstreams_of(config: Config, ours: Collection[Address]) -> list[UpstreamSettings]:
    """In the order in which they are asked; at least one. ours: where our own index listens. Raises ConfigError."""
    chosen, default = (config.upstream, 0) if config.upstream else default_upstreams(ours)
    positions = [0 if place == default else place + 1 for place in range(len(chosen))]
    made = [_made(setting, position, config.share) for setting, position in zip(chosen, positions, strict=True)]
    seen: set[str] = set()
    for one in made:
        if one.index.key in seen:
            raise ConfigError(f"The upstream {one.index.url} is named twice.")
        seen.add(one.index.key)
    return made


def default_upstreams(ours: Collection[Address]) -> tuple[tuple[UpstreamSetting, ...], int]:
    """What pip or uv of this user is configured for, without our own addresses; else PyPI. And which is the default."""
    found = find_upstreams(os.environ, ours)
    for one in found:
        log.info("upstream by %s", one.origin, extra={"index": one.url})
    settings = tuple(
        UpstreamSetting(url=one.url_with_credentials, name=one.name, ignore_error_codes=one.ignore_error_codes)
        for one in found
    )
    return settings, next(place for place, one in enumerate(found) if one.is_default)


def _made(setting: UpstreamSetting, position: int, share: str | None) -> UpstreamSettings:
    try:
        index, credentials = make_index(setting.url, position, cast(Share | None, setting.share), name=setting.name)
    except ValueError as error:
        raise ConfigError(f"upstream: {error}") from error
    index = replace(index, absent=setting.ignore_error_codes)
    if index.private and setting.share == "lan":
        raise ConfigError(
            f'upstream: {index.url} has credentials, so its files are for nobody, or for your group (share = "group").'
        )
    if setting.share is None and share is not None and not index.private:
        # What one flag says of all indexes opens none that has credentials; only its own table can.
        index = replace(index, share=cast(Share, share))
    if index.url.startswith("file:") and not Path(unquote(urlsplit(index.url).path)).is_dir():
        log.warning("the upstream is no directory now", extra={"index": index.url})
    return UpstreamSettings(index, setting.proxy, setting.ca_file, credentials)
