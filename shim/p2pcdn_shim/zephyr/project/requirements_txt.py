"""pip's requirements files: nested, continued, with options, hashes, markers and variables; read as pip reads them.

The format is described in pip's documentation, `Requirements File Format`; where it is silent, pip itself is the
measure (tests/shim/test_requirements_txt.py).
"""

from __future__ import annotations

import optparse
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urljoin

from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from typing import Any, NoReturn

# A frozen application has some thousands of lines.
FILE_SIZE_BYTES_MAX = 16 * 1024 * 1024
FILES_MAX = 1000


class Line(Value):
    """One requirement. text: PEP 508, a path or a URL, as it stands there. origin: "FILE, line N".

    hashes: "sha256:<hex>". directory: where a relative path in it begins. constraint: only bounds what is needed.
    """

    text: str
    origin: str
    directory: Path
    editable: bool = False
    constraint: bool = False
    hashes: tuple[str, ...] = ()
    config_settings: tuple[str, ...] = ()


class Options(Value):
    """What the files say of the whole install; a later line wins, lists grow."""

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    no_index: bool = False
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    no_binary: tuple[str, ...] = ()
    only_binary: tuple[str, ...] = ()
    prefer_binary: bool = False
    require_hashes: bool = False
    pre: bool = False


class Requirements(Value):
    """All that a requirements file, and those that it names, ask for."""

    lines: tuple[Line, ...]
    options: Options


def read_requirements(file: Path, environ: Mapping[str, str] = os.environ, *, constraint: bool = False) -> Requirements:
    """Reads a file and all that it includes. Raises UsageError, with file and line.

    constraint: as with `pip -c`: nothing in it is wanted for itself. Files behind http URLs are refused: what is locked
    should not depend on what a server says that day.
    """
    reader = _Reader(environ)
    reader.read(file, constraint=constraint, on_the_way=())
    return Requirements(tuple(reader.lines), Options(**reader.options))


class _Reader:
    """Collects what one file and its nested ones say. Used once."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._files = 0
        self.lines: list[Line] = []
        self.options: dict[str, Any] = {}

    def read(self, file: Path, *, constraint: bool, on_the_way: tuple[Path, ...]) -> None:
        place = Path(os.path.abspath(file))  # noqa: PTH100 - a link's directory is where its paths begin
        if place in on_the_way:
            raise UsageError(f"{on_the_way[-1]} includes {place}, which includes it.")
        self._files += 1
        if self._files > FILES_MAX:
            raise UsageError(f"{on_the_way[0]} includes more than {FILES_MAX} files.")
        for number, line in logical_lines(_text_of(place, on_the_way)):
            origin = f"{place}, line {number}"
            self._take(with_variables(line, self._environ), origin, place, constraint=constraint, on_the_way=on_the_way)

    def _take(self, line: str, origin: str, file: Path, *, constraint: bool, on_the_way: tuple[Path, ...]) -> None:
        text, options = _split(line, origin)
        for kind, value in options.binaries or ():  # these also count behind a requirement
            self._name_binaries(kind, value)
        if text or options.editables:
            self.lines.append(
                Line(
                    text or options.editables[0],
                    origin,
                    file.parent,
                    editable=not text,
                    constraint=constraint,
                    hashes=tuple(options.hashes or ()) if text else (),  # pip ignores those of editables
                    config_settings=tuple(options.config_settings or ()),
                )
            )
            return
        # As pip does: the first of these on a line counts.
        nested = (options.requirements or options.constraints or [None])[0]
        if nested is not None:
            # What a file of constraints includes by -r is wanted for itself.
            self.read(
                _nested(nested, file, origin), constraint=not options.requirements, on_the_way=(*on_the_way, file)
            )
            return
        self._collect(options, file.parent)

    def _collect(self, options: optparse.Values, directory: Path) -> None:
        mine = self.options
        for flag in ("no_index", "prefer_binary", "require_hashes", "pre"):
            if getattr(options, flag):
                mine[flag] = True
        if mine.get("no_index"):  # for good
            mine["index_url"], mine["extra_index_urls"] = None, ()
        else:
            if options.index_url:  # puts aside all that came before
                mine["index_url"], mine["extra_index_urls"] = options.index_url, ()
            self._grow("extra_index_urls", options.extra_index_urls or ())
        self._grow("trusted_hosts", options.trusted_hosts or ())
        # Of several on one line pip takes the first, here too.
        self._grow("find_links", [_found_links(one, directory) for one in (options.find_links or ())[:1]])

    def _grow(self, key: str, values: Any) -> None:
        self.options[key] = tuple(dict.fromkeys((*self.options.get(key, ()), *values)))

    def _name_binaries(self, kind: str, value: str) -> None:
        """`:all:` and `:none:` empty the list; a name goes from one list into the other."""
        other = "only_binary" if kind == "no_binary" else "no_binary"
        for name in filter(None, (one.strip() for one in value.split(","))):
            if name == ":none:":
                self.options[kind] = ()
            elif name == ":all:":
                self.options[kind], self.options[other] = (":all:",), ()
            else:
                normal = re.sub(r"[-_.]+", "-", name).lower()
                self._grow(kind, (normal,))
                self.options[other] = tuple(one for one in self.options.get(other, ()) if one != normal)


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments, those that end with a backslash joined; each with the number of its first line.

    A comment ends a continued line, as in pip.
    """
    joined: list[str] = []
    began = 0
    for number, line in enumerate(text.splitlines(), 1):
        is_comment = line.lstrip().startswith("#")
        began = began if joined else number
        if line.endswith("\\") and not is_comment:
            joined.append(line.strip("\\"))
            continue
        # The space lets a comment in the middle of a continued line be seen as one.
        joined.append(f" {line}" if is_comment else line)
        if whole := _without_comment("".join(joined)):
            yield began, whole
        joined = []
    if joined and (whole := _without_comment("".join(joined))):
        yield began, whole


