"""The flags that every command has."""

from __future__ import annotations

from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Protocol

    class TakesFlags(Protocol):
        def add_argument(self, *names: str, **how: Any) -> object: ...


# Flags that may stand before the command and take a word with them.
WITH_A_WORD = ("--directory", "--config-file")
# What may stand there whatever the command is.
EVERY_FLAG = (
    "-v", "--verbose", "-q", "--quiet", "--json", "--no-node", *WITH_A_WORD, "-h", "--help", "-V", "--version"
)  # fmt: skip
COMMON_DEFAULTS = {
    "verbose": 0, "quiet": False, "json": False, "no_node": None, "directory": None, "config_file": None
}  # fmt: skip


def add_common(parser: TakesFlags, nothing: object) -> None:
    """nothing: the default by which this parser leaves out what is not given; a sub-command must not overwrite what
    stood before it.
    """
    parser.add_argument("-v", "--verbose", action="count", default=nothing, help="Says more; twice, even more.")
    parser.add_argument("-q", "--quiet", action="store_true", default=nothing, help="Says nothing but errors.")
    parser.add_argument("--json", action="store_true", default=nothing, help="Answers with one JSON document.")
    parser.add_argument(
        "--no-node",
        action="store_true",
        default=nothing,
        help="Works with a private node that ends with the command, instead of the one that runs.",
    )
    parser.add_argument("--directory", metavar="DIR", default=nothing, help="Works as if started in DIR.")
    parser.add_argument(
        "--config-file", metavar="FILE", default=nothing, help="Reads FILE instead of ~/.zephyr/config.toml."
    )


def split(words: list[str]) -> tuple[list[str], str | None, list[str]]:
    """What stood before the command, the command, and what came after it."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in WITH_A_WORD else 1
    if at >= len(words):
        return words, None, []
    return words[:at], words[at], words[at + 1 :]
