"""Whose word for a file was wrong, once its hash has told; and who of several it was, once the right bytes are here."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from p2pcdn.bounded import forget_oldest
from p2pcdn.digest import Sha256
from p2pcdn.errors import P2pcdnError
from p2pcdn.store import Partial, Store
from p2pcdn.swarm.filling.belief import Belief
from p2pcdn.swarm.giving.manifests import make_manifest
from p2pcdn.swarm.neighbours.peer import Peer
from p2pcdn.swarm.pieces.manifest import Manifest, Proof
from p2pcdn.swarm.pieces.sharing import Sharing
from p2pcdn.swarm.pieces.tools import Tools, refuse
from p2pcdn.swarm.wire.advice import DISTRUSTED_MAKERS_MAX

log = logging.getLogger(__name__)

# Downloads of which is remembered on whose word they stand, until the file is proven or not.
DOWNLOADS_REMEMBERED = 64


class Convictions:
    """Used on trio's thread."""

    def __init__(self, store: Store, tools: Tools) -> None:
        self._store = store
        self._tools = tools
        self._downloads: OrderedDict[str, tuple[Belief, Sharing]] = OrderedDict()  # by the partial's attempt
        self._suspects: dict[Sha256, tuple[Belief, dict[int, Proof]]] = {}
        self._wrong_makers: OrderedDict[Sha256, dict[bytes, None]] = OrderedDict()

    def remember(self, partial: Partial, belief: Belief, sharing: Sharing) -> None:
        """An attempt begins."""
        self._downloads[partial.attempt] = (belief, sharing)
        forget_oldest(self._downloads, DOWNLOADS_REMEMBERED)

    def wrong_makers(self, sha256: Sha256) -> tuple[bytes, ...]:
        """Whose word for this file was wrong before."""
        return tuple(self._wrong_makers.get(sha256, ()))

    def has_suspects(self, sha256: Sha256) -> bool:
        """Whether one of several has lied about this file, and its right bytes would say who."""
        return sha256 in self._suspects

    def distrust(self, partial: Partial) -> Sharing | None:
        """The whole file's hash was wrong although every piece was as its maker said: nobody takes his word again.

        What this attempt gave away; None where nobody's word is known.
        """
        remembered = self._downloads.pop(partial.attempt, None)
        if remembered is None:
            return None
        belief, sharing = remembered
        makers = self._wrong_makers.setdefault(sharing.sha256, {})
        makers.update(belief.makers)
        makers.pop(self._tools.identity.device.public, None)
        forget_oldest(makers, DISTRUSTED_MAKERS_MAX)
        forget_oldest(self._wrong_makers, DOWNLOADS_REMEMBERED)
        for peer, maker in belief.vouchers.items():
            if belief.named.get(maker) in (None, peer):  # others only passed it on
                refuse(self._tools, peer, sharing.sha256, partial.origin.filename, "its manifest is not of this file")
        if len(belief.makers) == 1:
            self._refuse_makers(partial.origin.filename, sharing.sha256, belief.named, list(belief.makers))
        else:
            # Which of them lied, the right file will tell: its pieces do not fit what the liar signed.
            self._suspects[sharing.sha256] = (belief, dict(sharing.proofs))
            forget_oldest(self._suspects, DOWNLOADS_REMEMBERED)
        return sharing

    async def convict(self, sha256: Sha256) -> None:
        """The right file has come: whoever signed another piece of it has lied. It may come twice at once."""
        suspects = self._suspects.pop(sha256, None)
        blob = self._store.blob(sha256, mark=False)
        if suspects is None or blob is None:
            return
        belief, proofs = suspects
        try:
            manifest = await make_manifest(blob, self._tools.threads, self._tools.cutting)
        except (P2pcdnError, OSError) as error:
            log.debug("nobody was convicted: %s", error)
            return
        # A tenth of a millisecond for each: a large file's would stop the loop.
        liars = await self._tools.threads.run(_liars, proofs, manifest)
        self._refuse_makers(blob.origin.filename, sha256, belief.named, liars)

    # --- below

    def _refuse_makers(
        self, filename: str, sha256: Sha256, named: Mapping[bytes, Peer | None], makers: Sequence[bytes]
    ) -> None:
        for maker in makers:
            liar = named.get(maker)
            if liar is not None:
                refuse(self._tools, liar, sha256, filename, "it signed pieces of another file")
            else:
                log.warning(
                    "refused the word of %s: %s: its pieces are not those of this file",
                    maker.hex()[:16],
                    filename,
                    extra={"device": maker.hex(), "file": filename, "sha256": sha256},
                )


def _liars(proofs: Mapping[int, Proof], manifest: Manifest) -> list[bytes]:
    """Whoever signed a piece that is none of this file."""
    return sorted(
        {
            proof.maker
            for index, proof in proofs.items()
            if index >= manifest.pieces or not proof.holds_for_piece(manifest.hash_of(index))
        }
    )
