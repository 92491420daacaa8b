"""The command `p2pcdn`: which commands there are, and how an error becomes one sentence and an exit code.

Exit codes: 0 done; 1 the node or a program that was run said no; 2 bad input, no node, or a store, port or file that
cannot be used. `p2pcdn run` passes on the code of what it runs.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

import click

from p2pcdn import __version__
from p2pcdn_daemon.commands import completion, group, install, keep, look, options, pip, serve
from p2pcdn_daemon.commands.control import NodeRefused, NoNode
from p2pcdn_daemon.configuration.config import ConfigError

EXIT_REFUSED = 1
EXIT_UNUSABLE = 2
EXIT_INTERRUPTED = 130


@click.group(cls=options.InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="p2pcdn", message="%(prog)s %(version)s")
def commands() -> None:
    """A package index on your own machine: each package comes into the building once.

    Start a node with `p2pcdn serve`, point pip or uv at it with `p2pcdn setup pip`, look at it with `p2pcdn status`.
    """


for _command in (
    serve.serve,
    look.status,
    install.setup,
    install.run,
    pip.pip,
    install.prefetch,
    look.list_,
    look.peers,
    group.group,
    keep.pin,
    keep.unpin,
    keep.gc,
    keep.verify,
    keep.export,
    keep.import_,
    look.config,
    install.demo,
    completion.completion,
):
    commands.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and ends the interpreter; the user sees a sentence, never a traceback."""
    _open_missing_streams()
    sys.exit(_exit_code(arguments))


def _exit_code(arguments: Sequence[str] | None) -> int:
    try:
        # Without standalone mode click returns the code of its own exits (--help, --version) instead of leaving.
        outcome = commands.main(arguments, prog_name="p2pcdn", standalone_mode=False)
        sys.stdout.flush()
        return outcome if isinstance(outcome, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return EXIT_UNUSABLE
    except click.UsageError as error:
        context = error.ctx.command_path if error.ctx else "p2pcdn"
        sentence = _one_line(error.format_message())
        see = " See" if sentence.endswith("?") else "; see"
        return _say(f"{sentence}{see} `{context} --help`.", EXIT_UNUSABLE)
    except click.ClickException as error:
        return _say(error.format_message(), EXIT_UNUSABLE)
    except (ConfigError, NoNode) as error:
        return _say(str(error), EXIT_UNUSABLE)
    except NodeRefused as error:
        return _say(str(error), EXIT_REFUSED)
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough (`p2pcdn list | head`); nothing is left to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("P2PCDN_DEBUG"):
            raise
        what = " ".join(f"{type(error).__name__}: {error}".split())
        return _say(f"This is a fault of p2pcdn ({what}); P2PCDN_DEBUG=1 shows where it is.", EXIT_REFUSED)


def _one_line(said: str) -> str:
    """What click says, whose choices are a line each and whose guesses stand in brackets behind a full stop."""
    return re.sub(r"\(Did you mean (?:one of: )?(.+)\?\)$", r"Did you mean \1?", " ".join(said.split())).rstrip(".")


def _open_missing_streams() -> None:
    """Whoever closed stdin, stdout or stderr (`>&-`) must not get a file of the store under that number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - a descriptor, for good
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def _say(sentence: str, code: int) -> int:
    click.echo(f"p2pcdn: {sentence}", err=True)
    return code
