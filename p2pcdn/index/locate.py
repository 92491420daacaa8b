"""Which file a URL of ours means."""

from __future__ import annotations

from p2pcdn.errors import NotFound
from p2pcdn.index.held import HeldPage
from p2pcdn.index.pages import Pages
from p2pcdn.names import is_normalized, projects_of
from p2pcdn.simple import File
from p2pcdn.world import Index


async def file_at(pages: Pages, path: str) -> tuple[HeldPage, File]:
    """The file that a decoded path of ours means, found on its project's page and never fetched blindly.

    Raises NotFound, and what `Pages.of_index` raises.
    """
    known = known_file(pages, path)
    if known is not None:
        return known
    for index, project in _candidates(pages, path):
        for insist in (False, True):
            held = await pages.of_index(index, project, insist=insist)
            file = held.files_by_path.get(path)
            if file is not None:
                return held, file
    raise NotFound(f"No project page lists a file at {path}.")


def known_file(pages: Pages, path: str) -> tuple[HeldPage, File] | None:
    """The same, if the page is in memory and fresh; no waiting."""
    for index, project in _candidates(pages, path):
        held = pages.at_hand(index, project)
        if held is not None and path in held.files_by_path:
            return held, held.files_by_path[path]
    return None


def _candidates(pages: Pages, path: str) -> list[tuple[Index, str]]:
    parts = path.split("/")
    if path.startswith("/packages/"):
        return [(pages.default, project) for project in projects_of(parts[-1])]
    if len(parts) == 5 and parts[1] == "files" and is_normalized(parts[3]):
        return [(index, parts[3]) for index in pages.indexes if index.key == parts[2]]
    return []
