"""Links of a page, made absolute, and the rule which of them may be followed."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, urljoin, urlsplit

# Longer URLs are refused by most servers; a signed URL of an object store has about two thousand characters.
URL_LENGTH_MAX = 8192

# What nearly every link of nearly every page is: nothing to join, to encode or to cut off.
_PORT = r":(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3})"
_PLAIN = re.compile(rf"https?://[A-Za-z0-9.-]+(?:{_PORT})?/[A-Za-z0-9._~%!$&'()*+,;=:@/-]*", re.ASCII)
# Likewise for relative links: steps upwards or to the root, then a path without further steps, query or scheme.
_SEGMENT = r"[A-Za-z0-9_~%!$&'()*+,=@-][A-Za-z0-9._~%!$&'()*+,=@-]*"
_PLAIN_RELATIVE = re.compile(rf"(/|(?:\.\./)*)({_SEGMENT}(?:/{_SEGMENT})*)", re.ASCII)
_PRINTABLE_ASCII = "".join(chr(code) for code in range(0x21, 0x7F))


def absolute_url(page_url: str, link: str) -> str | None:
    """The link as an absolute ASCII URL without its fragment, or None where it must not be followed.

    page_url: the URL of the page (or of its `<base>`). Followed are http and https; file only from a page that is
    itself a file, else an index could name any file of this machine.
    """
    if len(link) > URL_LENGTH_MAX or len(page_url) > URL_LENGTH_MAX:
        return None
    link = link.partition("#")[0]
    if _PLAIN.fullmatch(link):
        return link
    if (match := _PLAIN_RELATIVE.fullmatch(link)) and (directory := _plain_directory(page_url, match[1])):
        return directory + match[2]
    return _joined(page_url, link)


@lru_cache(maxsize=64)
def _plain_directory(page_url: str, steps: str) -> str | None:
    directory = urljoin(page_url, steps or ".")
    return directory if _PLAIN.fullmatch(directory) and directory.endswith("/") else None


def _joined(page_url: str, link: str) -> str | None:
    link = link.strip()
    if not link.isprintable() or "\\" in link:
        return None
    try:
        url = urljoin(page_url, link).partition("#")[0]
        parts = urlsplit(url)
        known = parts.port is None or parts.port > 0
    except ValueError:
        return None
    if parts.scheme in ("http", "https"):
        followed = known and bool(parts.hostname)
    else:
        followed = parts.scheme == "file" and page_url[:5].lower() == "file:"
    if not followed or not parts.netloc.isascii() or " " in parts.netloc:
        return None
    # A blank or a letter outside ASCII is written as its percent-encoded UTF-8; what is encoded already stays.
    return quote(url, safe=_PRINTABLE_ASCII)
