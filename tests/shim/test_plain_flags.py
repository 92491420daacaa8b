"""Flags read without argparse come to what argparse makes of them, or are left to it."""

from __future__ import annotations

from importlib import import_module

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcdn_shim.zephyr.command_line.common_flags import add_common
from p2pcdn_shim.zephyr.command_line.parser import Parser
from p2pcdn_shim.zephyr.command_line.plain_flags import NOTHING, PlainFlags, Unusual
from p2pcdn_shim.zephyr.errors import UsageError

WORDS = st.sampled_from(
    [
        "--frozen", "--venv", "--venv=x", "--link-mode", "env", "hardlink", "--link-mode=none", "--extra", "--extra=a",
        "docs", "-v", "-vv", "-q", "--json", "--no-node", "--directory", "/", "--compile-bytecode", "--check", "--help",
        "--no-compile-bytecode", "--upgrade", "--upgrade-package", "", "-", "--", "--froz", "--frozen=yes", "-x", "a b",
        "--extra=", "--venv=--json", "-1",
    ]
)  # fmt: skip


@given(words=st.lists(WORDS, max_size=5), name=st.sampled_from(["sync", "lock"]))
@settings(max_examples=400, deadline=None)
def test_what_is_read_plainly_is_what_argparse_reads(words: list[str], name: str) -> None:
    command = import_module(f"p2pcdn_shim.zephyr.commands.{name}")
    plain, parser = PlainFlags(), Parser(prog="zephyr")
    for one in (plain, parser):
        command.arguments(one)
    add_common(plain, NOTHING)
    try:
        read = plain.parse_args(words)
    except Unusual:
        return
    try:
        wanted = parser.parse_args(words)
    except UsageError as error:
        pytest.fail(f"argparse refuses it: {error}")
    assert vars(read) == vars(wanted)


def test_the_usual_words_are_read_plainly() -> None:
    command = import_module("p2pcdn_shim.zephyr.commands.sync")
    plain = PlainFlags()
    command.arguments(plain)
    add_common(plain, NOTHING)
    read = vars(plain.parse_args(["-v", "--frozen", "--venv", "x", "--extra", "a", "--extra", "b", "--link-mode=env"]))
    assert read["extra"] == ["a", "b"]
    assert (read["venv"], read["link_mode"], read["frozen"], read["verbose"]) == ("x", "env", True, 1)
    assert read["compile_bytecode"] is None


@pytest.mark.parametrize(
    "how", [{"nargs": "+"}, {"type": int}, {"action": "version"}, {"required": True}, {"const": "dev"}]
)
def test_a_flag_that_argparse_should_read_is_left_to_it(how: dict[str, object]) -> None:
    with pytest.raises(Unusual):
        PlainFlags().add_argument("--flag", **how)  # type: ignore[arg-type]
