"""What a command's environment must say so that installers in it use this node; pure."""

from __future__ import annotations

from collections.abc import Mapping

# How each installer is told its index; the old names too, for the versions that know no other.
INDEX_VARIABLES = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "PDM_PYPI_URL", "PIPENV_PYPI_MIRROR")
_PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def index_environment(index_url: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment with its index set to index_url.

    Further indexes, find-links and everything else of the user stay. Where a proxy is configured, the loopback is
    excepted from it: a proxy elsewhere could not reach this node.
    """
    changed = dict(environ) | dict.fromkeys(INDEX_VARIABLES, index_url)
    if any(environ.get(name) for name in _PROXIES):
        for name in ("no_proxy", "NO_PROXY"):
            hosts = environ.get(name, "")
            missing = [host for host in _LOOPBACK if host not in hosts.split(",")]
            changed[name] = ",".join([*([hosts] if hosts else []), *missing])
    return changed
