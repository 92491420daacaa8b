"""What is to be linked, cut into parts that may be done side by side."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from p2pcdn.envs.plan import Links

# Some 3 ms of work: small beside the whole, so that all who work end together, and large beside taking the next one.
FILES_A_PART = 256
_SHARED = -1


class Part:
    """Directories in which nobody else has anything, parents first, and the links that go there and elsewhere."""

    __slots__ = ("directories", "links")

    def __init__(self, links: list[Links]) -> None:
        self.directories: list[str] = []
        self.links = links


def cut(directories: Iterable[str], links: Iterable[Links]) -> tuple[list[str], list[Part]]:
    """The directories that must be there first, and the parts. Both keep the order of what they are given."""
    parts = [Part(some) for some in _runs(links)]
    owners = _owners(parts)
    first: list[str] = []
    for directory in directories:
        owner = owners.get(directory, _SHARED)
        (first if owner == _SHARED else parts[owner].directories).append(directory)
    return first, parts


def _runs(links: Iterable[Links]) -> list[list[Links]]:
    runs: list[list[Links]] = []
    files = FILES_A_PART
    for one in links:
        if files >= FILES_A_PART:
            runs.append([])
            files = 0
        runs[-1].append(one)
        files += len(one.names)
    return runs


def _owners(parts: Sequence[Part]) -> dict[str, int]:
    """Whose a directory is, with all that is below it; one with files of several parts below it is shared."""
    owners: dict[str, int] = {}
    for number, part in enumerate(parts):
        for links in part.links:
            directory = links.target[:-1]
            # What is shared has only what is shared above it, and what is ours has what is ours or shared.
            while directory and owners.get(directory) not in (number, _SHARED):
                owners[directory] = _SHARED if directory in owners else number
                directory = directory.rpartition("/")[0]
    return owners
