"""Blobs from neighbours, and for them: who is there, who has what, pieces that are checked on arrival."""

from p2pcdn.swarm.neighbours.exchange import Patience
from p2pcdn.swarm.neighbours.peer import PeerStatus
from p2pcdn.swarm.swarm import Swarm

__all__ = ["Patience", "PeerStatus", "Swarm"]
