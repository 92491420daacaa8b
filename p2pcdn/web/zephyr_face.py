"""What `zephyr` asks its node over the control socket: locks, and environments made ready; see docs/protocol.md."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import trio

from p2pcdn.build.key import Settings
from p2pcdn.envs.model import Directory
from p2pcdn.envs.model import Target as LockTarget
from p2pcdn.envs.scheme import Scheme
from p2pcdn.errors import P2pcdnError, RemoteProtocolError
from p2pcdn.http1 import Request, Response
from p2pcdn.lock.locker import Locked, OneTarget
from p2pcdn.lock.wishes import Question, parse_question
from p2pcdn.names import is_normalized
from p2pcdn.provision import Asked, Bench, Bytecode, Named, Ready, Terms, Toolchain, Workroom
from p2pcdn.provision.asked import Told
from p2pcdn.provision.attested import ALL
from p2pcdn.provision.building import Kind
from p2pcdn.provision.environment import Progress
from p2pcdn.provision.sites import Site
from p2pcdn.resolve import Target
from p2pcdn.web.control_face import Route, asked_object
from p2pcdn.web.routes import json_response, told_of

log = logging.getLogger(__name__)

# A lock of a thousand packages with every wheel has some 10 MB.
BODY_SIZE_BYTES_MAX = 64 * 1024 * 1024
# What is told of a wheel; `asdict` would copy each of a hundred deeply, while a command waits.
_TOLD = tuple(one.name for one in fields(Told))
# Lines of progress that a slow reader has not taken yet.
LINES_WAITING_MAX = 64


Work = Callable[[Progress], Awaitable[list[bytes]]]


class ZephyrFace:
    """Its routes become the control face's, whose errors become statuses there."""

    def __init__(self, workroom: Workroom, nursery: trio.Nursery) -> None:
        self._workroom = workroom
        self._nursery = nursery

    def routes(self) -> Mapping[tuple[str, str], Route]:
        return {
            ("POST", "/v1/lock"): self._post_lock,
            ("POST", "/v1/resolve"): self._post_resolve,
            ("POST", "/v1/name"): self._post_name,
            ("POST", "/v1/needs"): self._post_needs,
            ("POST", "/v1/environment"): self._post_environment,
            ("POST", "/v1/distributions"): self._post_distributions,
        }

    async def _post_lock(self, request: Request) -> Response:
        asked = await asked_object(request, BODY_SIZE_BYTES_MAX)
        return _lock_response(await self._bench(asked).lock(_question(asked), _terms(asked), _installs(asked)))

    async def _post_resolve(self, request: Request) -> Response:
        asked = await asked_object(request, BODY_SIZE_BYTES_MAX)
        markers, tags = _target(asked)
        one = OneTarget(f"Python {markers['python_full_version']}", Target.of(markers, tags))
        found = await self._bench(asked).resolve(_question(asked), one, _terms(asked), _installs(asked))
        return _lock_response(found)

    async def _post_name(self, request: Request) -> Response:
        """What stands at a direct URL, by its own word."""
        asked = await asked_object(request)
        url = asked.get("url")
        if not isinstance(url, str) or not url.isprintable():
            raise RemoteProtocolError("url is a text.")
        return json_response({"name": await self._bench(asked).name_at(url, _terms(asked))})

    async def _post_needs(self, request: Request) -> Response:
        """What a project requires, by the word of its own build."""
        asked = await asked_object(request)
        toolchain, directory = _toolchain(asked), _absolute(asked, "directory")
        if toolchain is None or not directory:
            raise RemoteProtocolError("A build is of a directory, by an interpreter.")
        return json_response(asdict(await self._bench(asked).needs_of(Directory(directory), toolchain)))

    async def _post_environment(self, request: Request) -> Response:
        value = await asked_object(request, BODY_SIZE_BYTES_MAX)
        bench, have = self._bench(value), (value.get("have"), value.get("have_content"))
        asked = await bench.with_build(_environment(value), _terms(value))
        site_of = _absolute(value, "site")
        ready = bench.provisioner.again(asked)
        if ready is not None:
            site = await bench.sites.make(ready, Path(site_of)) if site_of else None
            return _lines_response(_ready_lines(asked, ready, have, site))
        selected = await bench.provisioner.choose(asked)

        async def make_ready(progress: Progress) -> list[bytes]:
            ready = await bench.provisioner.provide(asked, selected, progress)
            site = await bench.sites.make(ready, Path(site_of)) if site_of else None
            return _ready_lines(asked, ready, have, site)

        return self._begun(make_ready)

    async def _post_distributions(self, request: Request) -> Response:
        asked = await asked_object(request, BODY_SIZE_BYTES_MAX)
        bench, toolchain, kinds = self._bench(asked), _toolchain(asked), _kinds(asked)
        directory, settings = Directory(_absolute(asked, "directory")), _settings(asked.get("settings", {}))
        if toolchain is None or not directory.path:
            raise RemoteProtocolError("A build is of a directory, by an interpreter.")

        async def build(progress: Progress) -> list[bytes]:
            made = await bench.distributions(
                directory, kinds, settings, toolchain, lambda done, of, what: progress(done, of, what, ())
            )
            return [_line({"built": [{"kind": one.kind, "path": str(one.path), "how": one.how} for one in made]})]

        return self._begun(build)

    def _begun(self, work: Work) -> Response:
        """The answer of a long work: its progress, and its lines when it is done."""
        send, receive = trio.open_memory_channel[bytes](LINES_WAITING_MAX)
        self._nursery.start_soon(self._run, work, send)
        return Response(200, [("Content-Type", "application/x-ndjson")], _received(receive))

    async def _run(self, work: Work, send: trio.MemorySendChannel[bytes]) -> None:
        """In the node's nursery: who asked may leave, what was fetched stays. Progress that finds no room is lost."""

        def progress(done: int, of: int, what: str, building: Sequence[str]) -> None:
            step = {"done": done, "of": of, "what": what, **({"building": list(building)} if building else {})}
            with suppress(trio.WouldBlock, trio.BrokenResourceError):
                send.send_nowait(_line({"progress": step}))

        with send, suppress(trio.BrokenResourceError):
            try:
                lines = await work(progress)
            except P2pcdnError as error:
                await send.send(_line({"error": told_of(error)}))
                return
            except Exception:  # in the node's nursery it would end everything
                log.exception("what zephyr asked for was not done")
                fault = {"status": 500, "title": "A fault of this node", "detail": "A fault of this node; see its log."}
                await send.send(_line({"error": fault}))
                return
            for line in lines:
                await send.send(line)

    def _bench(self, asked: Mapping[str, Any]) -> Bench:
        """Raises Refused, and RemoteProtocolError where the indexes are no list of them."""
        return self._workroom.bench(indexes_of(asked), asks=asked.get("offline") is not True)


