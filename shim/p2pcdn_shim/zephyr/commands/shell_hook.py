"""`zephyr shell-hook`: a function for the user's shell, with which `zephyr venv activate` changes that shell."""

from __future__ import annotations

from argparse import ArgumentParser

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.environment import activation

DESCRIPTION = """Prints a function for your shell. With it, `zephyr venv activate NAME` enters the environment by
itself. Put `eval "$(zephyr shell-hook bash)"` into ~/.bashrc, the same with zsh into ~/.zshrc, or `zephyr shell-hook
fish | source` into ~/.config/fish/config.fish."""


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("shell", choices=activation.HOOK_SHELLS, metavar="bash|zsh|fish", help="The shell it is for.")


def run(call: Call) -> int:
    text = activation.hook(call.options.shell)
    call.voice.answer([text], {"shell": call.options.shell, "hook": text})
    return 0
