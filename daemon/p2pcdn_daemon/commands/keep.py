"""Commands that change what the node holds: gc, verify, pin, unpin, export, import. All go over its unix socket."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import click

from p2pcdn.sizes import format_size
from p2pcdn_daemon.commands import control, options
from p2pcdn_daemon.commands.control import CHUNK_SIZE_BYTES, NodeRefused
from p2pcdn_daemon.commands.progress import Progress
from p2pcdn_daemon.configuration.config import ConfigError
from p2pcdn_daemon.configuration.kinds import SIZE


@click.command()
@click.option("--to", "to_size", metavar="SIZE", help="Frees the store down to this size instead of to its limits.")
@options.settings(*options.REACH)
@options.as_json
def gc(to_size: str | None, as_json: bool, **flags: Any) -> None:
    """Frees what is over the limits of the store, the least recently used first.

    Pinned files and files that somebody reads stay. The node does this by itself; with --to it frees more.
    """
    question: dict[str, Any] = {}
    if to_size is not None:
        try:
            question["to_bytes"] = SIZE.read(to_size)
        except ValueError as error:
            raise ConfigError(f"--to: {error}") from error
    answer = control.connect(options.configuration(flags)).post("/v1/gc", question)
    if as_json:
        print(json.dumps(answer, indent=2))
    else:
        print(f"Freed {format_size(answer['freed_bytes'])} ({answer['blobs']} files).")


@click.command()
@options.settings(*options.REACH)
@options.as_json
def verify(as_json: bool, **flags: Any) -> None:
    """Reads every file that the node holds and drops those whose bytes have changed on the disk.

    A dropped file is fetched again when somebody asks for it, and a wheel whose unpacked files were changed is
    unpacked again. Exits with 1 when there was one.
    """
    node = control.connect(options.configuration(flags))
    last: dict[str, Any] = {}
    with Progress("Verifying") as progress:
        for last in node.lines("/v1/verify", {}):
            if "of" in last:
                progress.show(last["checked"], last["of"])
    if "error" in last:
        raise NodeRefused(str(last["error"]))
    if "rotten" not in last:
        raise NodeRefused("The node broke the verification off; what it had checked until then is good.")
    rotten = last["rotten"]
    if as_json:
        print(json.dumps(last, indent=2, ensure_ascii=False))
    elif rotten:
        print(f"{last['checked']} files checked; dropped because their bytes had changed: {', '.join(rotten)}.")
    else:
        print(f"{last['checked']} files checked; all are as they were kept.")
    if (trees := last.get("rotten_trees", [])) and not as_json:
        print(
            f"Somebody wrote into files that environments share: {', '.join(trees)}. They are unpacked anew when they "
            "are needed; environments that have them keep what was written until they are made anew: `zephyr "
            "venv create --clear`, then `zephyr sync`."
        )
    sys.exit(1 if rotten or trees else 0)


@click.command()
@click.argument("projects", nargs=-1, required=True, metavar="PROJECT...")
@options.settings(*options.REACH)
def pin(projects: tuple[str, ...], **flags: Any) -> None:
    """Keeps the files of some projects whatever the limits of the store say."""
    _pin(projects, True, flags)


@click.command()
@click.argument("projects", nargs=-1, required=True, metavar="PROJECT...")
@options.settings(*options.REACH)
def unpin(projects: tuple[str, ...], **flags: Any) -> None:
    """Puts the files of some projects under the limits of the store again."""
    _pin(projects, False, flags)


def _pin(projects: tuple[str, ...], pinned: bool, flags: dict[str, Any]) -> None:
    names = [options.project(name) for name in projects]
    answer = control.connect(options.configuration(flags)).post("/v1/pin", {"projects": names, "pinned": pinned})
    print(f"{'Pinned' if pinned else 'Unpinned'} {answer['blobs']} files of {', '.join(names)}.")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--project", "projects", multiple=True, metavar="NAME", help="Takes only this project. May be repeated.")
@options.settings(*options.REACH)
def export(file: Path, projects: tuple[str, ...], **flags: Any) -> None:
    """Writes what the node holds into one FILE, for a network without a wire.

    Files of an index with credentials are written too: treat FILE like them. FILE appears under its name only when it
    is whole.
    """
    if str(file) == "-":
        raise click.UsageError("An export goes into a file; for a pipe name /dev/stdout")
    config = options.configuration(flags)
    query = [("project", options.project(name)) for name in projects]
    node = control.connect(config)
    with _whole_file(file) as output, Progress("Exporting") as progress:
        written = 0
        for chunk in node.download("/v1/export", query):
            output.write(chunk)
            written += len(chunk)
            progress.show(written, None)
    said = f"Wrote {format_size(written)} to {file}; read it on another machine with `p2pcdn import "
    click.echo(f"{said}{shlex.quote(file.name)}`.", err=not file.is_file())


@contextmanager
def _whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that is written beside its name, mode 0600, and takes the name once it is whole and on the disk."""
    partial = path.with_name(path.name + ".partial")
    try:
        # A pipe or a device is written to; a file must never take its place.
        if path.exists() and not path.is_file():
            with path.open("wb") as output:
                yield output
            return
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as output:
            try:
                yield output
                output.flush()
                os.fsync(descriptor)
            except BaseException:
                with suppress(OSError):
                    partial.unlink()
                raise
        partial.rename(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}.") from error


@click.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@options.settings(*options.REACH)
@options.as_json
def import_(file: Path, as_json: bool, **flags: Any) -> None:
    """Takes in what `p2pcdn export` wrote into FILE; every file in it is checked against its hash first.

    Exits with 1 when something in FILE was refused.
    """
    node = control.connect(options.configuration(flags))
    try:
        with file.open("rb") as source, Progress("Importing") as progress:
            size_bytes = os.fstat(source.fileno()).st_size
            answer = node.upload("/v1/import", _chunks(source, size_bytes, progress), size_bytes)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror or error}.") from error
    refused = answer.get("refused", [])
    if as_json:
        print(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        nothing = "" if answer["blobs"] or answer["pages"] or refused else " Nothing in it was new to this node."
        print(f"Took in {answer['blobs']} files and {answer['pages']} project pages from {file}.{nothing}")
        for one in refused:
            name, why = str(one.get("name")), str(one.get("why"))
            click.echo(f"p2pcdn: refused {name}: {why.removeprefix(f'{name}: ')}", err=True)
    sys.exit(1 if refused else 0)


def _chunks(source: BinaryIO, size_bytes: int, progress: Progress) -> Iterator[bytes]:
    sent = 0
    while sent < size_bytes and (chunk := source.read(min(CHUNK_SIZE_BYTES, size_bytes - sent))):
        yield chunk
        sent += len(chunk)
        progress.show(sent, size_bytes)