def indexes_of(asked: Mapping[str, Any]) -> list[Named]:
    """The indexes that are named. Raises RemoteProtocolError."""
    return [_named(one) for one in asked.get("indexes") or ()]


def variables_of(asked: Mapping[str, Any]) -> dict[str, str]:
    """What git and ssh are told by the environment of whoever asks. Raises RemoteProtocolError."""
    told = asked.get("variables") or {}
    if not isinstance(told, dict):
        raise RemoteProtocolError("variables is an object.")
    return {str(name): str(value) for name, value in told.items()}


def _named(one: object) -> Named:
    if not isinstance(one, dict) or not (one.get("own") is True or isinstance(one.get("url"), str)):
        raise RemoteProtocolError("indexes is a list of objects with a url.")
    projects = _texts(one, "projects")
    if not all(map(is_normalized, projects)):
        raise RemoteProtocolError("projects are normalized names.")
    return Named(
        url=str(one.get("url", "")),
        username=_text_or_none(one, "username"),
        password=_text_or_none(one, "password"),
        own=one.get("own") is True,
        explicit=one.get("explicit") is True,
        projects=projects,
        flat=one.get("flat") is True,
    )


def _text_or_none(value: Mapping[str, Any], name: str) -> str | None:
    text = value.get(name)
    if not isinstance(text, str | None):
        raise RemoteProtocolError(f"{name} is a text.")
    return text


def _ready_lines(asked: Asked, ready: Ready, have: tuple[object, object], site: Site | None) -> list[bytes]:
    """What there is to link, and then the plan itself, unless who asked has it already.

    have: the digest and the content of the plan that he has. site: where site-packages are one link; then the plan is
    what is left.

    An environment without byte code is as good as one that has it, unless somebody waits for byte code: Python makes
    it by itself, and nobody wants a new generation for that.
    """
    waits = asked.bytecode is not None and asked.bytecode.wait
    has_it = have[0] == ready.digest or (have[1] == ready.content and not waits)
    told = {
        "digest": ready.digest,
        "content": ready.content,
        "wheels": [{name: getattr(one, name) for name in _TOLD} for one in ready.wheels],
        "notes": list(ready.notes),
        "site": str(site.tree) if site is not None else "",
    }
    plan = site.plan if site is not None else ready.plan
    return [_line({"environment": told}), *([] if has_it else [plan + b"\n"])]


def _lines_response(lines: Sequence[bytes]) -> Response:
    return Response(200, [("Content-Type", "application/x-ndjson")], b"".join(lines))


async def _received(receive: trio.MemoryReceiveChannel[bytes]) -> AsyncGenerator[bytes]:
    with receive:
        async for line in receive:
            yield line


def _line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _lock_response(locked: Locked) -> Response:
    answer = {
        "lock": locked.text,
        "packages": locked.packages,
        "warnings": list(locked.warnings),
        "again": locked.again,
        "from_room": locked.from_room,
    }
    return json_response(answer)


