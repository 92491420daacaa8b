"""Which blob an id on the wire means. Kept in memory, for an id is a one-way name."""

from __future__ import annotations

import trio

from p2pcdn.digest import Sha256
from p2pcdn.store import Store
from p2pcdn.swarm.wire.messages import PUBLIC_KEY, blob_id

# Rows read before others have a turn: a few milliseconds.
ROWS_AT_ONCE = 256


class Directory:
    """Ids of all blobs that the store holds or held; whether one may be given is asked of the store each time.

    About 250 bytes a blob. Used on trio's thread.
    """

    def __init__(self, key: bytes = PUBLIC_KEY) -> None:
        self._key = key
        self._names: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._names)

    def id_of(self, sha256: Sha256) -> str:
        return blob_id(self._key, sha256)

    def find(self, id_: str) -> Sha256 | None:
        """id_: 64 hexadecimal digits."""
        name = self._names.get(bytes.fromhex(id_))
        return None if name is None else Sha256(name.hex())

    def add(self, sha256: Sha256) -> None:
        self._names[bytes.fromhex(self.id_of(sha256))] = bytes.fromhex(sha256)

    def remove(self, sha256: Sha256) -> None:
        self._names.pop(bytes.fromhex(self.id_of(sha256)), None)

    async def read(self, store: Store) -> None:
        """Takes in all rows, in turns with everything else. What is kept meanwhile is `add`ed by whoever is told."""
        for number, row in enumerate(store.rows()):
            self.add(row.sha256)
            if number % ROWS_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
