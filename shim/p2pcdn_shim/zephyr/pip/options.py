"""pip's options: each once, by the name under which a command finds its value; and which command has which.

The words of the help are our own; flags, defaults and what they mean are pip's.
"""

from __future__ import annotations

import optparse
import os
from collections.abc import Iterable
from pathlib import Path

from p2pcdn_shim.zephyr.pip.controls import Control
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    Row = tuple[tuple[str, ...], dict[str, Any]]

FLAG = {"action": "store_true", "default": False}
FEATURES = (
    *("fast-deps", "truststore", "no-binary-enable-wheel-cache", "build-constraint"),
    *("inprocess-build-deps", "venv-isolation"),
)
ALWAYS_ENABLED = ("truststore", "no-binary-enable-wheel-cache", "build-constraint")


def _list(help_: str, metavar: str) -> dict[str, Any]:
    return {"action": "append", "default": [], "metavar": metavar, "help": help_}


def _control(option: optparse.Option, flag: str, value: str, parser: optparse.OptionParser, mine: str) -> None:
    assert parser.values is not None
    assert option.dest is not None
    control = getattr(parser.values, option.dest, None)
    control = control.copied() if isinstance(control, Control) else Control()
    control.put(value, mine)
    setattr(parser.values, option.dest, control)


def _controlled(dest: str, mine: str, help_: str) -> dict[str, Any]:
    settings = {"action": "callback", "callback": _control, "callback_args": (mine,), "type": "string"}
    return {**settings, "dest": dest, "default": None, "help": help_}


def _config_setting(option: optparse.Option, flag: str, value: str, parser: optparse.OptionParser) -> None:
    key, sign, text = value.partition("=")
    if not sign:
        parser.error(f"Arguments to {flag} must be of the form KEY=VAL")
    assert parser.values is not None
    known = dict(parser.values.config_settings or {})
    if key in known:
        known[key] = [*(known[key] if isinstance(known[key], list) else [known[key]]), text]
    else:
        known[key] = text
    parser.values.config_settings = known


def _hash(option: optparse.Option, flag: str, value: str, parser: optparse.OptionParser) -> None:
    algorithm, sign, digest = value.partition(":")
    if not sign:
        parser.error(f"Arguments to {flag} must be a hash name followed by a value, like --hash=sha256:abcde...")
    if algorithm not in ("sha256", "sha384", "sha512"):
        parser.error(f"Allowed hash algorithms for {flag} are sha256, sha384, sha512.")
    assert parser.values is not None
    known = {name: list(values) for name, values in (parser.values.hashes or {}).items()}
    known.setdefault(algorithm, []).append(digest.lower())
    parser.values.hashes = known


def _group(option: optparse.Option, flag: str, value: str, parser: optparse.OptionParser) -> None:
    path, sign, name = value.rpartition(":")
    if sign and Path(path).name != "pyproject.toml":
        parser.error("group paths use 'pyproject.toml' filenames")
    assert parser.values is not None
    known = [*(parser.values.dependency_groups or []), (path if sign else "pyproject.toml", name)]
    parser.values.dependency_groups = known


def _refresh(option: optparse.Option, flag: str, value: str, parser: optparse.OptionParser) -> None:
    from p2pcdn_shim.zephyr.pip.controls import ALL, normalize

    if value.startswith("-"):
        raise PipError("--refresh-package option requires 1 argument.")
    assert parser.values is not None
    words = {one if one in (ALL, ":none:") else normalize(one) for one in value.split(",")}
    parser.values.refresh_package = set() if ":none:" in words else set(parser.values.refresh_package or ()) | words


def _no_cache(option: optparse.Option, flag: str, value: str | None, parser: optparse.OptionParser) -> None:
    if value is not None:  # the variable PIP_NO_CACHE_DIR, or the file
        try:
            truth(value)
        except ValueError as error:
            parser.error(f"{flag} error: {error}")
    assert parser.values is not None
    parser.values.cache_dir = False


