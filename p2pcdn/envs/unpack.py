"""Unpacks a wheel once, into a tree that nobody changes any more."""

from __future__ import annotations

from pathlib import Path

from p2pcdn.envs.listing import Listing


def unpack(wheel: Path, filename: str, tree: Path) -> Listing:
    """Checks the wheel file against its RECORD and unpacks it into the directory `tree`, which is there afterwards or
    not at all.

    filename: the wheel's name, which says what it should be (the file itself may be a blob). Blocks: run it in a
    thread. The files are 0444 or 0555, directories 0555. It survives `kill -9`; for a power cut, call `settle` before
    you note anywhere that the tree is there. Raises BadWheel, and OSError for a disk that fails or is full; then
    nothing is left behind.
    """
    raise NotImplementedError


def settle(directory: Path) -> None:
    """Waits until all that was written to this file system is on the disk: one call for a whole batch of trees."""
    raise NotImplementedError


def remove_tree(tree: Path) -> None:
    """Removes a tree or a left-over of an unpacking; no error where there is none."""
    raise NotImplementedError


def is_leftover(name: str) -> bool:
    """Whether a directory of this name beside the trees is what a killed unpacking left: the next start may remove
    it.
    """
    raise NotImplementedError
