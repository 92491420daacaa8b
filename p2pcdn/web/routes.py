"""Our errors as HTTP statuses, in one table, and as problem+json bodies (RFC 9457)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from p2pcdn.envs.errors import BadLock, BadWheel, CannotInstall, CannotPlan, NothingFits
from p2pcdn.errors import (
    BuildFailed,
    Busy,
    DigestMismatch,
    Leaving,
    LocalProtocolError,
    NotFound,
    P2pcdnError,
    Refused,
    RemoteProtocolError,
    Replaced,
    SandboxUnusable,
    StoreStopped,
    StoreUnreadable,
    StoreUnusable,
    Unanswered,
    Unavailable,
)
from p2pcdn.fetch import MetadataTooLarge
from p2pcdn.http1 import Response
from p2pcdn.lock.solvers import SolverFailed
from p2pcdn.provision.bytecode import CompileFailed
from p2pcdn.resolve import BadRequirement, NoSolution

# status and title of each error; the detail is the error's own sentence, which uv prints.
STATUS: dict[type[P2pcdnError], tuple[int, str]] = {
    NotFound: (404, "Not found"),
    Refused: (403, "Refused"),
    MetadataTooLarge: (403, "Refused"),
    DigestMismatch: (502, "The upstream sent wrong bytes"),
    RemoteProtocolError: (502, "The upstream's answer makes no sense"),
    Unavailable: (503, "Not available now"),
    Busy: (503, "The upstream asks for time"),
    Unanswered: (503, "Not available now"),
    StoreStopped: (503, "The store does not write"),
    StoreUnusable: (503, "The store cannot be used"),
    StoreUnreadable: (503, "The store cannot be read"),
    Replaced: (503, "p2pcdn was replaced"),
    Leaving: (503, "This node ends"),
    BuildFailed: (422, "The build failed"),
    SandboxUnusable: (503, "This machine has no sandbox"),
    LocalProtocolError: (500, "A fault of this node"),
    NoSolution: (409, "No versions fit together"),
    BadRequirement: (400, "Not a requirement"),
    SolverFailed: (500, "The solver failed"),
    CompileFailed: (500, "Byte code was not made"),
    BadLock: (400, "Not a lock"),
    NothingFits: (409, "Nothing in the lock fits"),
    BadWheel: (502, "A wheel that is not installed"),
    CannotPlan: (409, "The wheels do not fit together"),
    CannotInstall: (500, "Not installed"),
}


def problem(error: P2pcdnError) -> Response:
    """The answer that stands for an error."""
    wait_s = error.retry_after_s if isinstance(error, Unavailable) else math.inf
    headers = [] if wait_s == math.inf else [("Retry-After", f"{max(1, round(wait_s))}")]
    return _problem(told_of(error), headers)


def told_of(error: P2pcdnError) -> dict[str, Any]:
    """What clients are told of it: its sentence, with those that were added on its way; and what a build that failed
    wrote last.
    """
    status, title = STATUS[type(error)]
    detail = " ".join([str(error), *getattr(error, "__notes__", ())])
    wrote = {"output": error.output} if isinstance(error, BuildFailed) and error.output else {}
    return {"status": status, "title": title, "detail": detail, **wrote}


def problem_response(status: int, title: str, detail: str, headers: Sequence[tuple[str, str]] = ()) -> Response:
    return _problem({"status": status, "title": title, "detail": detail}, headers)


def _problem(told: Mapping[str, Any], headers: Sequence[tuple[str, str]]) -> Response:
    own = [("Content-Type", "application/problem+json"), ("Cache-Control", "no-store")]
    return Response(told["status"], [*own, *headers], json.dumps({"type": "about:blank", **told}).encode())


def json_response(value: object, status: int = 200) -> Response:
    return Response(status, [("Content-Type", "application/json")], json.dumps(value).encode() + b"\n")
