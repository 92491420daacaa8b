"""What the settings of pip, uv, pdm and poetry have in common for `p2pcdn setup`: read, pointed at a node, restored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from p2pcdn_daemon.clients.client_config import CONFIG_SIZE_BYTES_MAX, ClientIndexes
from p2pcdn_daemon.configuration.config import ConfigError


@dataclass(frozen=True, slots=True)
class User:
    """Whose settings: environ with the user's HOME, and where the system's settings are."""

    environ: Mapping[str, str]
    etc: Path = Path("/etc")


class Client(Protocol):
    """How one installer's settings are read and edited; texts in, texts out. Raises ConfigError for unreadable ones."""

    def path(self, user: User, project: Path | None) -> Path: ...

    def point(self, text: str, index_url: str, user: User) -> str:
        """The settings with the index set to index_url."""
        ...

    def restore(self, text: str, before: str, index_url: str) -> str:
        """The settings with what still names index_url as it was in `before`."""
        ...

    def uses(self, text: str, index_url: str) -> bool: ...

    def indexes(self, text: str, user: User) -> ClientIndexes:
        """What the installer is configured for before it is pointed elsewhere; text is that of its file."""
        ...

    def notes(self, text: str, index_url: str, user: User) -> list[str]:
        """What still leads past the node, or what the user must do; text is the settings as they became."""
        ...


def addresses(index_url: str) -> list[tuple[str, int]]:
    """Host and port of this node's index, as `leads_to` wants them."""
    parts = urlsplit(index_url)
    return [(parts.hostname or "", parts.port or {"https": 443}.get(parts.scheme, 80))]


def read_text(path: Path) -> str | None:
    """The text with its line ends as they are; None where there is no file."""
    try:
        with path.open("rb") as opened:
            content = opened.read(CONFIG_SIZE_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > CONFIG_SIZE_BYTES_MAX:
        raise ConfigError(f"{path} is larger than 1 MiB; it was left as it is.")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8; it was left as it is.") from error
