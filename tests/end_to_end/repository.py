"""Git repositories of made projects, on the disk and behind a small HTTP server that may want a password."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import threading
from collections.abc import Mapping
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

from tests.bench.wheels import backend_of, make_wheel

PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
# No configuration of the machine's reaches these commits.
PLAIN = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_CONFIG_COUNT": "0",
    **{
        f"GIT_{who}_{what}": "somebody@example.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    },
}


class Repository:
    """A repository with one branch, `main`, and a project that builds itself without anything else."""

    def __init__(self, directory: Path, project: str = "demo-vcs") -> None:
        self.directory = directory
        self.project = project
        directory.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    @property
    def url(self) -> str:
        return f"git+{self.directory.as_uri()}"

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", "-c", "protocol.file.allow=always", *words],
            cwd=self.directory, env=os.environ | PLAIN, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.strip()

    def commit(self, version: str, *, under: str = "", more: Mapping[str, str] | None = None) -> str:
        """Commits the project in this version; gives the commit id."""
        place = self.directory / under
        place.mkdir(parents=True, exist_ok=True)
        for name, text in {**source_files(self.project, version), **(more or {})}.items():
            (place / name).write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", f"version {version}")
        return self.git("rev-parse", "HEAD")


def source_files(project: str, version: str) -> dict[str, str]:
    """A source tree whose backend lies inside it, so that building it needs no network."""
    return {"pyproject.toml": PYPROJECT, "backend.py": backend_of(make_wheel(project, version))}


class Hosted:
    """A repository behind plain HTTP (git's dumb protocol). word: the password that it wants of `me`."""

    def __init__(self, repository: Repository, place: Path, word: str | None = None) -> None:
        bare = place / "demo.git"
        shutil.copytree(repository.directory / ".git", bare)
        subprocess.run(["git", "-C", bare, "update-server-info"], check=True, env=os.environ | PLAIN)
        self.authorizations: list[str | None] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _answering(self, place, word))
        self._server.daemon_threads = True

    def url(self, user: str = "", host: str = "127.0.0.1") -> str:
        return f"git+http://{user}{host}:{self._server.server_address[1]}/demo.git"

    def __enter__(self) -> Hosted:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _answering(hosted: Hosted, place: Path, word: str | None) -> type[SimpleHTTPRequestHandler]:
    wanted = None if word is None else "Basic " + base64.b64encode(f"me:{word}".encode()).decode()

    class Answer(SimpleHTTPRequestHandler):
        def __init__(self, *given: object) -> None:
            super().__init__(*given, directory=str(place))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            hosted.authorizations.append(self.headers.get("Authorization"))
            if wanted is None or hosted.authorizations[-1] == wanted:
                super().do_GET()
                return
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="demo"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Answer