def _question(asked: Mapping[str, Any]) -> Question:
    value, former = asked.get("question"), asked.get("former")
    if not isinstance(value, dict) or not isinstance(former, str | None):
        raise RemoteProtocolError("question is an object, and former the text of a lock.")
    question = parse_question(value, former=former, upgrade=asked.get("upgrade", []))
    preferences = asked.get("preferences", [])
    if not (isinstance(preferences, list) and all(_is_pair(one) for one in preferences)):
        raise RemoteProtocolError("preferences is a list of pairs, a project and a version.")
    return replace(question, former=(*question.former, *((name, version) for name, version in preferences)))


def _installs(asked: Mapping[str, Any]) -> LockTarget | None:
    """Where the lock will be installed at once, if who asks says so and has an interpreter."""
    return LockTarget(*_target(asked)) if asked.get("installs") is True and "markers" in asked else None


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(text, str) for text in value)


def _environment(asked: Mapping[str, Any]) -> Asked:
    markers, tags = _target(asked)
    lock, groups = asked.get("lock"), asked.get("groups")
    if not isinstance(lock, str):
        raise RemoteProtocolError("lock is the text of a lock.")
    return Asked(
        lock=lock,
        target=LockTarget(markers, tags),
        scheme=_scheme(asked),
        extras=_texts(asked, "extras"),
        groups=None if groups is None else _texts(asked, "groups"),
        requested=_texts(asked, "requested"),
        bytecode=_bytecode(asked.get("bytecode")),
        project=_absolute(asked, "project"),
        base=_absolute(asked, "base"),
        state=_text_or_none(asked, "project_said") or "",
        trusted_hosts=_texts(asked, "trusted_hosts"),
        checkouts=_absolute(asked, "checkouts"),
        demand=dict(_demand(asked)),
        only=_texts(asked, "only") if "only" in asked else None,
        offline=asked.get("offline") is True,
    )


def _demand(asked: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(_demanded(word) for word in _texts(asked, "require_attestations"))


def _demanded(word: str) -> tuple[str, str]:
    """`PROJECT` or `PROJECT=PUBLISHER`."""
    project, _, publisher = word.partition("=")
    if project != ALL and not is_normalized(project):
        raise RemoteProtocolError("require_attestations names projects by their normalized names.")
    return project, publisher


def _absolute(asked: Mapping[str, Any], name: str) -> str:
    """The absolute path of a directory; "" for none."""
    value = asked.get(name)
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith("/"):
        return value
    raise RemoteProtocolError(f"{name} is the absolute path of a directory.")


def _bytecode(value: object) -> Bytecode | None:
    if value is None:
        return None
    if isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("interpreter", "cache_tag")):
        bytecode = Bytecode(value["interpreter"], value["cache_tag"], bool(value.get("wait")))
        if bytecode.is_sound():
            return bytecode
    raise RemoteProtocolError("bytecode names an interpreter by its absolute path, and its cache_tag.")


def _scheme(asked: Mapping[str, Any]) -> Scheme:
    given = asked.get("scheme")
    try:
        return Scheme(**given)  # type: ignore[arg-type]  # whatever it is, it raises TypeError
    except TypeError as error:
        raise RemoteProtocolError(f"scheme is none: {error}") from error


def _terms(asked: Mapping[str, Any]) -> Terms:
    return Terms(_toolchain(asked), _texts(asked, "trusted_hosts"), variables=variables_of(asked))


def _toolchain(asked: Mapping[str, Any]) -> Toolchain | None:
    """The interpreter that builds sdists, where who asked names one: it is the one that he asks for."""
    given = asked.get("build")
    if given is None:
        return None
    if not isinstance(given, dict) or not isinstance(given.get("python"), str) or not given["python"].startswith("/"):
        raise RemoteProtocolError("build names an interpreter by its absolute path.")
    markers, tags = _target(asked)
    return Toolchain(
        Path(given["python"]),
        markers,
        tags,
        _scheme(asked),
        allow_unsandboxed=given.get("allow_unsandboxed") is True,
        demand=_demand(asked),
    )


def _kinds(asked: Mapping[str, Any]) -> list[Kind]:
    kinds: tuple[Kind, ...] = ("sdist", "wheel")
    wanted = _texts(asked, "kinds")
    if not wanted or not set(wanted) <= set(kinds):
        raise RemoteProtocolError("kinds names sdist, wheel or both.")
    return [kind for kind in kinds if kind in wanted]


def _settings(value: object) -> Settings:
    """PEP 517's config_settings."""
    if isinstance(value, dict) and all(isinstance(one, str) or _is_texts(one) for one in value.values()):
        return value
    raise RemoteProtocolError("settings is an object of texts, or of lists of them.")


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _texts(asked: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = asked.get(name, [])
    if not _is_texts(values):
        raise RemoteProtocolError(f"{name} is a list of texts.")
    return tuple(values)


def _target(asked: Mapping[str, Any]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The interpreter that is asked for: its variables of PEP 508, and its tags, the best first."""
    markers, tags = asked.get("markers"), _texts(asked, "tags")
    if not (isinstance(markers, dict) and all(isinstance(value, str) for value in markers.values())):
        raise RemoteProtocolError("markers is an object of texts.")
    if "python_full_version" not in markers:
        raise RemoteProtocolError("markers lacks python_full_version.")
    return markers, tags