def _prior(option: optparse.Option, flag: str, value: str, parser: optparse.OptionParser) -> None:
    from p2pcdn_shim.zephyr.pip.moments import moment_of

    assert parser.values is not None
    try:
        parser.values.uploaded_prior_to = moment_of(value)
    except ValueError as error:
        parser.error(f"{flag} error: invalid value: {value}: {error}")


def _python_version(option: optparse.Option, flag: str, value: str, parser: optparse.OptionParser) -> None:
    parts = value.split(".")
    if len(parts) > 3:
        parser.error(
            f"{flag} error: invalid --python-version value: {value!r}: at most three version parts are allowed"
        )
    if len(parts) == 1 and len(value) > 1:
        parts = [value[0], value[1:]]
    assert parser.values is not None
    try:
        parser.values.python_version = tuple(int(part) for part in parts)
    except ValueError:
        parser.error(f"{flag} error: invalid --python-version value: {value!r}: each version part must be an integer")


def _callback(dest: str, call: Any, help_: str, default: Any = None, metavar: str = "value") -> dict[str, Any]:
    settings = {"action": "callback", "callback": call, "type": "string", "dest": dest, "default": default}
    return {**settings, "metavar": metavar, "help": help_}


def truth(value: str) -> bool:
    """yes, true, on, 1 and their opposites. Raises ValueError."""
    word = value.lower()
    if word in ("y", "yes", "t", "true", "on", "1"):
        return True
    if word in ("n", "no", "f", "false", "off", "0"):
        return False
    raise ValueError(f"invalid truth value {value!r}")


GENERAL: dict[str, Row] = {
    "help": (("-h", "--help"), {"action": "help", "help": "Show help."}),
    "debug_mode": (("--debug",), {**FLAG, "help": "Let unhandled faults leave with their traceback."}),
    "isolated_mode": (("--isolated",), {**FLAG, "help": "Ignore PIP_* variables and the user's configuration."}),
    "require_venv": (("--require-virtualenv", "--require-venv"), {**FLAG, "help": "Only run in an environment."}),
    "python": (("--python",), {"help": "Work on the environment of this interpreter; before the command."}),
    "verbose": (("-v", "--verbose"), {"action": "count", "default": 0, "help": "Give more output."}),
    "version": (("-V", "--version"), {**FLAG, "help": "Show version and exit."}),
    "quiet": (("-q", "--quiet"), {"action": "count", "default": 0, "help": "Give less output."}),
    "log": (("--log", "--log-file", "--local-log"), {"metavar": "path", "help": "Append a verbose log to a file."}),
    "no_input": (("--no-input",), {**FLAG, "help": "Disable prompting for input."}),
    "keyring_provider": (
        ("--keyring-provider",),
        {"choices": ["auto", "disabled", "import", "subprocess"], "default": "auto", "help": "How keyring is asked."},
    ),
    "proxy": (("--proxy",), {"help": "A proxy, as scheme://[user:passwd@]proxy.server:port."}),
    "no_proxy_env": (("--no-proxy-env",), {**FLAG, "help": "Do not read proxies from variables."}),
    "retries": (("--retries",), {"type": "int", "default": 5, "help": "Attempts for a connection."}),
    "resume_retries": (("--resume-retries",), {"type": "int", "default": 5, "help": "Attempts to resume."}),
    "timeout": (("--timeout", "--default-timeout"), {"type": "float", "default": 15.0, "metavar": "sec"}),
    "exists_action": (
        ("--exists-action",),
        {**_list("What to do where a path exists: (s)witch, (i)gnore, (w)ipe, (b)ackup, (a)bort.", "action"),
         "choices": ["s", "i", "w", "b", "a"], "type": "choice"},
    ),
    "trusted_hosts": (("--trusted-host",), _list("Trust this host, even without valid HTTPS.", "HOSTNAME")),
    "cert": (("--cert",), {"metavar": "path", "help": "Certificates of those whom to trust."}),
    "client_cert": (("--client-cert",), {"metavar": "path", "help": "Our own certificate, with its key."}),
    "cache_dir": (("--cache-dir",), {"metavar": "dir", "help": "Where own caches are; the node keeps its store."}),
    "no_cache_dir": (
        ("--no-cache-dir", "--no-cache"),
        {"action": "callback", "callback": _no_cache, "dest": "cache_dir", "help": "Disable the cache."},
    ),
    "disable_pip_version_check": (("--disable-pip-version-check",), {**FLAG, "help": optparse.SUPPRESS_HELP}),
    "no_color": (("--no-color",), {**FLAG, "help": "Suppress colored output."}),
    "no_python_version_warning": (("--no-python-version-warning",), {**FLAG, "help": optparse.SUPPRESS_HELP}),
    "features_enabled": (("--use-feature",), {**_list("Enable new functionality.", "feature"),
                         "type": "choice", "choices": list(FEATURES)}),
    "deprecated_features_enabled": (("--use-deprecated",), {**_list("Enable deprecated functionality.", "feature"),
                                    "type": "choice", "choices": ["legacy-resolver", "legacy-certs"]}),
}  # fmt: skip

