"""What of a project is kept where its environment could not be changed, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.environment import named
from p2pcdn_shim.zephyr.errors import ChangedMeanwhile
from p2pcdn_shim.zephyr.machine.files import write_texts


@contextmanager
def none_of(call: Call, before: Mapping[Path, str | None]) -> Iterator[None]:
    """Where the block fails, these files get their former texts again; None: there was no such file.

    So it is with what somebody asked for by a command: without it, he has what he had.
    """
    try:
        yield
    except BaseException:
        write_texts({file: text for file, text in before.items() if text is not None})
        for file in (file for file, text in before.items() if text is None):
            file.unlink(missing_ok=True)
        *names, last = [file.name for file in before]
        if _place(call).exists():
            call.voice.note(f"{', '.join([*names, last])} and the environment are as they were.")
        else:
            files = f"{', '.join(names)} and {last} are as they were" if names else f"{last} is as it was"
            call.voice.note(f"{files}, and no environment was made.")
        raise


@contextmanager
def new_lock(call: Call, file: Path) -> Iterator[None]:
    """Where the block fails, the lock that was just made of the project stays: it would be made again, and asked for.

    The project says what it needs, whether or not this machine can have it now.
    """
    try:
        yield
    except ChangedMeanwhile:  # nothing has failed
        raise
    except BaseException:
        environment = "the environment is as it was" if _place(call).exists() else "no environment was made"
        call.voice.note(f"The new {file.name} stays, for it is what pyproject.toml asks for; {environment}.")
        raise


def _place(call: Call) -> Path:
    return named.project_place(call.config, call.directory)
