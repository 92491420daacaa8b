"""What is to be linked, cut into parts that may be done side by side."""

from __future__ import annotations

from p2pcdn.envs.plan import Links

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# A millisecond or two of work: small beside the whole, so that all who work end together, and large beside taking it.
FILES_A_PART = 128
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
        if directory not in owners:  # nothing is linked there: it is with whoever makes the one above it
            owners[directory] = owners.get(directory.rpartition("/")[0], _SHARED)
        owner = owners[directory]
        (first if owner == _SHARED else parts[owner].directories).append(directory)
    return first, parts


def _runs(links: Iterable[Links]) -> list[list[Links]]:
    runs: list[list[Links]] = []
    files = FILES_A_PART
    for one in links:
        for some in _split(one):
            if files >= FILES_A_PART:
                runs.append([])
                files = 0
            runs[-1].append(some)
            files += len(some.names)
    return runs


def _split(links: Links) -> Iterator[Links]:
    """A directory of many files, in several; they can be linked into it at the same time."""
    names = links.names
    if len(names) <= FILES_A_PART:
        yield links
        return
    for at in range(0, len(names), FILES_A_PART):
        yield Links(links.wheel, links.origin, links.source, links.target, names[at : at + FILES_A_PART])


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
