"""Every setting of zephyr, once: its name, how its value is read, what it means. Flags and documents follow this.

A key is the same word everywhere: `index-url` in a file, `ZEPHYR_INDEX_URL` in the environment, `--index-url` as a flag
of the commands that use it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from typing import Any

# Lists longer than this are a mistake.
VALUES_MAX = 1024


class IndexSetting(Value):
    """One index as the user wrote it. url may hold credentials: never print it; `urls.public_url` shows it."""

    url: str
    name: str | None = None
    default: bool = False
    explicit: bool = False


class SourceSetting(Value):
    """The index, by its name, from which alone a project is taken. project: normalized."""

    project: str
    index: str


class Kind(Value):
    """How one kind of value is read.

    read: from text; raises ValueError with a sentence that begins with the value. toml: the type that TOML has for it.
    is_path: relative ones begin at the file's directory, where they stand in a file.
    """

    metavar: str
    form: str
    read: Callable[[str], Any]
    toml: type = str
    is_path: bool = False


class Setting(Value):
    """One row. many: a list; in the environment split at spaces. default_text: what the documents say of None."""

    key: str
    kind: Kind
    help: str
    many: bool = False
    default_text: str = ""

    @property
    def field_name(self) -> str:
        return self.key.replace("-", "_")

    @property
    def variable(self) -> str:
        return "ZEPHYR_" + self.key.replace("-", "_").upper()

    @property
    def flag(self) -> str:
        return "--" + self.key


def bounded(where: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Raises UsageError for a list that is too long to be meant."""
    if len(values) > VALUES_MAX:
        raise UsageError(f"{where}: {len(values)} values are more than the {VALUES_MAX} that it can have.")
    return values


def _text(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError(f"{text[:60]!r} is empty or has control characters.")
    return text


def _path(text: str) -> Path:
    try:
        return Path(_text(text)).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{text[:60]!r} begins at a home directory that is not there.") from error


_YES = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _yes_or_no(text: str) -> bool:
    if text.lower() not in _YES:
        raise ValueError(f"{text[:60]!r} is neither true nor false.")
    return _YES[text.lower()]


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"{text[:60]!r} is not one of {', '.join(choices)}.")
        return text.lower()

    return read


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text, re.ASCII):
        raise ValueError(f"{text[:60]!r} is not a number from 0 to 999999.")
    return int(text)


def _time(text: str) -> str:
    """RFC 3339, or a day in UTC; kept as `2026-03-01T00:00:00Z`."""
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text[:60]!r} is neither a day (2026-03-01) nor a time (2026-03-01T12:00:00Z).") from error
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _index(text: str) -> IndexSetting:
    """`URL` or `NAME=URL`."""
    match = re.fullmatch(r"([A-Za-z0-9._-]+)=(.+)", text)
    name, url = (match[1], match[2]) if match else (None, text)
    return IndexSetting(_url(url), name)


def _source(text: str) -> SourceSetting:
    """`PROJECT=INDEX`."""
    match = re.fullmatch(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)=([A-Za-z0-9._-]+)", text)
    if match is None:
        raise ValueError(f"{text[:60]!r} is not PROJECT=INDEX.")
    return SourceSetting(re.sub(r"[-_.]+", "-", match[1]).lower(), match[2])


def _attested(text: str) -> str:
    match = re.fullmatch(r"(:all:|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(=[A-Za-z0-9._@/-]+)?", text)
    if match is None:
        raise ValueError(f"{text[:60]!r} is neither NAME nor NAME=OWNER/REPOSITORY.")
    return re.sub(r"[-_.]+", "-", match[1]).lower() + (match[2] or "")


def _url(text: str) -> str:
    from p2pcdn_shim.zephyr.configuration.urls import check_url

    return check_url(text)


def _host(text: str) -> str:
    if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?", text):
        raise ValueError(f"{text[:60]!r} is not a host, or HOST:PORT.")
    return text.lower()


