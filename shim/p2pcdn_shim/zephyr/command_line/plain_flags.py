"""Flags without argparse, which takes 5 ms of each call: for commands and words that need nothing explained."""

from __future__ import annotations

from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

# What is left of a flag that takes no word: where it is given, and where it is not.
_SWITCHES = {"store_true": (True, False), "store_false": (False, True)}
_BY_ACTION = object()
# The default of a flag that leaves nothing behind where it is not given (argparse.SUPPRESS).
NOTHING = object()


class Unusual(Exception):
    """A flag or a word that argparse should look at: it knows more, and says what is wrong."""


class Given:
    """What was typed, by name; as an `argparse.Namespace` for who reads it."""


class PlainFlags:
    """Takes what an ArgumentParser takes, and comes to the same; or raises Unusual."""

    def __init__(self) -> None:
        self._flags: dict[str, tuple[str, str, Sequence[str]]] = {}
        self._defaults: dict[str, Any] = {}

    def add_argument(
        self,
        *names: str,
        action: str = "store",
        default: Any = _BY_ACTION,
        dest: str = "",
        choices: Sequence[str] = (),
        **others: object,
    ) -> None:
        is_known = action in ("store", "append", "count") or action in _SWITCHES
        if not is_known or not names[0].startswith("-") or not others.keys() <= {"help", "metavar"}:
            raise Unusual
        name = dest or next((one for one in names if one.startswith("--")), names[0]).lstrip("-").replace("-", "_")
        if default is _BY_ACTION:
            default = _SWITCHES[action][1] if action in _SWITCHES else None
        if default is not NOTHING:
            self._defaults.setdefault(name, default)
        for one in names:
            self._flags[one] = name, action, choices

    def __getattr__(self, name: str) -> NoReturn:
        """Groups, and commands of commands."""
        raise Unusual

    def parse_args(self, words: Sequence[str]) -> Given:
        given = Given()
        values = vars(given)
        values.update(self._defaults)
        left = iter(words)
        for word in left:
            flag, is_joined, value = word.partition("=") if word.startswith("--") else (word, "", "")
            if flag not in self._flags:
                raise Unusual
            name, action, choices = self._flags[flag]
            if action in ("store", "append"):
                value = value if is_joined else next(left, "-")
                # What begins with a dash may be a flag whose word was forgotten.
                if (value.startswith("-") and not is_joined) or (choices and value not in choices):
                    raise Unusual
                values[name] = value if action == "store" else [*(values.get(name) or ()), value]
            elif is_joined:
                raise Unusual
            else:
                values[name] = _SWITCHES[action][0] if action in _SWITCHES else (values.get(name) or 0) + 1
        return given
