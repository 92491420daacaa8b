"""The indexes that the settings name: in which order, with which credentials, and which over plain http."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit, urlunsplit

from p2pcdn.trust import is_trusted
from p2pcdn_shim.zephyr.configuration.config import Config
from p2pcdn_shim.zephyr.configuration.credentials import Credentials, credentials_of
from p2pcdn_shim.zephyr.configuration.urls import public_url
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.values import Value


class Index(Value):
    """One index to ask. url: without credentials, with a slash at the end; "" for those of the node, in this place.

    explicit: only for what is pinned to it. projects: what is. flat: find-links, a directory or a page.
    """

    url: str
    name: str | None = None
    credentials: Credentials | None = None
    default: bool = False
    explicit: bool = False
    projects: tuple[str, ...] = ()
    flat: bool = False


def indexes_of(config: Config, environ: Mapping[str, str] = os.environ) -> list[Index]:
    """Every index of the settings, in the order in which they are asked; none where the node's own choice counts.

    Further indexes with names stand before the default one: a name of the company's must not be taken from a public
    index. Where no default is named, the node's own indexes stand in its place. Raises UsageError for one that would be
    asked over plain http and whose host nobody trusted by name, for what is pinned to an index that is not there, and
    where it cannot be said which of two is meant.
    """
    _check_single(config)
    found = [_index(url, None, config, environ, flat=True) for url in config.find_links]
    if config.no_index:
        if not found:
            raise UsageError("no-index leaves nothing to take packages from; name a directory or a page by find-links.")
        return found
    found += _named_and_default(config, environ)
    found += [_index(url, None, config, environ) for url in config.extra_index_url]
    distinct = _pinned(list(_distinct(found)), config)
    return [] if all(not one.url for one in distinct) else distinct


def _named_and_default(config: Config, environ: Mapping[str, str]) -> Iterator[Index]:
    defaults = [one.url for one in config.index if one.default]
    if config.index_url and (config.origin("index-url").startswith(("flag", "variable")) or not defaults):
        defaults = [config.index_url]
    for one in config.index:
        if not one.default:
            yield _index(one.url, one.name, config, environ, explicit=one.explicit)
    for url in defaults[:1]:
        named = next((one for one in config.index if one.default and one.url == url), None)
        name = named.name if named is not None else None
        yield _index(url, name, config, environ, default=True, explicit=named is not None and named.explicit)
    if not defaults:
        yield Index("", default=True)


def _check_single(config: Config) -> None:
    """Raises UsageError for two indexes of one name, and for two defaults."""
    where = config.origin("index").removeprefix("file ").removeprefix("variable ")
    names = [one.name for one in config.index if one.name is not None]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{where}: {name!r} is the name of two indexes; each needs one of its own.")
    if sum(one.default for one in config.index) > 1:
        raise UsageError(f"{where}: two indexes say that they are the default; only one can be.")


def _pinned(found: list[Index], config: Config) -> list[Index]:
    """The indexes, each with what is pinned to it. Raises UsageError."""
    names = {one.name for one in found if one.name is not None}
    for source in config.sources:
        if source.index not in names:
            there = f"it has {', '.join(sorted(names))}" if names else "no index has a name"
            raise UsageError(
                f"{config.origin('sources')}: {source.project} is pinned to {source.index!r}, and there is no such "
                f"index; {there}."
            )
    return [
        one.but(projects=tuple(source.project for source in config.sources if source.index == one.name))
        for one in found
    ]


def _index(
    url: str,
    name: str | None,
    config: Config,
    environ: Mapping[str, str],
    *,
    default: bool = False,
    explicit: bool = False,
    flat: bool = False,
) -> Index:
    public = public_url(url) if flat else public_url(url).rstrip("/") + "/"
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
    return Index(_normal(public), name, credentials, default, explicit, flat=flat)


def _normal(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.lower(), parts.path, "", ""))


def _distinct(found: list[Index]) -> Iterator[Index]:
    seen: set[str] = set()
    for one in found:
        if one.url not in seen:
            seen.add(one.url)
            yield one
