"""The errors a caller can meet, one tree; each name says what the caller can do about it.

Every message is a sentence for the user: what happened, what was kept, what to do next. Foreign errors (of httpx, lmdb,
the operating system) become one of these once, at the border, with `from`. `web/routes.py` turns them into statuses.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # zephyr meets these errors on its way to the first byte, and pathlib takes milliseconds
    from pathlib import Path


class P2pcdnError(Exception):
    """The root; never raised itself."""


class NotFound(P2pcdnError):
    """The upstream said that there is no such project or file (404, 410). Asking again soon is useless."""


class Unavailable(P2pcdnError):
    """Nobody who could answer answers now (503). Asking again later may help.

    retry_after_s: seconds after which asking again makes sense; becomes Retry-After. inf: nothing will have changed by
    itself, and a client that waits as long as it is told to must not wait (pip does, five times, and says nothing).
    """

    def __init__(self, message: str, *, retry_after_s: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def not_here(what: str) -> Unavailable:
    """Where nobody is to be asked for what is not in the store."""
    return Unavailable(f"Offline, {what} is not in this node's store; without `offline` an index is asked for it.")


class Busy(Unavailable):
    """An upstream answered that it is not to be asked now, and for how long (429, Retry-After).

    down: what else it has is not to be had either; else it is only asked too often.
    """

    def __init__(self, message: str, *, retry_after_s: float, down: bool = False) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.down = down


class Unanswered(Unavailable):
    """Somebody who may have it did not answer in time: that is no "no", and asking again soon may help."""


class DigestMismatch(P2pcdnError):
    """The bytes that came are not the bytes that the index named (502). Nothing was kept.

    expected, got: "sha256:<64 hex digits>".
    """

    def __init__(self, what: str, *, expected: str, got: str) -> None:
        super().__init__(f"{what}: expected {expected}, got {got}; nothing was kept.")
        self.what = what
        self.expected = expected
        self.got = got


class Refused(P2pcdnError):
    """Policy forbids it (403): a private address behind a redirect, a file that a limit cuts, a share rule."""


class LocalProtocolError(P2pcdnError):
    """We broke the protocol: a bug of ours."""


class RemoteProtocolError(P2pcdnError):
    """They broke the protocol: close the connection and remember it."""


class StoreUnusable(P2pcdnError):
    """The store cannot be opened: held by another node, of a newer format, read-only. The daemon exits with 2."""


class StoreUnreadable(StoreUnusable):
    """The disk failed while the store was opened; what it keeps is as it was. The daemon exits with 1: try again."""


class StoreStopped(P2pcdnError):
    """The store stopped writing (disk full, a failed fsync, a panic of the catalog). Bytes pass through unkept."""


class Replaced(P2pcdnError):
    """Another p2pcdn lies where this node was started from (503): what the node would start is of that one, and knows
    another word for something. Nothing was done; the node must be started anew.
    """


class Leaving(Replaced):
    """The same, of a node that ends for it: who asked starts another."""


class SandboxUnusable(P2pcdnError):
    """This machine cannot hold a program in: the kernel forbids it, or an escape probe got out. Nothing was run."""


class BuildFailed(P2pcdnError):
    """A source distribution did not become a wheel. The project's own build failed, or it broke a limit.

    output: the last lines that the build wrote. log: the file that has all of them, or None.
    """

    def __init__(self, message: str, *, output: str = "", log: Path | None = None) -> None:
        super().__init__(message)
        self.output = output
        self.log = log
