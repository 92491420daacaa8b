# ruff: noqa: PTH100, PTH113, PTH118 - an interpreter that is asked loads no more than it must.
"""Run once by each interpreter, of Python 3.8 and newer: prints as JSON what zephyr must know of it."""

from __future__ import annotations

import json
import os
import platform
import sys
import sysconfig


def marker_environment() -> dict[str, str]:
    """The variables of PEP 508 that an interpreter decides."""
    version = sys.implementation.version
    number = f"{version.major}.{version.minor}.{version.micro}"
    if version.releaselevel != "final":
        number += version.releaselevel[0] + str(version.serial)
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": number,
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    }


def environment_scheme() -> dict[str, str]:
    """Where an environment of this interpreter has its things, with {base} for its root."""
    names = sysconfig.get_scheme_names()
    usual = "nt" if os.name == "nt" else "posix_prefix"
    name = "venv" if "venv" in names else ("pypy" if "pypy" in names and os.name != "nt" else usual)
    variables = {"base": "{base}", "platbase": "{base}", "installed_base": "{base}", "installed_platbase": "{base}"}
    return sysconfig.get_paths(name, vars=variables)


def externally_managed() -> str | None:
    """The message of PEP 668's marker file, "" for one without a message, None without the file."""
    file = os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    if sys.prefix != sys.base_prefix or not os.path.isfile(file):
        return None
    from configparser import ConfigParser, Error

    parser = ConfigParser(interpolation=None)
    try:
        parser.read(file, encoding="utf-8")
        return parser.get("externally-managed", "Error", fallback="")
    except (Error, UnicodeDecodeError):
        return ""


def glibc() -> str | None:
    """Such as "2.36"; None on another libc."""
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
    except (AttributeError, ValueError, OSError):
        return None
    return version if name == "glibc" else None


print(
    json.dumps(
        {
            "executable": sys.executable,
            "base_executable": os.path.abspath(getattr(sys, "_base_executable", None) or sys.executable),
            "prefix": sys.prefix,
            "base_prefix": sys.base_prefix,
            "markers": marker_environment(),
            "version": list(sys.version_info[:2]),
            "paths": sysconfig.get_paths(),
            "scheme": environment_scheme(),
            "cache_tag": sys.implementation.cache_tag,
            "soabi": sysconfig.get_config_var("SOABI"),
            "ext_suffix": sysconfig.get_config_var("EXT_SUFFIX"),
            "platform": sysconfig.get_platform(),
            "bits": 64 if sys.maxsize > 2**32 else 32,
            "glibc": glibc(),
            "macos": platform.mac_ver()[0],
            "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
            "debug": hasattr(sys, "gettotalrefcount"),
            "externally_managed": externally_managed(),
        }
    )
)