OPTIONS: dict[str, Row] = {
    "index_url": (("-i", "--index-url", "--pypi-url"), {"metavar": "URL", "help": "The index (default: the node's)."}),
    "extra_index_urls": (("--extra-index-url",), _list("Further indexes.", "URL")),
    "no_index": (("--no-index",), {**FLAG, "help": "Ask no index, only --find-links."}),
    "find_links": (("-f", "--find-links"), _list("A page or directory with archives.", "url")),
    "uploaded_prior_to": (("--uploaded-prior-to",), _callback("uploaded_prior_to", _prior, "Only older files.")),
    "constraints": (("-c", "--constraint"), _list("A file of constraints.", "file")),
    "build_constraints": (("--build-constraint",), _list("Constraints for build dependencies.", "file")),
    "requirements": (("-r", "--requirement"), _list("A requirements file.", "file")),
    "requirements_from_scripts": (("--requirements-from-script",), _list("Dependencies of a script.", "file")),
    "editables": (("-e", "--editable"), _list("Install a project so that its sources stay in use.", "path/url")),
    "src_dir": (("--src", "--source", "--source-dir", "--source-directory"), {"metavar": "dir"}),
    "no_binary": (("--no-binary",), _controlled("format_control", "first", "Take no wheels of these.")),
    "only_binary": (("--only-binary",), _controlled("format_control", "second", "Take no sources of these.")),
    "all_releases": (("--all-releases",), _controlled("release_control", "first", "Also pre-releases of these.")),
    "only_final": (("--only-final",), _controlled("release_control", "second", "No pre-releases of these.")),
    "platforms": (("--platform",), {"action": "append", "metavar": "platform", "help": "For another platform."}),
    "python_version": (("--python-version",), _callback("python_version", _python_version, "For another Python.")),
    "implementation": (("--implementation",), {"metavar": "implementation", "help": "Such as pp, cp, py."}),
    "abis": (("--abi",), {"action": "append", "metavar": "abi", "help": "Such as cp312."}),
    "prefer_binary": (("--prefer-binary",), {**FLAG, "help": "Older wheels before newer sources."}),
    "refresh_package": (("--refresh-package",), _callback("refresh_package", _refresh, "Ask the index anew.", set())),
    "ignore_dependencies": (("--no-deps", "--no-dependencies"), {**FLAG, "help": "No dependencies."}),
    "only_dependencies": (("--only-deps", "--only-dependencies"), {**FLAG, "help": "Only dependencies."}),
    "dependency_groups": (("--group",), _callback("dependency_groups", _group, "A group of pyproject.toml.", [])),
    "ignore_requires_python": (("--ignore-requires-python",), {**FLAG, "help": "Ignore Requires-Python."}),
    "build_isolation": (("--no-build-isolation",), {"action": "store_false", "default": True}),
    "use_pep517": (("--use-pep517",), {"action": "store_true", "default": True, "help": optparse.SUPPRESS_HELP}),
    "check_build_deps": (("--check-build-dependencies",), {**FLAG, "help": "Check the build dependencies."}),
    "config_settings": (
        ("-C", "--config-settings", "--config-setting"),
        _callback("config_settings", _config_setting, "KEY=VAL for the build backend.", metavar="settings"),
    ),
    "no_clean": (("--no-clean",), {**FLAG, "help": "Accepted; builds leave nothing behind here."}),
    "pre": (("--pre",), {**FLAG, "help": "Also pre-releases."}),
    "json": (("--json",), {**FLAG, "help": "Machine-readable output."}),
    "root_user_action": (("--root-user-action",), {"choices": ["warn", "ignore"], "default": "warn"}),
    "hashes": (("--hash",), _callback("hashes", _hash, "A hash that the archive must have.")),
    "require_hashes": (("--require-hashes",), {**FLAG, "help": "Everything needs a hash."}),
    "no_require_hashes": (("--no-require-hashes",), {**FLAG, "help": "Hashes of some do not ask for hashes of all."}),
    "path": (("--path",), {"action": "append", "help": "Only what lies in this directory."}),
    "excludes": (("--exclude",), {"action": "append", "metavar": "package", "help": "Leave this package out."}),
    "override_externally_managed": (("--break-system-packages",), {**FLAG, "help": "Also where PEP 668 forbids it."}),
    "dry_run": (("--dry-run",), {**FLAG, "help": "Only say what would be installed."}),
    "target_dir": (("-t", "--target"), {"metavar": "dir", "help": "Install into this directory."}),
    "use_user_site": (("--user",), {**FLAG, "help": "The user's own site-packages."}),
    "no_user": (("--no-user",), {"action": "store_false", "dest": "use_user_site", "help": optparse.SUPPRESS_HELP}),
    "root_path": (("--root",), {"metavar": "dir", "help": "Everything below this directory."}),
    "prefix_path": (("--prefix",), {"metavar": "dir", "help": "lib, bin and the rest below this directory."}),
    "upgrade": (("-U", "--upgrade"), {**FLAG, "help": "The newest versions of what is named."}),
    "upgrade_strategy": (
        ("--upgrade-strategy",), {"choices": ["only-if-needed", "eager"], "default": "only-if-needed"},
    ),
    "force_reinstall": (("--force-reinstall",), {**FLAG, "help": "Also what is there already."}),
    "ignore_installed": (("-I", "--ignore-installed"), {**FLAG, "help": "As if nothing were installed."}),
    "compile": (("--compile",), {"action": "store_true", "default": True, "help": "Compile to byte code."}),
    "no_compile": (("--no-compile",), {"action": "store_false", "dest": "compile"}),
    "warn_script_location": (("--no-warn-script-location",), {"action": "store_false", "default": True}),
    "warn_about_conflicts": (("--no-warn-conflicts",), {"action": "store_false", "default": True}),
    "json_report_file": (("--report",), {"metavar": "file", "help": "What is, or would be, done, as JSON."}),
    "yes": (("-y", "--yes"), {**FLAG, "help": "Do not ask."}),
    "download_dir": (("-d", "--dest", "--destination-dir", "--destination-directory"), {"metavar": "dir",
                     "default": os.curdir}),
    "wheel_dir": (("-w", "--wheel-dir"), {"metavar": "dir", "default": os.curdir}),
    "local": (("-l", "--local"), {**FLAG, "help": "Without what is globally installed."}),
    "user": (("--user",), {**FLAG, "help": "Only what is in the user's site."}),
    "outdated": (("-o", "--outdated"), {**FLAG, "help": "Only what is out of date."}),
    "uptodate": (("-u", "--uptodate"), {**FLAG, "help": "Only what is up to date."}),
    "editable": (("-e", "--editable"), {**FLAG, "help": "Only editable projects."}),
    "list_format": (("--format",), {"choices": ["columns", "freeze", "json"], "default": "columns"}),
    "not_required": (("--not-required",), {**FLAG, "help": "Only what nothing else needs."}),
    "exclude_editable": (("--exclude-editable",), {"action": "store_false", "dest": "include_editable"}),
    "include_editable": (("--include-editable",), {"action": "store_true", "default": True}),
    "freeze_all": (("--all",), {**FLAG, "help": "Also pip, setuptools and the like."}),
    "freeze_exclude_editable": (("--exclude-editable",), {**FLAG, "dest": "exclude_editable"}),
    "files": (("-f", "--files"), {**FLAG, "help": "With the list of its files."}),
    "algorithm": (("-a", "--algorithm"), {"choices": ["sha256", "sha384", "sha512"], "default": "sha256"}),
    "editor": (("--editor",), {"help": "The editor to use."}),
    "global_file": (("--global",), {**FLAG, "help": "Only the system's file."}),
    "user_file": (("--user",), {**FLAG, "help": "Only the user's file."}),
    "site_file": (("--site",), {**FLAG, "help": "Only the environment's file."}),
    "cache_format": (("--format",), {"choices": ["human", "abspath"], "default": "human"}),
    "output_file": (("-o", "--output"), {"metavar": "path", "default": "pylock.toml"}),
}  # fmt: skip

