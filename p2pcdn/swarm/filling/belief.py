"""On whose word the bytes of one file are taken: an adopted manifest's, or that of a signature beside the piece."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence

from p2pcdn.errors import RemoteProtocolError
from p2pcdn.swarm.neighbours.peer import Peer
from p2pcdn.swarm.pieces.manifest import Cut, Manifest, Proof, piece_hash
from p2pcdn.swarm.pieces.sharing import Sharing
from p2pcdn.swarm.pieces.tools import Tools
from p2pcdn.swarm.wire.messages import MANIFEST_NAME, PROOF


class Belief:
    """One download's. makers: the devices on whose word its bytes stand. vouchers: the peers that gave the manifest,
    with the device that signed it.

    named: devices that the tracker has named as readers, with the peer that it named.
    """

    def __init__(self, sharing: Sharing, tools: Tools, distrusted: Sequence[bytes]) -> None:
        """distrusted: makers whose word for this file was wrong before."""
        self._sharing = sharing
        self._tools = tools
        self.distrusted = tuple(distrusted)
        self.named: dict[bytes, Peer | None] = {}
        self.makers: dict[bytes, None] = {}
        self.vouchers: dict[Peer, bytes] = {}

    def takes_manifest(self, content: bytes, word: str) -> Proof | None:
        """Who signed it, None where nobody need. Raises RemoteProtocolError where the signature is none."""
        proof = Proof.decode(word) if word else None
        if proof is not None and not proof.holds_for_manifest(self._sharing.sha256, content):
            raise RemoteProtocolError("its manifest is not signed by whom it names")
        if self._tools.identity.group is not None and (proof is None or not self._is_member(proof)):
            raise RemoteProtocolError("its manifest is signed by nobody of the group")
        return proof

    def takes_piece(
        self, peer: Peer, cut: Cut, index: int, knew: Manifest | None, headers: Mapping[str, str], parts: bytes
    ) -> Proof | bool:
        """The proof of a piece that is right, True where the manifest proves it; False where it says nothing to us.

        knew: the manifest that we said we know. parts: the hashes of the piece's parts. Raises RemoteProtocolError
        where the peer must have known better.
        """
        hash_ = piece_hash(self._sharing.sha256, cut, index, parts)
        word = headers.get(PROOF, "")
        if knew is not None:
            if hmac.compare_digest(hash_, knew.hash_of(index)):
                return self._sharing.manifest is knew  # unless nobody stands by it any more
            leans_on_it = peer in self.vouchers and (not word or word.startswith(MANIFEST_NAME))
            if leans_on_it or word == f"{MANIFEST_NAME} {knew.name}":
                raise RemoteProtocolError(f"piece {index}: bytes that its own manifest does not name")
            return False  # it believes another one; the whole file's hash will tell
        if not word or word.startswith(MANIFEST_NAME):
            raise RemoteProtocolError(f"piece {index}: no proof came with it")
        proof = Proof.decode(word)
        if not proof.holds_for_piece(hash_):
            if self._sharing.partial.size_bytes is None:
                return False  # perhaps it is we who cut the file wrongly: only the crowd told us its size
            raise RemoteProtocolError(f"piece {index}: bytes that nobody signed")
        if not self._is_believed(proof):
            return False
        self.makers[proof.maker] = None
        return proof

    def disown(self) -> None:
        """Nobody stands by the manifest any more."""
        self._sharing.disown()
        self.vouchers.clear()

    def _is_believed(self, proof: Proof) -> bool:
        """Members of the group are; in open mode those whom the tracker named as readers."""
        if proof.maker in self.distrusted:
            return False
        if self._tools.identity.group is not None:
            return self._is_member(proof)
        return proof.maker in self.named

    def _is_member(self, proof: Proof) -> bool:
        return self._tools.identity.is_member(proof.maker, proof.vouch)
