# ruff: noqa: PTH100, PTH118 - an interpreter that is asked loads no more than it must.
"""Run by the interpreter that `zephyr pip` works on, 3.8 and newer: prints as JSON where its packages are just now."""

from __future__ import annotations

import sys

if sys.path and sys.path[0] == "":
    sys.path[0] = "/nowhere"  # of `-c`: a json.py beside the user is none of Python's own

import json
import os
import site
import sysconfig


def user_scheme() -> str:
    if hasattr(sysconfig, "get_preferred_scheme"):
        return sysconfig.get_preferred_scheme("user")
    return "nt_user" if os.name == "nt" else "posix_user"


def prefix_scheme() -> str:
    """For --prefix and --root: the plain one, even where a distribution has changed the default (Debian's `local`)."""
    return "nt" if os.name == "nt" else "posix_prefix"


def paths(scheme: str | None = None, base: str | None = None) -> dict[str, str]:
    named = {} if base is None else dict.fromkeys(("base", "platbase", "installed_base", "installed_platbase"), base)
    found = sysconfig.get_paths(vars=named) if scheme is None else sysconfig.get_paths(scheme, vars=named)
    return {name: found[name] for name in ("purelib", "platlib", "scripts", "data", "include")}


def default_paths() -> dict[str, str]:
    found = paths()
    if sys.prefix != sys.base_prefix:
        number = "python{}.{}".format(*sys.version_info[:2])
        found["include"] = os.path.join(sys.prefix, "include", "site", number)
    return found


def invented() -> list[str]:
    """The metadata of packages that lie in no directory: an import hook says that they are there."""
    own = "_frozen_importlib_external"  # PathFinder, which reads the directories
    finders = [one for one in sys.meta_path if hasattr(one, "find_distributions") and one.__module__ != own]
    return [text for finder in finders for text in invented_by(finder)]


def invented_by(finder: object) -> list[str]:
    from importlib.metadata import DistributionFinder

    try:
        found = finder.find_distributions(DistributionFinder.Context())  # type: ignore[attr-defined]
        texts = [one.read_text("METADATA") for one in found if getattr(one, "_path", None) is None]
    except Exception:  # a hook that fails hides only what it would have said
        return []
    return [text for text in texts if isinstance(text, str)]


print(
    json.dumps(
        {
            "path": [os.path.abspath(one) for one in sys.path[1:] if one],
            "invented": invented(),
            "prefix": os.path.abspath(sys.prefix),
            "base_prefix": os.path.abspath(sys.base_prefix),
            "executable": sys.executable,
            "user_site": site.getusersitepackages(),
            "user_base": site.getuserbase(),
            "user_enabled": site.ENABLE_USER_SITE,
            "version": "{}.{}.{}".format(*sys.version_info[:3]),
            "paths": default_paths(),
            "user_paths": paths(user_scheme()),
            "prefix_paths": paths(prefix_scheme(), "{base}"),
            "stdlib": sysconfig.get_path("stdlib"),
        }
    )
)
