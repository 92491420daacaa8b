"""Every setting of a node, once: its name, its kind, its default, and what it means.

A key is the same word everywhere: `store-size` in the file, `P2PCDN_STORE_SIZE` in the environment, `--store-size` as a
flag. The click options, `p2pcdn config` and the table in docs/configuration.md are made from the fields of `Config`.
This file imports nothing heavy: `p2pcdn status` reads it too.
"""

# ruff: noqa: RUF009 - `_setting` makes a field, as dataclasses.field does.
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from p2pcdn_daemon.configuration.kinds import (
    AGE,
    FLAG,
    FORMAT,
    HOST,
    LEVEL,
    LINK,
    METERED,
    PATH,
    PEER,
    PEER_DNS,
    PORT,
    RATE,
    READERS,
    SHARE,
    SIZE,
    UPSTREAM,
    Kind,
    UpstreamSetting,
)


class ConfigError(ValueError):
    """The configuration cannot be used; the message is the sentence for the user. Commands exit with 2."""


def _setting(default: Any, kind: Kind, help: str, *, default_text: str = "", off: str = "", many: bool = False) -> Any:
    """A field of `Config`. default_text: what the docs say where the default is found out at run time. off: the flag
    that takes back one that is true. many: the flag may be repeated, the environment separates by spaces."""
    return field(default=default, metadata={"kind": kind, "help": help, "text": default_text, "off": off, "many": many})


@dataclass(frozen=True)
class Config:
    """The settings of one node, each with where it came from. Sizes are bytes, durations seconds."""

    host: str = _setting(
        "localhost", HOST, "Where the index listens; localhost means 127.0.0.1 and ::1, all every address."
    )
    port: int = _setting(7272, PORT, "The port of the index; 0 picks a free one and prints it.")
    peer_host: str = _setting("all", HOST, "Where neighbours reach this node; all means every address.")
    peer_port: int = _setting(7273, PORT, "The port for neighbours; 0 picks a free one.")
    group_key_file: Path | None = _setting(
        None,
        PATH,
        "The file of the group's key (`p2pcdn group`); the key itself may stand in `P2PCDN_GROUP_KEY`.",
        default_text="`group.key` beside the configuration file; without one this node is in no group",
    )
    sealed_port: int | None = _setting(
        None,
        PORT,
        "In a group, the port for private files, over TLS; 0 picks a free one.",
        default_text="the one after `peer-port`, or a free one",
    )
    control_socket: Path | None = _setting(
        None,
        PATH,
        "The unix socket over which the commands reach the node; 107 bytes at most.",
        default_text="`$XDG_RUNTIME_DIR/p2pcdn/control.sock`, without that variable "
        "`/tmp/p2pcdn-<uid>/control.sock`; for root and the system service `/run/p2pcdn/control.sock`; "
        "always `control.sock` in the store as well",
    )
    store: Path = _setting(
        Path(),
        PATH,
        "The directory in which everything is kept; made with mode 0700.",
        default_text="`~/.cache/p2pcdn`; for the system service `/var/lib/p2pcdn`",
    )
    store_size: int = _setting(20 * 10**9, SIZE, "How much the store may hold; the least recently used goes first.")
    keep_for: float | None = _setting(None, AGE, "How long a file is kept after it was last used.")
    pages_size: int = _setting(10**9, SIZE, "How much of the store project pages may take.")
    upstream: tuple[UpstreamSetting, ...] = _setting(
        (),
        UPSTREAM,
        "An index to take packages from; the first that has a project owns it.",
        default_text="the index that pip or uv is configured for, else PyPI",
        many=True,
    )
    file_host: tuple[str, ...] = _setting(
        (),
        HOST,
        "One more host, or HOST:PORT, that pages may name for their files though its address is private.",
        default_text="the hosts of the indexes",
        many=True,
    )
    offline: bool = _setting(False, FLAG, "Asks no upstream; pages list only what is near.", off="online")
    share: str | None = _setting(
        None,
        SHARE,
        "To whom files are given, for every index without credentials.",
        default_text="`lan` for public indexes, `group` for one on a private address, `never` for one with credentials",
    )
    no_mdns: bool = _setting(False, FLAG, "Neither announces this node by multicast nor looks for others.", off="mdns")
    mdns_interface: tuple[str, ...] = _setting(
        (),
        LINK,
        "A network interface to use multicast on.",
        default_text="those of the default routes",
        many=True,
    )
    peer: tuple[str, ...] = _setting((), PEER, "A neighbour to ask, found or not.", default_text="none", many=True)
    peers_file: Path | None = _setting(
        None, PATH, "A file of neighbours, one HOST:PORT a line, read again when it changes.", default_text="none"
    )
    peer_dns: tuple[str, ...] = _setting(
        (),
        PEER_DNS,
        "A DNS name of neighbours, asked again and again: all addresses of NAME:PORT, or SRV records.",
        default_text="none",
        many=True,
    )
    upload_limit: int = _setting(0, RATE, "How much neighbours get from this node in a second, all of them together.")
    metered: str = _setting(
        "auto",
        METERED,
        "Whether the link costs by the byte: then neighbours get nothing. auto: yes for a mobile modem.",
    )
    origin_readers: int = _setting(
        1,
        READERS,
        "How many nodes of a room may read one file from its upstream at once, each its part; more than 1 only where"
        " one connection to the upstream is slower than the line.",
    )
    allow_host: tuple[str, ...] = _setting(
        (),
        HOST,
        "One more name under which clients may reach the index, such as a container's.",
        default_text="only the names of this machine's loopback",
        many=True,
    )
    log_level: str = _setting("info", LEVEL, "How much is logged to stderr.")
    log_format: str = _setting("text", FORMAT, "How the log is written.")

    sources: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None

    def source(self, key: str) -> str:
        """Where a value came from: "default", "file /path", "environment P2PCDN_PORT", "flag --port"."""
        return self.sources.get(key, "default")

    def shown(self, key: str) -> str | list[str] | None:
        """A value as text, without credentials."""
        setting = SETTINGS[key]
        value = getattr(self, setting.field_name)
        if setting.many:
            return [setting.kind.show(one) for one in value]
        return None if value is None and setting.kind is not AGE else setting.kind.show(value)


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table."""

    key: str
    kind: Kind
    default: Any
    default_text: str
    help: str
    off: str
    many: bool

    @property
    def field_name(self) -> str:
        return self.key.replace("-", "_")

    @property
    def variable(self) -> str:
        return "P2PCDN_" + self.field_name.upper()

    @property
    def flag(self) -> str:
        return "--" + self.key

    def default_for_docs(self) -> str:
        """The default as the documentation and --help say it."""
        return self.default_text or f"`{self.kind.show(self.default)}`"


def _rows() -> dict[str, Setting]:
    rows = {}
    for row in fields(Config):
        if "kind" in row.metadata:
            about = row.metadata
            key = row.name.replace("_", "-")
            rows[key] = Setting(
                key, about["kind"], row.default, about["text"], about["help"], about["off"], about["many"]
            )
    return rows


SETTINGS: Mapping[str, Setting] = _rows()
