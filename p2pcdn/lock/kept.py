"""What was read of pages and metadata, in the form in which a node keeps it: nothing is parsed twice. Pure.

Tables cross the solver's pipe so, too. Metadata is kept as the octets that it is in a search (`octets_of`); the files
of a page have a file of their own, `kept_files.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from p2pcdn import frames
from p2pcdn.errors import P2pcdnError
from p2pcdn.lock.kept_files import Row, encodable, encode_files
from p2pcdn.names import normalize_project
from p2pcdn.resolve import (
    Metadata,
    Order,
    Source,
    Table,
    columns_of,
    moment_of,
    octets_of,
    order_of_columns,
    read_metadata,
    table_and_places_of,
    versions_of,
)
from p2pcdn.simple import File, plain, told

# Counted up when the tables, metadata or files of this version could not be read by another one.
FORMAT = 8
# Of a large page the files of so many versions are kept at once, the newest; the others when one of them is asked for,
# which is rare: locks of 14 and of 92 packages asked for no version that is not among the newest 22.
NEWEST_VERSIONS = 32
# Of what an index says of a project, in a sentence.
REASON_SIZE_MAX = 200


def encode_table(table: Table) -> bytes:
    return frames.encode(columns_of(table))


def decode_table(octets: bytes) -> Order:
    return order_of_columns(frames.decode_own(octets))


def file_for_metadata(files: Sequence[File]) -> File | None:
    """Of the files of one version, in the order in which they are kept, the one whose metadata speaks for all."""
    return files[0] if files else None


def rank_of(row: Row) -> tuple[bool, bool, bool, int, str]:
    """A wheel before an sdist, one whose metadata lies beside it before others, a pure one, the smallest.

    The same for all targets: wheels of one version do not differ in their metadata.
    """
    filename, _, _, size_bytes, beside, *_ = row[0]
    wheel = filename.endswith(".whl")
    return (not wheel, not isinstance(beside, str), not filename.endswith("-none-any.whl"), size_bytes or 0, filename)


def status_of(raw: Mapping[str, Any]) -> str:
    """What the index says of a project without files (PEP 792), as the rest of a sentence; "" where it says nothing."""
    status = raw.get("project-status")
    if not isinstance(status, Mapping) or status.get("status") in (None, "active"):
        return ""
    reason = f" ({str(status['reason'])[:REASON_SIZE_MAX]})" if status.get("reason") else ""
    return f"is {str(status['status'])[:REASON_SIZE_MAX]} at its index{reason}"


def encode_page(
    project: str, files: Sequence[File], index: str, *, whole: bool, until: datetime | None
) -> tuple[bytes, Mapping[str, bytes]]:
    """The table of a page, and the rows of its files; of each version, first the one whose metadata speaks for it.

    whole: the files of all versions, and not only of the newest. until: without what was uploaded later.
    """
    if until is not None:
        files = _of_before(project, files, until)
    try:
        return _encoded_files(project, files, index, whole=whole)
    except UnicodeEncodeError:
        return _encoded_files(project, [encodable(file) for file in files], index, whole=whole)


def _of_before(project: str, files: Sequence[File], until: datetime) -> Sequence[File]:
    """Without what was uploaded later, or without a time, beside older files of its version; where all of a version
    came later, they stay, and the resolver says that it is too new.
    """
    every = list(told(files))
    older = {at for at, one in enumerate(every) if _is_older(one[3], until)}
    _, places = table_and_places_of(project, every)
    kept = [at for some in places.values() for at in ([one for one in some if one in older] or some)]
    return [files[at] for at in sorted(kept)]


def _is_older(upload_time: str | None, until: datetime) -> bool:
    try:
        return moment_of(upload_time or "") < until
    except ValueError:
        return False


def _encoded_files(
    project: str, files: Sequence[File], index: str, *, whole: bool
) -> tuple[bytes, Mapping[str, bytes]]:
    table, places = table_and_places_of(project, told(files), index=index)
    columns = columns_of(table)
    newest = None if whole else versions_of(columns)[-NEWEST_VERSIONS:]

    def files_of(version: str) -> list[Row]:
        return sorted([plain(files, place) for place in places[version]], key=rank_of)

    return frames.encode(columns), encode_files(places, files_of, newest)


def encode_metadata(source: Source, content: bytes) -> bytes:
    said = read_metadata(source, content.decode("utf-8", "replace"))
    # What an index lists has its version from there; so versions that say the same are the same.
    return octets_of(said if source.url else said._replace(version=""))


def name_in(content: bytes) -> str:
    """The normalized project of a METADATA; "" where it says none."""
    match = re.search(rb"^name:(.*)$", content.partition(b"\n\n")[0], re.MULTILINE | re.IGNORECASE)
    try:
        return normalize_project(match[1].decode("ascii", "replace").strip()) if match is not None else ""
    except ValueError:
        return ""


def encode_broken(why: str | P2pcdnError) -> bytes:
    return octets_of(Metadata(Source(""), broken=str(why).rstrip(".")))
