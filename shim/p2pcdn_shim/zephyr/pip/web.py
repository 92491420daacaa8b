"""How `zephyr pip` fetches what the node's own indexes do not have: with the user's certificates, proxies, passwords.

What comes from the node's own indexes goes through the node. What a command names for itself (another index, a URL) is
asked for directly, for the node knows nothing of the command's certificates, and no index vouches for a bare URL.
"""

from __future__ import annotations

import re
import ssl
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

from p2pcdn.trust import is_named, is_trusted
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from p2pcdn_shim.zephyr.pip.voice import PipVoice

PAGE_SIZE_BYTES_MAX = 256 * 1024 * 1024
PIECE_SIZE_BYTES = 256 * 1024
# From server to server; honest ones need two or three.
REDIRECTS_MAX = 20
# Servers that say so may say something else a moment later, as pip sees it.
_PASSING = (500, 502, 503, 520, 527)
# What doubles before each further try.
_PAUSE_S = 0.25
# As urllib3 has it, for who says --retries 100.
_PAUSE_S_MAX = 120.0
# In this order (PEP 691).
PAGE_TYPES = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"


class Answer(Value):
    """url: after redirects."""

    content: bytes
    content_type: str
    url: str


class NotThere(Exception):
    """The server says so (404), or that it will not give it; reason: as pip puts it."""


class _Elsewhere(Exception):
    """The answer is that another server has it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


class _Redirects(HTTPRedirectHandler):
    """On one server as usual. To another one nothing goes along: no password, and no trust without a certificate."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if _server(newurl) == _server(req.full_url):
            return request
        fp.close()
        raise _Elsewhere(newurl)


class Web:
    """One command's connections. Used by one thread."""

    def __init__(self, options: Any, voice: PipVoice, credentials: Any) -> None:
        self._options = options
        self._voice = voice
        self._credentials = credentials
        self._openers: dict[bool, OpenerDirector] = {}

    def page(self, url: str, *, refresh: bool = False) -> Answer:
        """An index page or any other. Raises NotThere."""
        headers = {"Accept": PAGE_TYPES}
        if refresh:
            headers["Cache-Control"] = "max-age=0"
        with self._open(url, headers) as stream, _read_to_its_end(url):
            content = stream.read(PAGE_SIZE_BYTES_MAX)
            return Answer(content, stream.headers.get("Content-Type", ""), stream.geturl())

    def text(self, url: str) -> str:
        """Of a requirements file. Raises NotThere."""
        answer = self.page(url)
        charset = answer.content_type.partition("charset=")[2].split(";")[0].strip() or "utf-8"
        return answer.content.decode(charset, "replace")

    def download(self, url: str, to: Path) -> None:
        """A file; one that breaks off is resumed (--resume-retries). Raises NotThere, PipError."""
        rest: dict[str, str] = {}
        left = self._options.resume_retries
        with to.open("wb") as file:
            while True:
                with self._open(url, {"Accept-Encoding": "identity", **rest}) as stream:
                    if stream.status != HTTPStatus.PARTIAL_CONTENT:
                        file.seek(0)
                        file.truncate()
                    elif not stream.headers.get("Content-Range", "").startswith(f"bytes {file.tell()}-"):
                        raise PipError(f"{url} could not be fetched to its end: another part came than was asked for.")
                    why = _copied(stream, file)
                if not why:
                    return
                if left <= 0:
                    raise PipError(f"{url} could not be fetched to its end: {why}")
                left -= 1
                self._voice.warn(f"{url} broke off ({why}); it is resumed at {file.tell()} bytes.")
                rest = _rest(stream, file.tell())

    def _open(self, url: str, headers: Mapping[str, str]) -> Any:
        place, user, password = without_password(url)
        known = self._credentials.known(place, user, password)
        try:
            return self._ask(place, headers, known)
        except HTTPError as error:
            here = _server(error.url or place) == _server(place)
            if here and error.code == 401 and (asked := self._credentials.asked(place, user, known)) is not None:
                try:
                    return self._ask(place, headers, asked)
                except HTTPError as again:
                    error = again
            raise NotThere(f"{error.code} Client Error: {error.reason} for url: {url}") from error
        except (URLError, OSError, ValueError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise NotThere(f"connection-failed: {url}: {reason}") from error

    def _ask(self, url: str, headers: Mapping[str, str], known: tuple[str, str] | None) -> BinaryIO:
        for _ in range(REDIRECTS_MAX):
            try:
                return self._ask_one(url, headers, known)
            except _Elsewhere as other:
                trusted = self._options.trusted_hosts
                if is_secure(url, trusted) and not is_secure(other.url, trusted):
                    raise NotThere(f"{url} leads to {other.url}, which is not secure") from None
                url, user, password = without_password(other.url)
                known = self._credentials.known(url, user, password)
        raise NotThere(f"{url}: too many redirects")

    def _ask_one(self, url: str, headers: Mapping[str, str], known: tuple[str, str] | None) -> BinaryIO:
        from p2pcdn import __version__

        whole = {"User-Agent": f"zephyr/{__version__}", **headers}
        if known is not None:
            whole["Authorization"] = "Basic " + b64encode(":".join(known).encode()).decode()
        tries = max(0, self._options.retries)
        for done in range(tries + 1):
            try:
                return self._opener(url).open(Request(url, headers=whole), timeout=self._options.timeout)  # type: ignore[no-any-return]
            except (HTTPException, OSError) as error:  # an HTTPError is an OSError, too
                if done == tries or not _may_pass(error):
                    raise
                self._voice.warn(f"Retrying ({tries - done} more) after connection broken by {error!r}: {url}")
            time.sleep(_pause_s(done))
        raise AssertionError

    def _opener(self, url: str) -> OpenerDirector:
        trusted = is_named(url, self._options.trusted_hosts)
        if trusted not in self._openers:
            proxies = ProxyHandler(self._proxies())
            self._openers[trusted] = build_opener(proxies, HTTPSHandler(context=self._context(trusted)), _Redirects())
        return self._openers[trusted]

    def _proxies(self) -> dict[str, str] | None:
        if self._options.proxy:
            return {"http": self._options.proxy, "https": self._options.proxy}
        return {} if self._options.no_proxy_env else None

    def _context(self, trusted: bool) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._options.cert or None)
        if trusted:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self._options.client_cert:
            try:
                context.load_cert_chain(self._options.client_cert)
            except (OSError, ssl.SSLError) as error:
                raise PipError(f"The client certificate cannot be used: {error}") from error
        return context


