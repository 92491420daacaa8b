"""The indexes that the settings name: in which order, with which credentials, and which over plain http."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit, urlunsplit

from p2pcdn.trust import is_trusted
from p2pcdn_shim.zephyr.config import Config
from p2pcdn_shim.zephyr.credentials import Credentials, credentials_of
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.urls import public_url
from p2pcdn_shim.zephyr.values import Value


class Index(Value):
    """One index to ask. url: without credentials, with a slash at the end. explicit: only for what is pinned to it."""

    url: str
    name: str | None = None
    credentials: Credentials | None = None
    default: bool = False
    explicit: bool = False


def indexes_of(config: Config, environ: Mapping[str, str] = os.environ) -> list[Index]:
    """Every index of the settings, in the order in which they are asked; none where the node's own choice counts.

    Further indexes with names stand before the default one: a name of the company's must not be taken from a public
    index. Raises UsageError for one that would be asked over plain http and whose host nobody trusted by name.
    """
    named = [one for one in config.index if not one.default]
    defaults = [one.url for one in config.index if one.default]
    if config.index_url and (config.origin("index-url").startswith(("flag", "variable")) or not defaults):
        defaults = [config.index_url]
    found: list[Index] = []
    for one in named:
        found.append(_index(one.url, one.name, config, environ, explicit=one.explicit))
    for url in defaults[:1]:
        name = next((one.name for one in config.index if one.default and one.url == url), None)
        found.append(_index(url, name, config, environ, default=True))
    for url in config.extra_index_url:
        found.append(_index(url, None, config, environ))
    return list(_distinct(found))


def _index(
    url: str,
    name: str | None,
    config: Config,
    environ: Mapping[str, str],
    *,
    default: bool = False,
    explicit: bool = False,
) -> Index:
    public = public_url(url).rstrip("/") + "/"
    if url.startswith("http://") and not is_trusted(url, config.trusted_host):
        host = urlsplit(url).netloc.rpartition("@")[2]
        raise UsageError(
            f"{public} is plain http, where anybody on the way can change what you install. Use https, or trust the "
            f"host by name: trusted-host = [{host!r}]."
        )
    parts = urlsplit(url)
    given = None
    if parts.username is not None:
        given = Credentials(unquote(parts.username), unquote(parts.password) if parts.password is not None else None)
    credentials = None if parts.scheme == "file" else credentials_of(public, name, given, environ, config.keyring)
    return Index(_normal(public), name, credentials, default, explicit)


def _normal(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.lower(), parts.path, "", ""))


def _distinct(found: list[Index]) -> Iterator[Index]:
    seen: set[str] = set()
    for one in found:
        if one.url not in seen:
            seen.add(one.url)
            yield one
