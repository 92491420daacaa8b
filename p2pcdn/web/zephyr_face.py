"""What `zephyr` asks its node over the control socket: locks, and environments made ready; see docs/protocol.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from p2pcdn.errors import RemoteProtocolError
from p2pcdn.http1 import Request, Response
from p2pcdn.lock.locker import Locked, Locker, OneTarget, Question, parse_question
from p2pcdn.resolve import Target
from p2pcdn.web.control_face import Route, asked_object
from p2pcdn.web.routes import json_response

# A lock of a thousand packages with every wheel has some 10 MB.
BODY_SIZE_BYTES_MAX = 64 * 1024 * 1024


class ZephyrFace:
    """Its routes become the control face's, whose errors become statuses there."""

    def __init__(self, locker: Locker) -> None:
        self._locker = locker

    def routes(self) -> Mapping[tuple[str, str], Route]:
        return {
            ("POST", "/v1/lock"): self._post_lock,
            ("POST", "/v1/resolve"): self._post_resolve,
        }

    async def _post_lock(self, request: Request) -> Response:
        asked = await asked_object(request, BODY_SIZE_BYTES_MAX)
        return _lock_response(await self._locker.lock(_question(asked)))

    async def _post_resolve(self, request: Request) -> Response:
        asked = await asked_object(request, BODY_SIZE_BYTES_MAX)
        target = _target(asked)
        return _lock_response(await self._locker.resolve(_question(asked), target))


def _lock_response(locked: Locked) -> Response:
    answer = {
        "lock": locked.text,
        "packages": locked.packages,
        "warnings": list(locked.warnings),
        "again": locked.again,
    }
    return json_response(answer)


def _question(asked: Mapping[str, Any]) -> Question:
    value, former = asked.get("question"), asked.get("former")
    if not isinstance(value, dict) or not isinstance(former, str | None):
        raise RemoteProtocolError("question is an object, and former the text of a lock.")
    return parse_question(value, former=former, upgrade=asked.get("upgrade", []))


def _target(asked: Mapping[str, Any]) -> OneTarget:
    """The interpreter that is asked for: its variables of PEP 508, and its tags, the best first."""
    markers, tags = asked.get("markers"), asked.get("tags")
    if not (isinstance(markers, dict) and all(isinstance(value, str) for value in markers.values())):
        raise RemoteProtocolError("markers is an object of texts.")
    if not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        raise RemoteProtocolError("tags is a list of texts.")
    if "python_full_version" not in markers:
        raise RemoteProtocolError("markers lacks python_full_version.")
    return OneTarget(f"Python {markers['python_full_version']}", Target.of(markers, tuple(tags)))