@contextmanager
def _read_to_its_end(url: str) -> Iterator[None]:
    """What goes wrong in the middle, as a sentence."""
    try:
        yield
    except (OSError, HTTPException, ValueError) as error:
        raise PipError(f"{url} could not be fetched to its end: {error}") from error


def _server(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def is_secure(url: str, trusted: list[str]) -> bool:
    """Whether nobody on the way can change what comes: https, this machine, or a host that the user trusts."""
    return url.partition(":")[0] in ("https", "file", "ssh", "git+ssh") or is_trusted(url, trusted)


def _copied(stream: Any, file: BinaryIO) -> str:
    """Why not all of it; "" for all."""
    expected, got = stream.headers.get("Content-Length", ""), 0
    try:
        while piece := stream.read(PIECE_SIZE_BYTES):
            file.write(piece)
            got += len(piece)
    except (ConnectionError, TimeoutError, HTTPException) as error:
        return str(error) or type(error).__name__
    return f"{got} of {expected} bytes came" if expected.isdecimal() and got < int(expected) else ""


def _rest(stream: Any, begin: int) -> dict[str, str]:
    """The headers that ask for the rest of what a stream began: nothing where it could be of another file."""
    mark = stream.headers.get("ETag") or stream.headers.get("Last-Modified")
    return {"Range": f"bytes={begin}-", "If-Range": mark} if mark and begin and not mark.startswith("W/") else {}


def _pause_s(done: int) -> float:
    """Before the try after so many that failed, the first of which may have been a mere accident."""
    return min(_PAUSE_S * 2.0 ** min(done, 20), _PAUSE_S_MAX) if done else 0.0


def _may_pass(error: OSError | HTTPException) -> bool:
    """Whether it may be better at the next try; a certificate stays the same."""
    if isinstance(error, HTTPError):
        return error.code in _PASSING
    return not isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError)


def without_password(url: str) -> tuple[str, str | None, str | None]:
    """(the URL, user, password)."""
    parts = urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None, None
    user, colon, password = login.partition(":")
    return (
        urlunsplit((parts.scheme, host, parts.path, parts.query, parts.fragment)),
        unquote(user),
        unquote(password) if colon else None,
    )


def public(url: str) -> str:
    """Without user and password; the name of ssh's user (git@), and variables, are none."""
    place, user, password = without_password(url)
    login = user if password is None else f"{user}:{password}"
    is_none = login in (None, "git") or re.fullmatch(r"\$\{\w+\}(:\$\{\w+\})?", str(login), re.ASCII)
    return url if is_none else place
