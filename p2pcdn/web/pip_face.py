"""What `zephyr pip` asks its node over the control socket: builds in the sandbox, pages and files; see
docs/protocol.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from p2pcdn.build import Environment, Options
from p2pcdn.digest import Sha256
from p2pcdn.errors import BuildFailed, Refused, RemoteProtocolError
from p2pcdn.fetch import Wanted
from p2pcdn.http1 import Request, Response
from p2pcdn.names import is_file_name, normalize_project
from p2pcdn.provision import Job, Workroom
from p2pcdn.provision.foreign import Goal
from p2pcdn.provision.links import named_link
from p2pcdn.provision.repositories import Commits, archive_name, parse_place
from p2pcdn.simple import File
from p2pcdn.web.control_face import Route, asked_object
from p2pcdn.web.routes import json_response
from p2pcdn.web.zephyr_face import indexes_of, variables_of

GOALS: tuple[Goal, ...] = ("metadata", "editable-metadata", "wheel", "editable")
# Of a log that is told to the user; a compiler's complaints stand at its end.
LOG_SIZE_BYTES_MAX = 256 * 1024


class PipFace:
    """Its routes become the control face's, whose errors become statuses there."""

    def __init__(self, workroom: Workroom) -> None:
        self._workroom = workroom

    def routes(self) -> Mapping[tuple[str, str], Route]:
        return {
            ("POST", "/v1/build"): self._post_build,
            ("POST", "/v1/checkout"): self._post_checkout,
            ("POST", "/v1/page"): self._post_page,
            ("POST", "/v1/file"): self._post_file,
            ("POST", "/v1/tree"): self._post_tree,
            ("POST", "/v1/metadata"): self._post_metadata,
        }

    async def _post_build(self, request: Request) -> Response:
        """A build that fails is an answer, for its output is told with it."""
        job = _job(await asked_object(request))
        try:
            done = await self._workroom.foreign_builds.build(job)
        except BuildFailed as error:
            output = await self._workroom.threads.run(_tail, error.log) if error.log is not None else error.output
            return json_response({"failed": str(error), "output": output})
        told: dict[str, Any] = {"needs": list(done.needs), "metadata": done.metadata}
        if done.wheel is not None:
            told["wheel"] = str(done.wheel)
        if done.log is not None:
            told["output"] = await self._workroom.threads.run(_tail, done.log)
        return json_response(told)

    async def _post_checkout(self, request: Request) -> Response:
        """A repository of git at a revision: in a directory of the user's, else as an archive of the store."""
        asked = await asked_object(request)
        project, url, variables = str(asked.get("project")), asked.get("url"), variables_of(asked)
        if not isinstance(url, str):
            raise RemoteProtocolError("url is a text.")
        place = parse_place(project, url, _texts(asked, "trusted_hosts"))
        room = self._workroom
        if asked.get("directory") is None:
            commits = Commits(room.store, room.threads, room.repositories)
            vcs, sha256 = await commits.find(project, place, {}, variables)
            path = await room.threads.run(named_link, room.store, sha256, archive_name(project, vcs))
            return json_response({"commit": vcs.commit_id, "path": str(path), "sha256": str(sha256)})
        if room.repositories is None:
            raise Refused(f"{project} comes from {place.shown}, and this node asks no repositories.")
        directory = _path(asked, "directory")
        switch = asked.get("switch") is True
        commit = await room.repositories.work_on(place.url, place.revision, directory, variables, switch=switch)
        return json_response({"commit": commit})

    async def _post_page(self, request: Request) -> Response:
        """The files of a project, as the named indexes list them (PEP 691); of now where that is wanted."""
        asked = await asked_object(request)
        bench = self._workroom.bench(indexes_of(asked))
        held = await bench.pages.project(_project(asked), insist=asked.get("of_now") is True)
        files = held.page.files if held.page is not None else ()
        rows = [{**one.raw, "filename": one.filename, "url": one.url} for one in files]
        return json_response({"index": held.index.url, "files": rows})

    async def _post_file(self, request: Request) -> Response:
        """A file of a project's page, kept in the store under its own name; where it lies there."""
        wanted = await self._wanted(await asked_object(request))
        blob = await self._workroom.fetch.whole(wanted)
        filename = wanted.file.filename
        path = await self._workroom.threads.run(named_link, self._workroom.store, blob.sha256, filename)
        return json_response({"path": str(path), "sha256": str(blob.sha256), "size": blob.size_bytes})

    async def _post_tree(self, request: Request) -> Response:
        """A wheel of the store as files, which nobody may change."""
        asked = await asked_object(request)
        sha256, filename = _sha256(asked), asked.get("filename")
        if sha256 is None or not isinstance(filename, str):
            raise RemoteProtocolError("sha256 and filename are texts.")
        tree = await self._workroom.bench().provisioner.tree(sha256, filename)
        return json_response({"path": str(tree.path), "listing": tree.listing.decode()})

    async def _post_metadata(self, request: Request) -> Response:
        """The METADATA of a wheel, without the wheel where its index can."""
        content = await self._workroom.metadata.of(await self._wanted(await asked_object(request)))
        return json_response({"metadata": content.decode("utf-8", "replace")})

    async def _wanted(self, asked: Mapping[str, Any]) -> Wanted:
        """A file as its project's page has it, else as it was named. Raises RemoteProtocolError."""
        bench = self._workroom.bench(indexes_of(asked))
        filename, url = asked.get("filename"), asked.get("url")
        if not isinstance(filename, str) or not isinstance(url, str) or not is_file_name(filename):
            raise RemoteProtocolError("filename and url are texts, and filename is one that an index can have.")
        held = await bench.pages.project(_project(asked))
        listed = held.page.files if held.page is not None else ()
        file = next((one for one in listed if one.url == url), None) or File(
            filename, url, None, None, False, False, None, None, {}
        )
        return Wanted(held.index, held.project, file)


