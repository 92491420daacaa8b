"""How a node logs: one line an event on stderr, as text for people or as JSON for programs; never a credential.

What a log call passes as `extra` becomes ` key=value` in the text and a key of its own in the JSON.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

# What every record has; all other attributes came with `extra`.
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# Each tells of every request or packet, with URLs whose queries may be signed: our own lines say it better.
_LOUD = ("httpx", "httpcore", "zeroconf", "asyncio", "hpack")
# To the last @ before the path: a password may hold one.
_CREDENTIALS = re.compile(r"(?<=://)[^/?#\s]*@")
_AUTHORIZATION = re.compile(r"(?i)\b(basic|bearer)\s+[A-Za-z0-9+/=._~-]{8,}")
# A start says some ten things; one that says more is in trouble, and then they should be read.
HELD_RECORDS_MAX = 200
# Syslog priorities (sd-daemon(3)) for the journal.
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


def configure(level: str, form: str, stream: TextIO | None = None) -> None:
    """Sends everything from `level` on ("debug" ... "error") to stderr in the form "text" or "json"."""
    sink = logging.StreamHandler(stream or sys.stderr)
    sink.setFormatter(JsonLines() if form == "json" else TextLines(journal=_is_journal()))
    root = logging.getLogger()
    root.handlers[:] = [sink]
    root.setLevel(level.upper())
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.WARNING)
    # A full disk under the log or a closed terminal must not become an exception in the node.
    logging.raiseExceptions = False


class Held(logging.Filter):
    """Keeps back what is below a warning until `release`: a start that fails says one sentence and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self._records: list[logging.LogRecord] = []
        for sink in logging.getLogger().handlers:
            sink.addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written now."""
        if record.levelno >= logging.WARNING or len(self._records) >= HELD_RECORDS_MAX:
            return True
        self._records.append(record)
        return False

    def release(self) -> None:
        """Writes what was kept, in its order, and keeps nothing from now on."""
        for sink in logging.getLogger().handlers:
            sink.removeFilter(self)
            for record in self._records:
                sink.handle(record)
        self._records.clear()


class TextLines(logging.Formatter):
    """`2026-11-20 22:50:28 warning index: serving the page we have project=numpy`; shorter in the journal."""

    def __init__(self, *, journal: bool = False) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the lines of the traceback where there is one."""
        head = f"<{_PRIORITIES.get(record.levelno, 6)}>" if self._journal else f"{_time(record):%Y-%m-%d %H:%M:%S} "
        where = record.name.rpartition(".")[2]
        extra = "".join(f" {key}={_plain(value)}" for key, value in _extras(record).items())
        line = f"{head}{record.levelname.lower()} {where}: {record.getMessage()}{extra}".replace("\n", " ")
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return without_secrets(line)


class JsonLines(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, and the extras."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the extras are."""
        line: dict[str, Any] = {
            "time": _time(record).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key, value in _extras(record).items():
            line.setdefault(key, value)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        # Secrets go from the values, before the quoting of JSON could hide where one ends.
        return json.dumps(_cleaned(line), ensure_ascii=False, default=lambda value: without_secrets(str(value)))


def without_secrets(text: str) -> str:
    """The text without user names and passwords in URLs and without Authorization values."""
    return _AUTHORIZATION.sub(r"\1 ***", _CREDENTIALS.sub("***@", text))


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, dict):
        return {str(key): _cleaned(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_cleaned(one) for one in value]
    return value


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _USUAL and not key.startswith("_")}


def _plain(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or any(sign in text for sign in ' "=\n\t') else text


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _is_journal() -> bool:
    """Whether stderr is the journal's own stream (systemd.exec(5), $JOURNAL_STREAM)."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
