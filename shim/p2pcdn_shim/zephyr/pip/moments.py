"""A point in time as `--uploaded-prior-to` takes it: ISO 8601, or how long ago ("P3D")."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta


def moment_of(text: str, now: datetime | None = None) -> datetime:
    """Raises ValueError. Without a zone it is this machine's own time."""
    if match := re.fullmatch(r"P(\d+)D", text.strip()):
        return (now or datetime.now(UTC)) - timedelta(days=int(match[1]))
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.astimezone()