def _without_comment(line: str) -> str:
    return re.sub(r"(^|\s+)#.*$", "", line).strip()


def with_variables(line: str, environ: Mapping[str, str]) -> str:
    """`${NAME}` by its value; a variable that is not set stays as it is, as in pip."""
    return re.sub(r"\$\{([A-Z0-9_]+)\}", lambda match: environ.get(match[1]) or match[0], line)


def _text_of(file: Path, on_the_way: tuple[Path, ...]) -> str:
    named = f" (included by {on_the_way[-1]})" if on_the_way else ""
    try:
        with file.open("rb") as opened:
            content = opened.read(FILE_SIZE_BYTES_MAX + 1)
    except OSError as error:
        raise UsageError(f"The requirements file {file}{named} cannot be read: {error.strerror or error}.") from error
    if len(content) > FILE_SIZE_BYTES_MAX:
        raise UsageError(f"The requirements file {file} is larger than {FILE_SIZE_BYTES_MAX // 2**20} MiB.")
    try:
        return content.decode(encoding_of(content))
    except (UnicodeDecodeError, LookupError) as error:
        raise UsageError(f"The requirements file {file} cannot be decoded: {error}.") from error


def encoding_of(content: bytes) -> str:
    """A byte order mark, or PEP 263's comment in the first two lines; else UTF-8."""
    for mark, name in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if content.startswith(mark):
            return name
    for line in content.split(b"\n")[:2]:
        if line[:1] == b"#" and (match := re.search(rb"coding[:=]\s*([-\w.]+)", line)):
            return match[1].decode("ascii")
    return "utf-8"


def _split(line: str, origin: str) -> tuple[str, optparse.Values]:
    """The requirement at the start of a line, and the options after it. Raises UsageError."""
    words = line.split(" ")
    at = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    text, rest = " ".join(words[:at]).strip(), " ".join(words[at:])
    try:
        options, left = _parser(origin).parse_args(shlex.split(rest))
    except ValueError as error:
        raise UsageError(f"{origin}: {line[:100]!r} cannot be read: {error}.") from error
    if left:
        raise UsageError(f"{origin}: {left[0][:60]!r} stands after the options of {line[:60]!r}.")
    return text, options


class _Parser(optparse.OptionParser):
    def __init__(self, origin: str) -> None:
        super().__init__(add_help_option=False)
        self._origin = origin

    def error(self, msg: str) -> NoReturn:
        raise UsageError(f"{self._origin}: {msg}.")


_LISTS = (
    ("-r", "--requirement", "requirements"), ("-c", "--constraint", "constraints"), ("-e", "--editable", "editables"),
    ("-f", "--find-links", "find_links"), ("--extra-index-url", "extra_index_urls"),
    ("--trusted-host", "trusted_hosts"),
    ("--config-settings", "--config-setting", "-C", "config_settings"), ("--use-feature", "features"),
    ("--global-option", "global_options"),
)  # fmt: skip
_FLAGS = ("--no-index", "--prefer-binary", "--require-hashes", "--pre")


def _parser(origin: str) -> _Parser:
    parser = _Parser(origin)
    for *flags, name in _LISTS:
        parser.add_option(*flags, dest=name, action="append")
    for flag in _FLAGS:
        parser.add_option(flag, action="store_true", default=False)
    parser.add_option("-i", "--index-url", "--pypi-url", dest="index_url")
    parser.add_option("--hash", dest="hashes", action="callback", callback=_take_hash, type="string")
    for flag in ("--no-binary", "--only-binary"):
        parser.add_option(flag, dest="binaries", action="callback", callback=_take_binaries, type="string")
    return parser


def _take_hash(option: optparse.Option, flag: str, value: str, parser: optparse.OptionParser) -> None:
    """`ALGORITHM:HEX`, only of algorithms that nobody can forge."""
    algorithm, colon, digest = value.partition(":")
    if not colon or algorithm not in ("sha256", "sha384", "sha512") or not re.fullmatch(r"[0-9a-fA-F]+", digest):
        parser.error(f"{flag} takes sha256:<hex>, sha384:<hex> or sha512:<hex>, and not {value[:60]!r}")
    assert parser.values is not None, "optparse calls back while it parses"
    parser.values.hashes = [*(parser.values.hashes or ()), f"{algorithm}:{digest.lower()}"]


def _take_binaries(option: optparse.Option, flag: str, value: str, parser: optparse.OptionParser) -> None:
    """Both into one list: the order in which they stand matters."""
    assert parser.values is not None, "optparse calls back while it parses"
    kind = (option.get_opt_string()).removeprefix("--").replace("-", "_")
    parser.values.binaries = [*(parser.values.binaries or ()), (kind, value)]


def _nested(name: str, file: Path, origin: str) -> Path:
    if re.match(r"(http|https):", name, re.IGNORECASE):
        raise UsageError(f"{origin}: {name[:100]!r} is a file on a server; fetch it, and name the file.")
    if name.lower().startswith("file:"):
        from urllib.request import url2pathname

        name = url2pathname(urljoin("file:///", name).removeprefix("file://"))
    return file.parent / name


def _found_links(value: str, directory: Path) -> str:
    """A path begins at the file's directory where there is something; else it is taken as it stands."""
    inside = directory / value
    return str(inside) if inside.exists() else value
