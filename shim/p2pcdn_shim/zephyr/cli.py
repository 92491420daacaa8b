"""The command `zephyr`: finds it in the table, loads its file alone, and makes an error a sentence and a code.

Exit codes: 0 done; 1 no solution, or it could not be done; 2 usage or configuration. `zephyr run` passes on the code of
what it runs.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from p2pcdn_shim.zephyr.commands import COMMANDS, load
from p2pcdn_shim.zephyr.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, ZephyrError
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, NoReturn

    from p2pcdn_shim.zephyr.terminal.voice import Voice

# A command is over before a collection of cycles would pay; one that makes very many objects still gets one.
OBJECTS_BEFORE_COLLECTION = 100_000


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and ends the process."""
    gc.set_threshold(OBJECTS_BEFORE_COLLECTION)
    _open_missing_streams()
    words = sys.argv[1:] if words is None else list(words)
    _leave(_guarded(words, _Listener(words)))


def _leave(code: int) -> NoReturn:
    """At once: an interpreter that takes itself apart needs 4 ms, and nothing here waits for its end (no atexit)."""
    if os.environ.get("ZEPHYR_DEBUG"):
        sys.exit(code)  # for profilers, which do
    try:
        sys.stdout.flush()
    except OSError:
        code = code or EXIT_FAILED  # what was to be read is lost
    os._exit(code)