INDEX = ("index_url", "extra_index_urls", "no_index", "find_links", "uploaded_prior_to")
_TARGET = ("platforms", "python_version", "implementation", "abis")
_BUILD = ("build_isolation", "use_pep517", "check_build_deps", "config_settings", "build_constraints")
_FILES = ("constraints", "requirements", "requirements_from_scripts", "dependency_groups")
_CONTROL = ("no_binary", "only_binary", "all_releases", "only_final", "prefer_binary", "pre")
_HASHES = ("require_hashes", "no_require_hashes")

COMMAND_OPTIONS: dict[str, tuple[str, ...]] = {
    "install": (
        *_FILES, "ignore_dependencies", "only_dependencies", "editables", "dry_run", "target_dir", *_TARGET,
        "use_user_site", "no_user", "root_path", "prefix_path", "src_dir", "upgrade", "upgrade_strategy",
        "force_reinstall", "ignore_installed", "ignore_requires_python", *_BUILD, "override_externally_managed",
        "compile", "no_compile", "warn_script_location", "warn_about_conflicts", *_CONTROL, *_HASHES,
        "json_report_file", "no_clean", "root_user_action", "refresh_package", *INDEX,
    ),
    "download": (
        *_FILES, "ignore_dependencies", "only_dependencies", "editables", "src_dir", *_CONTROL, *_HASHES, *_BUILD,
        "ignore_requires_python", "no_clean", "download_dir", "refresh_package", *_TARGET, *INDEX,
    ),
    "wheel": (
        *_FILES, "ignore_dependencies", "only_dependencies", "editables", "src_dir", *_CONTROL, *_HASHES, *_BUILD,
        "ignore_requires_python", "no_clean", "wheel_dir", "refresh_package", *INDEX,
    ),
    "lock": (
        *_FILES, "ignore_dependencies", "only_dependencies", "editables", "src_dir", *_CONTROL, *_HASHES, *_BUILD,
        "ignore_requires_python", "no_clean", "output_file", "refresh_package", *INDEX,
    ),
    "uninstall": ("requirements", "yes", "root_user_action", "override_externally_managed"),
    "freeze": ("requirements", "local", "user", "path", "freeze_all", "freeze_exclude_editable", "excludes"),
    "list": (
        "outdated", "uptodate", "editable", "local", "user", "path", "pre", "all_releases", "only_final",
        "list_format", "not_required", "exclude_editable", "include_editable", "excludes", "refresh_package",
        "no_binary", "only_binary", "prefer_binary", *INDEX,
    ),
    "show": ("files",),
    "check": (),
    "config": ("editor", "global_file", "user_file", "site_file"),
    "hash": ("algorithm",),
    "index": (
        *_TARGET, "ignore_requires_python", "pre", "all_releases", "only_final", "json", "no_binary", "only_binary",
        "refresh_package", *INDEX,
    ),
    "inspect": ("local", "user", "path"),
    "cache": ("cache_format",),
    "help": (),
}  # fmt: skip


def rows(names: Iterable[str]) -> list[tuple[str, Row]]:
    return [(name, OPTIONS[name]) for name in names]


def make(name: str, row: Row) -> optparse.Option:
    """A fresh one: a list that is its default is its own."""
    flags, settings = row
    if isinstance(settings.get("default"), list | set):
        settings = {**settings, "default": settings["default"].copy()}
    return optparse.Option(*flags, **{"dest": name, **settings} if settings.get("action") != "help" else settings)
