"""What of the store may be given to a neighbour: which files, over which connection, under which share."""

from __future__ import annotations

from collections.abc import Mapping

from p2pcdn.digest import Sha256
from p2pcdn.store import Blob, Origin, Store
from p2pcdn.swarm.giving.directory import Directory
from p2pcdn.swarm.giving.manners import Manners
from p2pcdn.swarm.giving.open_files import OpenFiles
from p2pcdn.swarm.pieces.sharing import Sharing
from p2pcdn.world import Share


class Givable:
    """Unknown, private and withdrawn files look the same from outside. Used on trio's thread."""

    def __init__(
        self,
        store: Store,
        directory: Directory,
        files: OpenFiles,
        shares: Mapping[str, Share],
        manners: Manners,
        *,
        in_group: bool,
    ) -> None:
        """shares: see `may_share`."""
        self.manners = manners
        self._store = store
        self._directory = directory
        self._files = files
        self._shares = shares
        self._open_to: tuple[Share, ...] = ("lan", "group") if in_group else ("lan",)

    def may_share(self, origin: Origin) -> bool:
        """Whether it was kept for those who ask us, and its index still is: who closes that, closes what is here.

        They are the whole network, or our group. An index that is not configured any more is as open as the most open
        one that is.
        """
        if not self.manners.slots:
            return False
        others = any(share in self._open_to for share in self._shares.values()) or not self._shares
        now = self._shares.get(origin.index_key)
        return origin.share in self._open_to and (others if now is None else now in self._open_to)

    def may_go(self, origin: Origin, *, sealed: bool) -> bool:
        """sealed: over TLS; the group's private files go no other way."""
        return self.may_share(origin) and (sealed or origin.share == "lan")

    def blob(self, id_: str, *, sealed: bool = True) -> Blob | None:
        """The blob if it is here and may be given."""
        sha256 = self._directory.find(id_)
        if sha256 is None:
            return None
        blob = self._store.blob(sha256)
        if blob is None:
            if not self._store.holds(sha256):
                self._files.forget(sha256)
            return None
        return blob if self.may_go(blob.origin, sealed=sealed) else None

    def is_growing(self, sharing: Sharing, *, sealed: bool) -> bool:
        """Whether it still grows and may be given. One that became a blob is given as such, or is gone."""
        partial = sharing.partial
        return partial.error is None and partial.blob is None and self.may_go(partial.origin, sealed=sealed)

    def lost(self, sha256: Sha256) -> None:
        """Its file is gone."""
        self._directory.remove(sha256)
