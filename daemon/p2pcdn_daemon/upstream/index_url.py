"""What the URL of an index means: its root and key, to whom its files may go, and the credentials known for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import httpx
from blake3 import blake3

from p2pcdn.errors import Refused
from p2pcdn.world import Index, Share
from p2pcdn_daemon.upstream.addresses import Origin, is_private_host, shown
from p2pcdn_daemon.upstream.credentials import Credentials, Netrc, from_environment

# Of indexes that somebody named for a command: behind all configured ones, whose URLs of ours depend on the place.
NAMED_POSITION = 1_000_000


def make_index(
    url: str,
    position: int,
    share_override: Share | None = None,
    *,
    name: str | None = None,
    environment: Mapping[str, str] = os.environ,
    netrc: Netrc | None = None,
) -> tuple[Index, Credentials | None]:
    """The index that a user's URL means, and the credentials known for it; the URL may hold some itself.

    name: what the environment's `P2PCDN_INDEX_<NAME>_…` calls it; its host otherwise. Share where nothing overrides it:
    never with credentials, group for a directory or a private host, lan for a public one.
    Raises ValueError, one sentence, for what is no index URL.
    """
    if url.strip().startswith("file:"):
        root = _file_url(url.strip())
        return Index(root, _key(root), position, share_override or "group", private=False), None
    try:
        parsed = httpx.URL(url.strip())
        origin = Origin.of(parsed)
    except (Refused, httpx.InvalidURL) as error:
        raise ValueError(
            f"{shown(url)!r} is not the URL of an index: it must begin with http, https or file."
        ) from error
    if parsed.query:
        raise ValueError(f"{shown(url)!r} is not the URL of an index: it has a query.")
    bare = plain(parsed)
    root = str(bare if bare.raw_path.endswith(b"/") else bare.copy_with(raw_path=bare.raw_path + b"/"))
    credentials = _credentials(parsed, origin, name, environment, netrc or Netrc.read(environment))
    share: Share = "never" if credentials else "group" if is_private_host(origin.host) else "lan"
    return Index(root, _key(root), position, share_override or share, private=credentials is not None), credentials


def make_heap(url: str) -> tuple[Index, Credentials | None]:
    """A directory of files (with a slash at its end) or a page of links as an index. Raises ValueError."""
    made, credentials = make_index(url.partition("?")[0], NAMED_POSITION)
    root = made.url if url.endswith("/") or not made.url.endswith("/") else made.url.removesuffix("/")
    # A key of its own: the same URL may be an index, too.
    return replace(made, url=root, key=_key(f"heap {root}"), share="never", flat=True), credentials


def _credentials(
    url: httpx.URL, origin: Origin, name: str | None, environment: Mapping[str, str], netrc: Netrc
) -> Credentials | None:
    if found := from_environment(name or origin.host, environment):
        return found
    in_netrc = netrc.of(origin.host)
    if not url.userinfo:
        return in_netrc
    username, colon, password = url.userinfo.decode("ascii").partition(":")
    if colon:
        return Credentials(unquote(username), unquote(password))
    if in_netrc is not None and in_netrc.username == unquote(username):
        return in_netrc
    return Credentials(unquote(username), None)


def _file_url(url: str) -> str:
    path = unquote(url.removeprefix("file:").partition("#")[0])
    path = path.removeprefix("//localhost") if path.startswith("//localhost/") else path
    path = "/" + path.lstrip("/") if path.startswith("///") or not path.startswith("//") else path
    if path.startswith("//") or not path.startswith("/") or "\0" in path:
        raise ValueError(f"{shown(url)!r} is not a directory of this machine; write file:///path/to/it/.")
    return Path(os.path.normpath(path)).as_uri().rstrip("/") + "/"


def plain(url: httpx.URL) -> httpx.URL:
    """Without a name, password or fragment: httpx would send the first two by itself."""
    return url.copy_with(userinfo=b"", fragment=None)


def _key(url: str) -> str:
    return blake3(url.encode()).hexdigest()[:16]
