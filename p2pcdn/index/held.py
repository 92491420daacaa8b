"""A project page as this node holds it, and the URLs of ours for its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote, unquote, urlsplit

from p2pcdn.index.freshness import Freshness
from p2pcdn.names import projects_of
from p2pcdn.simple import File, ProjectPage
from p2pcdn.world import Index

# A client that insists on a checked page (`uv --refresh`) gets one that was checked this short a time ago.
INSISTED_AGE_MAX_S = 10.0


@dataclass(frozen=True)
class HeldPage:
    """A project page as we have it. page is None where the index said that it has no such project.

    version: 32 hexadecimal digits that change with the page's content. checked_at: seconds since 1970.
    stale: its upstream did not answer. claim: the encoded word of the group by which it came; None where our own
    upstream gave it. Such a page is always stale, and checked_at is what its maker said. kept_at: the checked_at that
    the store has, which is older where a page was found unchanged.
    """

    index: Index
    project: str
    page: ProjectPage | None
    version: str
    checked_at: float
    freshness: Freshness
    etag: str | None = None
    last_modified: str | None = None
    serial: int | None = None
    stale: bool = False
    claim: bytes | None = None
    kept_at: float = 0.0

    def fresh_for_s(self, now: float) -> float:
        """Seconds for which this page still counts as fresh; negative when it is over. A clock set back ends it too."""
        age = now - self.checked_at
        return self.freshness.fresh_s - age if age >= 0 else -1.0

    def is_fresh(self, now: float, *, insist: bool) -> bool:
        """Whether it may be given without asking; `insist`: to a client that wants it checked."""
        fresh_for_s = self.fresh_for_s(now)
        return fresh_for_s > 0 and (not insist or now - self.checked_at <= INSISTED_AGE_MAX_S)

    @cached_property
    def files_by_path(self) -> Mapping[str, File]:
        """The files by the decoded path of our URL for them."""
        files = self.page.files if self.page is not None else ()
        return {unquote(path_of(self.index, self.project, file)): file for file in reversed(files)}


def path_of(index: Index, project: str, file: File) -> str:
    """The path of our URL for a file, percent-encoded.

    At the default index it is the path at the index's file host (`/packages/…`), so that a lock that recorded our URL
    can be turned back; other indexes have a prefix of their own, and so have files whose path tells no project.
    """
    path = urlsplit(file.url).path
    at_default = index.position == 0 and path.startswith("/packages/")
    if at_default and project in projects_of(unquote(path).rpartition("/")[2]):
        return path
    return f"/files/{index.key}/{project}/{quote(file.filename)}"