def _tail(log: Path) -> str:
    try:
        content = log.read_bytes()
    except OSError:
        return ""
    return content[-LOG_SIZE_BYTES_MAX:].decode("utf-8", "replace")


def _job(asked: Mapping[str, Any]) -> Job:
    """Raises RemoteProtocolError."""
    goal = next((one for one in GOALS if one == asked.get("goal")), None)
    environment = asked.get("environment")
    if goal is None or not isinstance(environment, dict):
        raise RemoteProtocolError(f"goal is one of {', '.join(GOALS)}, and environment an object.")
    settings = asked.get("settings") or {}
    variables = asked.get("variables") or {}
    if not isinstance(settings, dict) or not isinstance(variables, dict):
        raise RemoteProtocolError("settings and variables are objects.")
    return Job(
        goal=goal,
        source=_path(asked, "source"),
        sha256=_sha256(asked),
        python=_path(asked, "python"),
        environment=Environment(
            _path(environment, "directory"),
            _path(environment, "python"),
            _texts(environment, "pins"),
            tuple(map(Path, _texts(environment, "also"))),
        ),
        satisfies=None if environment.get("satisfies") is None else frozenset(_texts(environment, "satisfies")),
        options=Options(
            settings=settings,
            environment={str(name): str(value) for name, value in variables.items()},
            subdirectory=str(asked.get("subdirectory") or ""),
        ),
        allow_unsandboxed=asked.get("allow_unsandboxed") is True,
        fresh=asked.get("fresh") is True,
    )


def _path(asked: Mapping[str, Any], name: str) -> Path:
    value = asked.get(name)
    if not isinstance(value, str) or not value.startswith("/"):
        raise RemoteProtocolError(f"{name} is an absolute path.")
    return Path(value)


def _texts(asked: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = asked.get(name) or []
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise RemoteProtocolError(f"{name} is a list of texts.")
    return tuple(value)


def _sha256(asked: Mapping[str, Any]) -> Sha256 | None:
    value = asked.get("sha256")
    try:
        return None if value is None else Sha256(value)
    except (ValueError, TypeError) as error:
        raise RemoteProtocolError(f"sha256: {error}") from error


def _project(asked: Mapping[str, Any]) -> str:
    """Normalized."""
    try:
        return normalize_project(asked["project"])
    except (KeyError, ValueError, TypeError) as error:
        raise RemoteProtocolError("project is the name of one.") from error
