"""The content-addressed store: blobs by hash in files, everything small in one LMDB catalog. See docs/store.md."""

from p2pcdn.store.blob import Blob
from p2pcdn.store.collect import Freed
from p2pcdn.store.collector import StoreLimits
from p2pcdn.store.partial import HELD_BACK_SIZE_BYTES, Partial
from p2pcdn.store.rows import UNKNOWN, BlobRow, Origin, Table
from p2pcdn.store.store import SMALL_BLOB_SIZE_BYTES_MAX, Store, Summary
from p2pcdn.store.tree import Made, Make, Tree
from p2pcdn.store.verify import VerifyReport

__all__ = [
    "HELD_BACK_SIZE_BYTES",
    "SMALL_BLOB_SIZE_BYTES_MAX",
    "UNKNOWN",
    "Blob",
    "BlobRow",
    "Freed",
    "Made",
    "Make",
    "Origin",
    "Partial",
    "Store",
    "StoreLimits",
    "Summary",
    "Table",
    "Tree",
    "VerifyReport",
]
