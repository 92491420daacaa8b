"""Who a node is: its device key, and the group it is in, if any. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from p2pcdn.group.device import Device
from p2pcdn.group.key import GroupKey

# The key under which blobs are looked up in open mode: everybody has it.
OPEN_LOOKUP_KEY = bytes(32)


@dataclass(frozen=True)
class Identity:
    """group: None in open mode, where nobody proves anything and only public files are given."""

    device: Device
    group: GroupKey | None = None

    @cached_property
    def vouch(self) -> bytes:
        """16 bytes by which members know our device; empty in open mode."""
        return b"" if self.group is None else self.group.vouch(self.device.public)

    @property
    def tag(self) -> str:
        """The public name of the group: 16 hexadecimal digits; empty in open mode."""
        return "" if self.group is None else self.group.tag

    @property
    def lookup_key(self) -> bytes:
        """The key of the blob ids on the wire."""
        return OPEN_LOOKUP_KEY if self.group is None else self.group.lookup_key

    def is_member(self, device_public: bytes, vouch: bytes) -> bool:
        """Whether the group vouches for a device. In open mode nobody is a member."""
        return self.group is not None and self.group.vouches(device_public, vouch)
