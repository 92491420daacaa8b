"""What the figures are held against: nginx with the same files, nginx as a proxy that keeps, devpi-server, proxpi."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.upstream import JSON_TYPE, FaultyUpstream
from tests.bench.wheels import Distribution, kept_directory

READY_TIME_S_MAX = 30.0
# The user that every new devpi-server has, with an empty password.
DEVPI_USER = "root"


class NotHere(Exception):
    """The rival cannot be had on this machine; the message says what to install."""


class Server:
    """A rival as it runs. `url` is the root of its Simple API."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.pid = pid

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.split("/")[2].rpartition(":")
        return host, int(port)


@contextlib.contextmanager
def nginx_static(directory: Path, files: Sequence[Distribution]) -> Iterator[Server]:
    """The same pages and files as plain files behind nginx: JSON and HTML by Accept, metadata, strong ETags, gzip."""
    tree = directory / "tree"
    _write_tree(tree, files)
    port = free_port()
    site = f"""
        map $http_accept $form {{ default html; "~application/vnd\\.pypi\\.simple\\.v1\\+json" json; }}
        server {{
            listen 127.0.0.1:{port} backlog=512;
            root {tree};
            add_header Cache-Control "max-age=600, public";
            location ~ ^/simple/(?<project>[^/]+)/$ {{
                types {{ application/vnd.pypi.simple.v1+json json; application/vnd.pypi.simple.v1+html html; }}
                add_header Vary Accept;
                add_header Cache-Control "max-age=600, public";
                gzip_static on;
                try_files /simple/$project/index.$form =404;
            }}
            location /packages/ {{
                default_type application/octet-stream;
                add_header Cache-Control "max-age=365000000, immutable, public";
            }}
        }}"""
    with _nginx(directory, site, port) as server:
        yield server


@contextlib.contextmanager
def nginx_proxy(directory: Path, upstream: FaultyUpstream) -> Iterator[Server]:
    """nginx as a proxy that keeps files and lets one request in at a time, in front of the upstream's file host."""
    port = free_port()
    target = upstream.file_url(next(iter(upstream.names()))).split("/packages/")[0]
    site = f"""
        proxy_cache_path {directory}/kept keys_zone=kept:10m max_size=10g inactive=1d;
        server {{
            listen 127.0.0.1:{port} backlog=512;
            location / {{
                proxy_pass {target};
                proxy_cache kept;
                proxy_cache_lock on;
                proxy_cache_lock_timeout 60s;
                proxy_cache_valid 200 1d;
            }}
        }}"""
    with _nginx(directory, site, port) as server:
        yield server


@contextlib.contextmanager
def nginx_memory(directory: Path, address: tuple[str, int]) -> Iterator[Server]:
    """nginx that gives again what a server said once, for as long as it runs: the server's own speed plays no part."""
    port = free_port()
    site = f"""
        proxy_cache_path {directory}/kept keys_zone=kept:10m max_size=10g inactive=1d;
        server {{
            listen 127.0.0.1:{port} backlog=512;
            location / {{
                proxy_pass http://{address[0]}:{address[1]};
                proxy_http_version 1.1;
                proxy_set_header Host $http_host;
                proxy_set_header Connection "";
                proxy_cache kept;
                proxy_cache_key "$uri $http_accept $http_accept_encoding";
                proxy_cache_lock on;
                proxy_cache_lock_timeout 60s;
                proxy_ignore_headers Cache-Control Expires Vary;
                proxy_cache_valid 200 404 1d;
            }}
        }}"""
    with _nginx(directory, site, port) as server:
        yield server


@contextlib.contextmanager
def devpi(directory: Path, upstream: FaultyUpstream) -> Iterator[Server]:
    """devpi-server with a mirror of the upstream."""
    tools = _environment("devpi-server")
    directory.mkdir(parents=True, exist_ok=True)
    home = directory / "devpi"
    _run([tools / "devpi-init", "--serverdir", home, "--no-root-pypi"])
    port = free_port()
    command = [tools / "devpi-server", "--serverdir", home, "--host", "127.0.0.1", "--port", str(port)]
    with _process(command, directory / "devpi.log") as pid:
        root = f"http://127.0.0.1:{port}"
        _wait_ready(f"{root}/+api", directory / "devpi.log")
        token = _devpi_ask("POST", f"{root}/+login", {"user": DEVPI_USER, "password": ""})["result"]["password"]
        secret = base64.b64encode(f"{DEVPI_USER}:{token}".encode()).decode()
        index = {"type": "mirror", "mirror_url": upstream.url, "mirror_cache_expiry": 1800}
        _devpi_ask("PUT", f"{root}/{DEVPI_USER}/mirror", index, {"X-Devpi-Auth": secret})
        yield Server(f"{root}/{DEVPI_USER}/mirror/+simple/", pid)


