"""One file somewhere: on a page, in a directory, at a URL that the user named; and what its name says."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urljoin, urlsplit, urlunsplit

from p2pcdn_shim.zephyr.pip.controls import normalize
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.values import Value

ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tlz", ".tar.lz", ".tar.lzma")
STRONG = ("sha256", "sha384", "sha512")
# The algorithms that pages and URLs name; others that hashlib knows (shake_128) have no digest of one length.
_HASHES = ("sha512", "sha384", "sha256", "sha224", "sha1", "md5")
_HASH = re.compile(rf"[#&]({'|'.join(_HASHES)})=([^&]+)")
_SCHEMES = ("http", "https", "file", "ftp")
VCS = ("git", "hg", "svn", "bzr")


class Link(Value):
    """url: with its fragment. hashes: as the page or the fragment says. page: where it stood; "" for the user's own.

    yanked: the reason, perhaps empty; None where it is not. metadata: the hashes of the file beside it (PEP 658);
    None where there is none. through_node: the node's index has it, and the node fetches it.
    """

    url: str
    hashes: Mapping[str, str] = {}
    page: str = ""
    requires_python: str = ""
    yanked: str | None = None
    upload_time: str = ""
    metadata: Mapping[str, str] | None = None
    through_node: bool = False

    @property
    def plain(self) -> str:
        """Without its fragment."""
        return self.url.partition("#")[0]

    @property
    def filename(self) -> str:
        """As it is called; of a directory its name. Never a path, however its slashes are written."""
        path = unquote(urlsplit(self.plain).path)
        name = path.rstrip("/").rpartition("/")[2]
        return name or urlsplit(self.plain).netloc

    @property
    def fragment(self) -> dict[str, str]:
        return {key: values[0] for key, values in parse_qs(urlsplit(self.url).fragment).items()}

    @property
    def subdirectory(self) -> str:
        return self.fragment.get("subdirectory", "")

    @property
    def egg(self) -> tuple[str, tuple[str, ...]]:
        """(project, extras) of `#egg=`; empty without one."""
        match = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]*)(\[[^\]]*\])?", self.fragment.get("egg", "").strip())
        if match is None:
            return "", ()
        return match[1], tuple(one.strip() for one in (match[2] or "[]")[1:-1].split(",") if one.strip())

    @property
    def is_wheel(self) -> bool:
        return self.filename.lower().endswith(".whl")

    @property
    def is_file(self) -> bool:
        """Of this machine."""
        return self.url.startswith("file:")

    @property
    def is_vcs(self) -> bool:
        scheme = self.url.partition(":")[0]
        return scheme.partition("+")[0] in VCS and ("+" in scheme or scheme in VCS)

    @property
    def repository(self) -> tuple[str, str]:
        """Of one of a repository: its own URL, and the revision that is named; "" for none."""
        kind, plus, rest = self.plain.partition("+")
        parts = urlsplit(rest if plus else kind)
        path, at, revision = parts.path.rpartition("@")
        return urlunsplit((parts.scheme, parts.netloc, path if at else parts.path, "", "")), revision if at else ""

    @property
    def path(self) -> Path:
        """Of one of this machine."""
        return Path(unquote(urlsplit(self.plain).path))

    @property
    def is_directory(self) -> bool:
        return self.is_file and self.path.is_dir()

    @property
    def same(self) -> str:
        """Equal for two spellings of one place: only what counts of its fragment, and a path without ways back."""
        parts = urlsplit(self.plain)
        path = re.sub(r"/+", "/", parts.path) if parts.scheme == "file" else parts.path
        netloc = "" if parts.scheme == "file" and parts.netloc in ("", "localhost") else parts.netloc
        counted = [f"subdirectory={self.subdirectory}"] if self.subdirectory else []
        counted += [f"{name}={value}" for name, value in sorted(self.hashes.items()) if name in STRONG]
        place = urlunsplit(
            (parts.scheme, netloc.rpartition("@")[2] if parts.scheme == "file" else netloc, path, "", "")
        )
        if parts.scheme == "file":
            place = "file://" + quote(unquote(os.path.normpath(path)))
        return f"{place}#{'&'.join(counted)}"


def checked(url: str) -> str:
    """The same. Raises PipError for one that cannot be read."""
    try:
        urlsplit(url)
    except ValueError as error:
        raise PipError(f"Invalid URL {url!r}: {error}") from error
    return url


def link_at(url: str, *, page: str = "") -> Link:
    """What a URL says by itself. Raises PipError for one that cannot be read."""
    match = _HASH.search(url)
    return Link(checked(url), {match[1]: match[2]} if match else {}, page)


def link_to_path(path: str | Path) -> Link:
    return Link(Path(os.path.abspath(path)).as_uri())  # noqa: PTH100 - links stay


def is_url(text: str) -> bool:
    scheme, colon, _ = text.partition(":")
    return bool(colon) and (scheme.lower() in _SCHEMES or scheme.lower().partition("+")[0] in VCS) and "/" in text


def is_archive(name: str) -> bool:
    return name.lower().endswith((*ARCHIVES, ".whl"))


def listed(rows: Iterable[Mapping[str, object]], page: str, *, through_node: bool = False) -> Iterator[Link]:
    """The files of a page in the form of PEP 691."""
    for row in rows:
        hashes = row.get("hashes")
        url = urljoin(page, str(row["url"]))
        known = {name: str(hashes[name]) for name in _HASHES if name in hashes} if isinstance(hashes, dict) else {}
        beside = next((row[key] for key in ("core-metadata", "dist-info-metadata", "data-dist-info-metadata")
                       if key in row), None)  # fmt: skip
        yanked = row.get("yanked")
        yield Link(
            percent_encoded(url),
            known or link_at(url).hashes,
            page,
            str(row.get("requires-python") or ""),
            None if yanked in (None, False) else ("" if yanked is True else str(yanked)),
            str(row.get("upload-time") or ""),
            None if not beside else ({str(k): str(v) for k, v in beside.items()} if isinstance(beside, dict) else {}),
            through_node,
        )


def percent_encoded(url: str) -> str:
    """Blanks and what is not ASCII as percent-encoded UTF-8; what is encoded already stays."""
    return quote(url, safe="%/:?#[]@!$&'()*+,;=~")


def version_in(filename: str, project: str) -> str | None:
    """The text of the version in the name of a source archive; None where it is another project's."""
    stem = next((filename[: -len(end)] for end in ARCHIVES if filename.lower().endswith(end)), None)
    if stem is None:
        return None
    for at, sign in enumerate(stem):
        if sign == "-" and normalize(stem[:at]) == project:
            return stem[at + 1 :]
    return None
