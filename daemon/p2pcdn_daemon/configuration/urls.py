"""URLs as they may be shown: without the passwords that stand in them."""

from __future__ import annotations

import re


def without_credentials(url: str) -> str:
    """The URL with neither user name nor password, however badly it is written.

    A password with a raw slash in it makes something else a host. So where what stands for one is none, all that comes
    before the last @ is taken for a secret.
    """
    scheme, slashes, rest = url.partition("://") if "://" in url else ("", "", url)
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if slashes and "@" in authority:
        return f"{scheme}{slashes}{authority.rpartition('@')[2]}{rest[len(authority) :]}"
    if scheme == "file" or (slashes and _HOST_AND_PORT.fullmatch(authority)):
        return url
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"


_HOST_AND_PORT = re.compile(r"([^:]+|\[[0-9A-Fa-f:.%]+\])(:[0-9]*)?")
