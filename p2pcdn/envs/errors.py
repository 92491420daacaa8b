"""What can go wrong with a lock, a wheel, a plan or an environment; each message is a sentence for the user."""

from __future__ import annotations

from p2pcdn.errors import P2pcdnError, Refused


class BadLock(P2pcdnError):
    """A pylock.toml that cannot be read, or breaks PEP 751. The message names the file and the key."""


class NothingFits(P2pcdnError):
    """A lock that is right, and has nothing for this environment: no wheel for its platform, another Python, two
    answers.
    """


class BadWheel(Refused):
    """A wheel that is not installed: its archive is malformed or dangerous, or is not what its RECORD says. Nothing
    was kept.
    """


class CannotPlan(P2pcdnError):
    """Wheels that cannot stand in one environment of this kind: a path that is protected, or impossible on its
    platform.
    """


class CannotInstall(P2pcdnError):
    """The environment could not be changed, and is as it was: disk full, no permission, a tree that is gone, another
    zephyr.
    """
