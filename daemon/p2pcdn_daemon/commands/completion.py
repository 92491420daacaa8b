"""The command that prints what a shell evaluates so that it completes the words of p2pcdn; click knows them."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Prints what makes your shell complete p2pcdn's commands and flags.

    In ~/.bashrc `eval "$(p2pcdn completion bash)"`, the same with zsh in ~/.zshrc; `p2pcdn completion fish | source`
    in ~/.config/fish/config.fish.
    """
    from click.shell_completion import get_completion_class  # for this command alone

    known = get_completion_class(shell)
    assert known is not None, "click has these three"
    click.echo(known(context.find_root().command, {}, "p2pcdn", "_P2PCDN_COMPLETE").source())
