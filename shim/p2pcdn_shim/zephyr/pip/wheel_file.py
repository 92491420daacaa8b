"""What a wheel says of itself, before anything of it is unpacked: its .dist-info, METADATA, WHEEL."""

from __future__ import annotations

import zipfile
import zlib
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

from p2pcdn_shim.zephyr.pip.controls import normalize
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pcdn_shim.zephyr.pip.voice import PipVoice

METADATA_SIZE_BYTES_MAX = 16 * 1024 * 1024
# The version of the format that is known (PEP 427).
_WHEEL_VERSION = (1, 0)


def wheel_metadata(path: Path, project: str) -> str:
    """The text of METADATA. project: what the wheel is said to be of. Raises PipError."""
    with _opened(path, project) as archive:
        info = _info(archive, project)
        return _text(archive, f"{info}/METADATA", project)


def check_wheel(path: Path, project: str, voice: PipVoice) -> None:
    """Whether this is a wheel of a format that can be installed. Raises PipError."""
    with _opened(path, project) as archive:
        info = _info(archive, project)
        headers = HeaderParser().parsestr(_text(archive, f"{info}/WHEEL", project))
    version = _version(headers, project)
    text = ".".join(map(str, version))
    if version[0] > _WHEEL_VERSION[0]:
        raise PipError(f"{project}'s Wheel-Version ({text}) is not compatible with this version of pip")
    if version > _WHEEL_VERSION:
        voice.warn(f"Installing from a newer Wheel-Version ({text})")


def _version(headers: Message, project: str) -> tuple[int, ...]:
    text = headers["Wheel-Version"]
    if text is None:
        raise PipError(f"{project} has an invalid wheel, WHEEL is missing Wheel-Version")
    try:
        return tuple(int(part) for part in str(text).strip().split("."))
    except ValueError as error:
        raise PipError(f"{project} has an invalid wheel, invalid Wheel-Version: {text!r}") from error


def _opened(path: Path, project: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise PipError(f"Wheel {project!r} located at {path} is invalid.") from error


def _info(archive: zipfile.ZipFile, project: str) -> str:
    found = sorted(
        {name.partition("/")[0] for name in archive.namelist() if name.partition("/")[0].endswith(".dist-info")}
    )
    if not found:
        raise PipError(f"{project} has an invalid wheel, .dist-info directory not found")
    if len(found) > 1:
        raise PipError(f"{project} has an invalid wheel, multiple .dist-info directories found: {', '.join(found)}")
    if not normalize(found[0]).startswith(normalize(project)):
        raise PipError(
            f"{project} has an invalid wheel, .dist-info directory {found[0]!r} does not start with"
            f" {normalize(project)!r}"
        )
    return found[0]


def _text(archive: zipfile.ZipFile, name: str, project: str) -> str:
    try:
        info = archive.getinfo(name)
        if info.file_size > METADATA_SIZE_BYTES_MAX:
            raise PipError(f"{project} has an invalid wheel, {name} is too large")
        return archive.read(info).decode("utf-8")
    except (KeyError, zipfile.BadZipFile, zlib.error, OSError) as error:
        raise PipError(f"{project} has an invalid wheel, could not read {name!r} file: {error!r}") from error
    except UnicodeDecodeError as error:
        raise PipError(
            f"Error decoding metadata for {Path(archive.filename or project).name}: {error} in {name} file"
        ) from error
