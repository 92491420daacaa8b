"""Project pages kept fresh, and the files that URLs of ours mean."""

from p2pcdn.index.held import HeldPage, path_of
from p2pcdn.index.locate import file_at, known_file
from p2pcdn.index.pages import Pages

__all__ = ["HeldPage", "Pages", "file_at", "known_file", "path_of"]
