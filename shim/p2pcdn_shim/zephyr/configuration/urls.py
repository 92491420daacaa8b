"""URLs of indexes as users write them: which can be used, and how one is shown without its credentials."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit


def check_url(text: str) -> str:
    """An http, https or file URL, or a directory as one; with its credentials. Raises ValueError."""
    if text.startswith(("/", "~", "./", "../")):
        return path_url(Path(), text)
    try:
        parts = urlsplit(text)
        usable = parts.scheme == "file" or (parts.scheme in ("http", "https") and bool(parts.hostname))
        usable = usable and (parts.port or 1) > 0 and not parts.query
    except ValueError:
        usable = False
    if not usable or not text.isprintable() or " " in text:
        raise ValueError(f"{public_url(text)[:80]!r} is not an http, https or file URL of an index, nor a directory.")
    return text


def links_url(text: str, directory: Path) -> str:
    """Where find-links lead, as a URL: that of a page, or of a path that begins at a directory, with a slash where it
    is itself one. Raises ValueError.
    """
    if "://" not in text:
        path = directory / Path(text).expanduser()
        return path_url(directory, text) + ("/" if path.is_dir() else "")
    parts = urlsplit(text)
    if parts.scheme == "file":
        return text.rstrip("/") + ("/" if Path(unquote(parts.path)).is_dir() else "")
    if parts.scheme not in ("http", "https") or not parts.hostname or not text.isprintable() or " " in text:
        raise ValueError(f"{public_url(text)[:80]!r} is not an http, https or file URL of a page, nor a directory.")
    return text


def path_url(directory: Path, path: str) -> str:
    """The file URL of a path that begins at a directory; links are not followed."""
    return absolute(directory, path).as_uri()


def absolute(directory: Path, path: str) -> Path:
    """A path that begins at a directory, or at a home; links are not followed."""
    return Path(os.path.abspath(directory / Path(path).expanduser()))  # noqa: PTH100


def without_secrets(text: str) -> str:
    """Any text, with the user names and passwords of the web addresses in it left out."""
    return re.sub(r"(https?://)[^/@\s]+@", r"\1", text)


def public_url(url: str) -> str:
    """The URL without user name and password, however badly it is written."""
    if "@" not in url:
        return url
    from p2pcdn_daemon.configuration.urls import without_credentials

    scheme, _, rest = url.rpartition("@")[0].partition("://")
    # An index has neither query nor fragment; a raw ? or # before an @ stands in a password.
    if "?" in rest or "#" in rest:
        return f"{scheme}://{url.rpartition('@')[2]}"
    return without_credentials(url)
