"""The files that stay open between two pieces that go out of them."""

from __future__ import annotations

from collections import OrderedDict

import trio

from p2pcdn.digest import Sha256
from p2pcdn.store import Blob
from p2pcdn.world import DiskFile

# Blobs that stay open between two pieces. An open one is not evicted, so not for long.
OPEN_FILES_MAX = 32
OPEN_FILE_IDLE_S = 10.0


class OpenFiles:
    """Files that are open for the next piece; closed when nobody asked for a while. Used on trio's thread."""

    def __init__(self) -> None:
        self._open: OrderedDict[Sha256, OpenFile] = OrderedDict()

    def get(self, blob: Blob) -> OpenFile | None:
        opened = self._open.get(blob.sha256)
        if opened is None:
            return None
        if opened.kept_at != blob.row.kept_at:
            self.forget(blob.sha256)  # that one was dropped, and this one kept anew
            return None
        self._open.move_to_end(blob.sha256)
        return opened

    def add(self, blob: Blob, file: DiskFile) -> OpenFile:
        there = self.get(blob)
        if there is not None:
            file.close()
            return there
        opened = self._open[blob.sha256] = OpenFile(blob, file)
        if len(self._open) > OPEN_FILES_MAX:
            idle = next((one for one in self._open.values() if not one.users and one is not opened), None)
            if idle is not None:
                self.forget(idle.sha256)
        return opened

    def leave(self, opened: OpenFile) -> None:
        opened.users -= 1
        opened.left_at = trio.current_time()
        if not opened.users and self._open.get(opened.sha256) is not opened:
            opened.file.close()

    def forget(self, sha256: Sha256) -> None:
        opened = self._open.pop(sha256, None)
        if opened is not None and not opened.users:
            opened.file.close()

    def close_idle(self) -> None:
        before = trio.current_time() - OPEN_FILE_IDLE_S
        for opened in [one for one in self._open.values() if not one.users and one.left_at <= before]:
            self.forget(opened.sha256)

    def close_all(self) -> None:
        for sha256 in list(self._open):
            self.forget(sha256)


class OpenFile:
    """users: pieces that are on their way out of it. left_at: when one last went, or it was opened.

    kept_at: of the blob's row.
    """

    __slots__ = ("file", "kept_at", "left_at", "sha256", "users")

    def __init__(self, blob: Blob, file: DiskFile) -> None:
        self.sha256 = blob.sha256
        self.kept_at = blob.row.kept_at
        self.file = file
        self.users = 0
        self.left_at = trio.current_time()
