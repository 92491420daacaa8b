"""`zephyr pip`: pip's command line. `cli.py` hands its words over as they are; here is what stands in the help."""

from __future__ import annotations

from argparse import REMAINDER, ArgumentParser

from p2pcdn_shim.zephyr.command_line.call import Call

DESCRIPTION = """pip's command line, in pip's words, on the store and the sandbox of your node; `zephyr pip --help`
lists
its commands. It works on the environment of `--python`, else on the active one, else on that of the interpreter on the
PATH."""


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("words", nargs=REMAINDER, help="What you would have typed behind pip.")


def run(call: Call) -> int:
    from p2pcdn_shim.zephyr.pip.cli import main

    return main(call.options.words)