TEXT = Kind("TEXT", "text", _text)
REQUIREMENT = Kind("REQUIREMENT", "requirement (numpy<2)", _text)
NAME = Kind("NAME", "name", _text)
PATH = Kind("PATH", "path", _path, is_path=True)
PLACE = Kind("DIR", "path", _path)
FLAG = Kind("", "true or false", _yes_or_no, bool)
COUNT = Kind("N", "number", _count, int)
TIME = Kind("TIME", "day or time", _time)
URL = Kind("URL", "URL or directory", _url)
ATTESTED = Kind("NAME[=OWNER/REPOSITORY]", "NAME, or NAME=OWNER/REPOSITORY", _attested)
LINKS = Kind("LINKS", "directory, file or URL", _text)
SOURCE = Kind("PROJECT=INDEX", "PROJECT=INDEX, or a table (below)", _source)
INDEX = Kind("[NAME=]URL", "URL, or a table (below)", _index)
HOST = Kind("HOST", "host, or HOST:PORT", _host)
LINK_MODE = Kind("MODE", "reflink, hardlink, copy or env", _one_of("reflink", "hardlink", "copy", "env"))
PREFER = Kind("highest|lowest", "highest or lowest", _one_of("highest", "lowest"))
KEYRING = Kind("auto|never", "auto or never", _one_of("auto", "never"))

SETTINGS: tuple[Setting, ...] = (
    Setting("python", TEXT, "The interpreter of new environments: a version, a range, a name or a path.",
            default_text="what `.python-version` or `requires-python` ask for, else the first on the PATH"),
    Setting("venv", PLACE, "The environment of the project; a relative path begins at the project."),
    Setting("venvs", PATH, "Where environments that have a name are kept.",
            default_text="`~/.local/share/zephyr/venvs`; on macOS and Windows the user's directory for such things"),
    Setting("index-url", URL, "The index to take packages from.",
            default_text="the index that the node uses: pip's or uv's, else PyPI"),
    Setting("extra-index-url", URL, "One more index, asked where the others do not have the name.", many=True),
    Setting("index", INDEX, "An index with a name; the first that has a project owns it.", many=True),
    Setting("sources", SOURCE, "Which index, by its name, a project is taken from, and from no other.", many=True),
    Setting("find-links", LINKS, "A directory of wheels and sdists, or a page of links; asked first.", many=True),
    Setting("no-index", FLAG, "Takes packages from `find-links` only."),
    Setting("trusted-host", HOST, "A host that may be asked over plain http.", many=True),
    Setting("keyring", KEYRING, "Whether the keyring is asked for the password of an index whose user name is known."),
    Setting("offline", FLAG, "Asks no index: works with what is in the node's store."),
    Setting("no-node", FLAG, "Works with a private node that ends with the command."),
    Setting("environments", TEXT, "The environments that a lock must serve, as markers.", many=True,
            default_text="Linux, macOS and Windows on x86-64 and ARM64"),
    Setting("default-groups", NAME, "Dependency groups that are installed unless others are named.", many=True),
    Setting("constraints", REQUIREMENT, "Bounds for versions, for what is needed only.", many=True),
    Setting("overrides", REQUIREMENT, "Requirements that replace those of other packages.", many=True),
    Setting("prefer", PREFER, "Which version is taken where several fit."),
    Setting("prerelease", FLAG, "Takes pre-releases of every package."),
    Setting("exclude-newer", TIME, "Leaves aside what was uploaded later than this.", default_text="no limit"),
    Setting("only-binary", NAME, "Packages never built from source; `:all:` for every one.", many=True),
    Setting("no-binary", NAME, "Packages always built from source; `:all:` for every one.", many=True),
    Setting("editable", NAME, "Packages of directories and repositories that are installed so that their sources stay"
            " in use.", many=True),
    Setting("checkouts", PLACE, "Where editable repositories are checked out; a relative path begins at the project."),
    Setting("require-attestations", ATTESTED,
            "Packages whose publisher must be attested (PEP 740), and by which repository; `:all:` for every one.",
            many=True),
    Setting("allow-unsandboxed-builds", FLAG, "Builds where no sandbox can be had; written to the audit log."),
    Setting("link-mode", LINK_MODE, "How files come out of the store.",
            default_text="`reflink`, else `hardlink`, else `copy`"),
    Setting("compile-bytecode", FLAG, "Whether an install waits for the bytecode.",
            default_text="linked where the store has it, else made in the background"),
    Setting("generations", COUNT, "How many former states of an environment `rollback` can go back to."),
)  # fmt: skip

BY_KEY = {setting.key: setting for setting in SETTINGS}
