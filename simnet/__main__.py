"""The command: `python -m simnet SCENARIO --nodes N --seed S [--json] [--trace FILE]`, and `campaign`, `mutants`."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

from simnet.simulation import Hang

# Modules with `add_arguments(parser)` and `main(arguments, trace_file) -> (result, failures, command)`.
SCENARIOS = {"flash-crowd": "simnet.scenarios.flash_crowd", "hardship": "simnet.scenarios.hardship"}
# Modules with a `main(arguments) -> exit code` of their own.
COMMANDS = {"campaign": "simnet.campaigns.campaign", "mutants": "simnet.campaigns.mutants"}


def main(words: Sequence[str]) -> int:
    if words and words[0] in COMMANDS:
        return int(import_module(COMMANDS[words[0]]).main(words[1:]))
    parser = argparse.ArgumentParser(prog="python -m simnet", description=__doc__)
    scenarios = parser.add_subparsers(dest="scenario", required=True, metavar="SCENARIO")
    for name, module in SCENARIOS.items():
        about = import_module(module)
        one = scenarios.add_parser(name, help=about.__doc__, description=about.__doc__)
        one.add_argument("--nodes", type=positive, default=10, metavar="N")
        one.add_argument("--seed", type=int, default=1, metavar="S")
        one.add_argument("--json", action="store_true", help="the last line is one JSON object")
        one.add_argument("--trace", type=Path, metavar="FILE", help="everything that happened, a line each")
        one.add_argument("--log", default="critical", help="what the nodes log, to stderr: debug, info, warning")
        about.add_arguments(one)
    for name in COMMANDS:
        scenarios.add_parser(name, help=f"see `python -m simnet {name} --help`")
    wanted = parser.parse_args(words)
    logging.basicConfig(level=wanted.log.upper(), format="%(asctime)s %(name)s %(message)s")
    with ExitStack() as stack:
        trace_file = stack.enter_context(wanted.trace.open("w")) if wanted.trace else None
        try:
            result, failures, command = import_module(SCENARIOS[wanted.scenario]).main(wanted, trace_file)
        except Hang as error:
            result, failures, command = {}, [f"hang: {error}"], " ".join(["python -m simnet", *words])
    _show(result, as_json=wanted.json)
    for sentence in failures:
        print(f"FAILED: {sentence}", file=sys.stderr)
    if failures:
        print(f"Again: {command}", file=sys.stderr)
    return 1 if failures else 0


def positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return int(text)


def _show(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name.replace('_', ' '):24} {value}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