@contextlib.contextmanager
def proxpi(directory: Path, upstream: FaultyUpstream) -> Iterator[Server]:
    """proxpi behind gunicorn with threads, as its image runs it."""
    tools = _environment("proxpi", "gunicorn")
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    settings = {"PROXPI_INDEX_URL": upstream.url, "PROXPI_CACHE_DIR": str(directory / "proxpi")}
    command = [tools / "gunicorn", "--bind", f"127.0.0.1:{port}", "--threads", "32", "proxpi.server:app"]
    with _process(command, directory / "proxpi.log", settings) as pid:
        _wait_ready(f"http://127.0.0.1:{port}/", directory / "proxpi.log")
        yield Server(f"http://127.0.0.1:{port}/index/", pid)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _write_tree(tree: Path, files: Sequence[Distribution]) -> None:
    pages = FaultyUpstream(files)
    for project in pages.projects():
        folder = tree / "simple" / project
        folder.mkdir(parents=True)
        for form, page in (("json", pages.page_json(project, "")), ("html", pages.page_html(project, ""))):
            assert page is not None
            (folder / f"index.{form}").write_bytes(page)
            subprocess.run(["gzip", "--keep", "-9", str(folder / f"index.{form}")], check=True)
    for one in files:
        path = tree / pages.file_path(one.filename).lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.content)
        if one.metadata is not None:
            path.with_name(path.name + ".metadata").write_bytes(one.metadata)


@contextlib.contextmanager
def _nginx(directory: Path, site: str, port: int) -> Iterator[Server]:
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        raise NotHere("nginx is not here: apt-get install nginx-light")
    directory.mkdir(parents=True, exist_ok=True)
    for above in (directory, *directory.parents):
        # nginx's worker is another user where the master is root.
        if above != Path("/") and os.access(above, os.W_OK):
            above.chmod(above.stat().st_mode | 0o055)
    configuration = directory / "nginx.conf"
    configuration.write_text(
        f"""daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log;
        events {{ worker_connections 4096; }}
        http {{
            access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 10000000; etag on;
            client_body_temp_path {directory}/t1; proxy_temp_path {directory}/t2; fastcgi_temp_path {directory}/t3;
            uwsgi_temp_path {directory}/t4; scgi_temp_path {directory}/t5;
            {site}
        }}"""
    )
    with _process([binary, "-p", directory, "-c", configuration], directory / "nginx.log") as pid:
        _wait_port(port, directory / "nginx.log")
        yield Server(f"http://127.0.0.1:{port}/simple/", pid)


@contextlib.contextmanager
def _process(command: Sequence[str | Path], log: Path, settings: dict[str, str] | None = None) -> Iterator[int]:
    words = [str(word) for word in command]
    with log.open("ab") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output, env=os.environ | (settings or {}))
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment(*requirements: str) -> Path:
    """The bin directory of an environment with these packages, kept between runs."""
    directory = kept_directory() / "rivals" / f"{requirements[0]}-{sys.implementation.cache_tag}"
    if not (directory / "done").exists():
        shutil.rmtree(directory, ignore_errors=True)
        venv.create(directory, with_pip=True, symlinks=True)
        _run([directory / "bin" / "python", "-m", "pip", "install", "--quiet", *requirements])
        (directory / "done").touch()
    return directory / "bin"


def _run(command: Sequence[str | Path]) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotHere(f"{Path(command[0]).name} failed: {(done.stderr or done.stdout).strip()[-300:]}")


def _devpi_ask(method: str, url: str, body: object, headers: dict[str, str] | None = None) -> dict[str, dict[str, str]]:
    own = {"Content-Type": "application/json", "Accept": "application/json", **(headers or {})}
    request = urllib.request.Request(url, json.dumps(body).encode(), own, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return dict(json.load(answer))


def _wait_port(port: int, log: Path) -> None:
    deadline_s = time.monotonic() + READY_TIME_S_MAX
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline_s:
                raise NotHere(f"nothing listens on {port}: {log.read_text()[-500:]}") from None
            time.sleep(0.05)


def _wait_ready(url: str, log: Path) -> None:
    deadline_s = time.monotonic() + READY_TIME_S_MAX
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (OSError, urllib.error.URLError):
            if time.monotonic() > deadline_s:
                raise NotHere(f"{url} does not answer: {log.read_text()[-500:]}") from None
            time.sleep(0.1)


ACCEPT_JSON = {"Accept": JSON_TYPE}
