"""The bytes of one direction of a connection: with their weights until they are sent, and then until they are read."""

from __future__ import annotations

from collections import deque

# The last chunk of a message is not split for this little.
CHUNK_SLACK_BYTES = 8 * 1024


class Content:
    """The positions count bytes from the beginning of the connection. unsent_wire: the weight of what is not sent."""

    __slots__ = ("buffer", "delivered", "read", "segments", "sent", "unsent_wire", "written")

    def __init__(self) -> None:
        self.buffer: deque[bytes | memoryview] = deque()
        self.segments: deque[list[int]] = deque()  # [bytes not yet sent, what each weighs]
        self.written = self.sent = self.delivered = self.read = 0
        self.unsent_wire = 0

    # --- the sender's side

    def put(self, content: bytes, weight: int) -> None:
        size_bytes = len(content)
        self.buffer.append(content)
        self.segments.append([size_bytes, weight])
        self.written += size_bytes
        self.unsent_wire += size_bytes * weight

    def unsent(self, wire_max: float) -> tuple[int, int]:
        """The next bytes to send, about that heavy, which count as sent: how many, and how heavy they are."""
        raw = wire = 0
        segments = self.segments
        while segments:
            segment = segments[0]
            size_bytes, weight = segment
            if wire + size_bytes * weight <= wire_max + CHUNK_SLACK_BYTES:
                raw += size_bytes
                wire += size_bytes * weight
                segments.popleft()
                continue
            fits = int((wire_max - wire) // weight)
            if fits <= 0 and raw:
                break
            fits = max(1, fits)
            raw += fits
            wire += fits * weight
            segment[0] -= fits
            break
        self.sent += raw
        self.unsent_wire -= wire
        return raw, wire

    def send_again(self, raw: int, wire: int) -> None:
        """They did not arrive."""
        self.sent -= raw
        self.unsent_wire += wire
        self.segments.appendleft([raw, max(1, wire // max(1, raw))])

    def take_back(self, keep_bytes: int) -> None:
        """Whoever wrote the last bytes did not write them after all; so many unsent ones stay."""
        surplus = self.written - self.sent - keep_bytes
        while surplus > 0 and self.segments:
            segment = self.segments[-1]
            cut = min(surplus, segment[0])
            segment[0] -= cut
            self.unsent_wire -= cut * segment[1]
            if not segment[0]:
                self.segments.pop()
            surplus -= cut
            self.written -= cut
            while cut:
                last = self.buffer.pop()
                if len(last) > cut:
                    self.buffer.append(memoryview(last)[: len(last) - cut])
                    cut = 0
                else:
                    cut -= len(last)

    # --- the receiver's side

    def was_read(self, size_bytes: int) -> None:
        self.read += size_bytes

    @property
    def waiting_bytes(self) -> int:
        return self.delivered - self.read

    def take(self, size_bytes: int) -> bytes:
        """The next bytes of what was delivered."""
        buffer = self.buffer
        first = buffer[0]
        if len(first) == size_bytes:
            buffer.popleft()
            self.was_read(size_bytes)
            return bytes(first)
        content = bytearray(size_bytes)
        self.take_into(memoryview(content), size_bytes)
        return bytes(content)

    def take_into(self, view: memoryview, size_bytes_max: int) -> int:
        """The next bytes of what was delivered, as many as there are and fit."""
        buffer = self.buffer
        size_bytes = min(size_bytes_max, self.delivered - self.read)
        at = 0
        while at < size_bytes:
            part = buffer[0]
            length = len(part)
            if at + length <= size_bytes:
                view[at : at + length] = part
                buffer.popleft()
                at += length
            else:
                length = size_bytes - at
                view[at:size_bytes] = part[:length]
                buffer[0] = memoryview(part)[length:]
                at = size_bytes
        self.was_read(size_bytes)
        return size_bytes
