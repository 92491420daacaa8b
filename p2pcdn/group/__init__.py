"""Who belongs together: device keys, the group key, proofs of both, and what members sign. Pure: no I/O, no clock."""

from p2pcdn.group.claim import Claim
from p2pcdn.group.device import Device, verify
from p2pcdn.group.identity import Identity
from p2pcdn.group.key import GroupKey

__all__ = ["Claim", "Device", "GroupKey", "Identity", "verify"]