def _open_missing_streams() -> None:
    """Whoever closed stdin, stdout or stderr (`>&-`) must not get a socket to the node under that number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - a descriptor, for good
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


class _Listener:
    """Who hears how a command fails. as_json: a program does, and has no answer yet; what was typed says so until the
    flags are known.
    """

    def __init__(self, words: list[str]) -> None:
        own = words[: words.index("--")] if "--" in words else words
        self._as_json = "--json" in own and "pip" not in own[:1]
        self.voice: Voice | None = None

    @property
    def as_json(self) -> bool:
        return self._as_json if self.voice is None else self.voice.as_json and not self.voice.printed

    def told(self, sentence: str, kind: str, code: int) -> int:
        """In words on stderr, and with --json besides as the document on stdout that a program waits for."""
        from p2pcdn_shim.zephyr.terminal.voice import document, harmless

        print(f"zephyr: {harmless(sentence)}", file=sys.stderr)
        if self.as_json:
            print(document({"error": {"kind": kind, "message": sentence}}))
        return code


def _guarded(words: list[str], listener: _Listener) -> int:
    try:
        code = _run(words, listener)
        sys.stdout.flush()
        return code
    except ZephyrError as error:
        return listener.told(str(error), error.kind, error.exit_code)
    except KeyboardInterrupt:
        sentence = "Interrupted; nothing is half done, and what was fetched is kept."
        return listener.told(sentence, "interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has enough; nothing is left to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if (of_the_node := _of_the_client(error)) is not None:
            return listener.told(*of_the_node, EXIT_USAGE if of_the_node[1] == "usage" else EXIT_FAILED)
        if isinstance(error, PermissionError) and error.filename:
            sentence = (
                f"{os.fsdecode(error.filename)} is not for this user ({error.strerror}); nothing was changed there."
            )
            return listener.told(sentence, ZephyrError.kind, EXIT_FAILED)
        if os.environ.get("ZEPHYR_DEBUG"):
            raise
        what = " ".join(f"{type(error).__name__}: {error}".split())
        sentence = f"This is a fault of zephyr ({what}); ZEPHYR_DEBUG=1 shows where it is."
        return listener.told(sentence, "fault", EXIT_FAILED)


def _run(words: list[str], listener: _Listener) -> int:
    if words in (["--version"], ["-V"]):
        from p2pcdn import __version__

        print(f"zephyr {__version__}")
        return 0
    if words[:3] == ["completion", "--words", "--"]:
        from p2pcdn_shim.zephyr.completing import answer

        return answer(words[3:])
    from p2pcdn_shim.zephyr.command_line.common_flags import split

    leading, name, rest = split(words)
    if name == "help" and not leading:
        return _run([*rest[:1], "--help"], listener)
    if name is None:
        return _help(leading)
    if name == "pip" and not leading:
        from p2pcdn_shim.zephyr.pip.cli import main as pip

        return pip(rest)
    if name == "sync":
        from p2pcdn_shim.zephyr import settled

        began_ns = settled.now_ns()
        if (printed := settled.answer_to(words)) is not None:
            print(printed, end="")
            return 0
    if name not in COMMANDS:
        _refuse_flags(leading)
    command = load(name)
    from p2pcdn_shim.zephyr.command_line.call import Call
    from p2pcdn_shim.zephyr.terminal.voice import Voice

    options = _options(command, name, [*leading, *rest])
    listener.voice = voice = Voice(verbosity=options.verbose, quiet=options.quiet, as_json=options.json)
    call = Call(options, voice)
    code = int(command.run(call))
    if call.settled and name == "sync" and not voice.has_warned:
        settled.remember(words, call.settled, voice.printed, began_ns=began_ns)
    return code


def _options(command: ModuleType, name: str, words: list[str]) -> Any:
    """The flags of a command and the common ones, by name. Raises UsageError."""
    from p2pcdn_shim.zephyr.command_line.common_flags import COMMON_DEFAULTS, add_common
    from p2pcdn_shim.zephyr.command_line.plain_flags import NOTHING, PlainFlags, Unusual

    try:
        plain = PlainFlags()
        command.arguments(plain)
        add_common(plain, NOTHING)
        options: Any = plain.parse_args(words)
    except Unusual:
        from p2pcdn_shim.zephyr.command_line.parser import Parser

        parser = Parser(prog=f"zephyr {name}", description=command.DESCRIPTION)
        command.arguments(parser)
        options = parser.parse_args(words)
    for key, value in COMMON_DEFAULTS.items():
        vars(options).setdefault(key, value)
    return options


def _help(leading: list[str]) -> int:
    known = [word for word in leading if word in ("-h", "--help")]
    if leading and not known:
        from p2pcdn_shim.zephyr.errors import UsageError

        _refuse_flags(leading)
        raise UsageError(f"Name a command after {leading[-1][:60]}; see `zephyr --help`.")
    print(help_text(), file=sys.stdout if known else sys.stderr)
    return 0 if known else EXIT_USAGE


def _refuse_flags(leading: list[str]) -> None:
    """Raises UsageError for a flag that not every command has, where no command follows that might have it."""
    from p2pcdn_shim.zephyr.command_line.common_flags import EVERY_FLAG, WITH_A_WORD

    for at, word in enumerate(leading):
        flag = word.partition("=")[0]
        if (at == 0 or leading[at - 1] not in WITH_A_WORD) and flag not in EVERY_FLAG and flag.strip("vq") != "-":
            from difflib import get_close_matches

            from p2pcdn_shim.zephyr.errors import UsageError

            near = get_close_matches(flag, EVERY_FLAG, n=1)
            guess = f"; did you mean {near[0]}?" if near else "; see `zephyr --help`."
            raise UsageError(f"zephyr has no flag {flag[:60]} before a command{guess}")


def help_text() -> str:
    """What `zephyr --help` prints."""
    width = max(map(len, COMMANDS), default=0)
    rows = "\n".join(f"  {name:<{width}}  {sentence}" for name, sentence in COMMANDS.items())
    return (
        "Usage: zephyr COMMAND ...\n\n"
        "Python packages and environments, out of the store of your p2pcdn node.\n\n"
        f"Commands:\n{rows}\n\n"
        "`zephyr COMMAND --help` explains one of them, and the flags that all have (-v, -q, --json, --no-node,\n"
        "--directory DIR, --config-file FILE). `zephyr --version` says which one this is."
    )


# What a user can do about some problems that the node tells by their title (`p2pcdn/web/routes.py`).
ADVICE = {
    "Not a lock": "Mend pylock.toml, or delete it: `zephyr lock` makes it anew.",
    "The upstream sent wrong bytes": "Nothing was installed. If the lock was edited, `zephyr lock` makes it anew; else "
    "the index gives another file than it did, and should be asked why.",
    "A wheel that is not installed": "Its authors must mend it; another version may do.",
    "This machine has no sandbox": "Where it is your own project, `zephyr sync --no-project` leaves it out; "
    "`allow-unsandboxed-builds` builds it all the same, and is written down in the history.",
    "Not available now": "Look at your network; `--offline` works with what is in the store.",
    "The store does not write": "Nothing was installed; make room on its disk and try again.",
}

# Of the same titles, those that a program does something about; all others have merely "failed".
KINDS = {
    "Not a requirement": "usage",
    "No versions fit together": "no-solution",
    "Nothing in the lock fits": "no-solution",
    "The build failed": "build-failed",
    "Not available now": "unavailable",
    "The upstream asks for time": "unavailable",
}


def _of_the_client(error: Exception) -> tuple[str, str] | None:
    """Sentence and kind of NoNode and NodeRefused; they are only known where the client was loaded."""
    client = sys.modules.get("p2pcdn_shim.client")
    if client is not None and isinstance(error, (client.NoNode, client.NodeRefused)):
        problem = getattr(error, "problem", None) or {}
        title = problem.get("title", "")
        advice = ADVICE.get(title, "") if "ffline" not in str(error) else ""
        wrote = [f"  {line}" for line in problem.get("output", "").splitlines()]  # of a build that failed
        return "\n".join([f"{error} {advice}".strip(), *wrote]), KINDS.get(title, ZephyrError.kind)
    return None
