"""Flags that several commands share: what fills an environment, and which list of requirements is meant."""

from __future__ import annotations

from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from p2pcdn_shim.zephyr.project.project_edit import Where


# The names under which `add_selection_flags` leaves what was given.
SELECTION = (
    "frozen", "locked", "extra", "no_project", "all_extras", "group", "all_groups", "no_group", "no_default_groups",
    "no_dev", "only_group", "only_dev",
)  # fmt: skip


def add_install_flags(parser: ArgumentParser) -> None:
    """The settings of `settings.py` that every command has that fills an environment."""
    parser.add_argument("--venv", metavar="DIR", help="The environment, instead of the project's .venv.")
    parser.add_argument(
        "--python",
        metavar="PYTHON",
        help="The interpreter of an environment that is made first; one that is there must have it.",
    )
    parser.add_argument(
        "--link-mode", choices=("reflink", "hardlink", "copy", "env"), help="How files come out of the store."
    )
    parser.add_argument(
        "--compile-bytecode",
        action="store_true",
        default=None,
        help="Waits for the byte code; else it is linked where the store has it, and made afterwards.",
    )
    parser.add_argument(
        "--no-compile-bytecode", dest="compile_bytecode", action="store_false", help="Leaves byte code out."
    )
    add_index_flags(parser)
    add_choice_flags(parser)


def add_requirements(parser: ArgumentParser, example: str) -> None:
    """Requirements, and projects that are installed editable."""
    parser.add_argument("requirements", nargs="*", metavar="REQUIREMENT", help=f"Such as {example}.")
    parser.add_argument(
        "-e", "--editable", dest="editables", action="append", default=[], metavar="PLACE",
        help="A directory or a repository (git+https://...) whose sources stay in use.",
    )  # fmt: skip


def add_index_flags(parser: ArgumentParser) -> None:
    """Where packages come from."""
    parser.add_argument("--index-url", metavar="URL", help="The index, instead of the one that the node asks.")
    parser.add_argument(
        "--extra-index-url", action="append", default=[], metavar="URL", help="One more, asked for what others lack."
    )
    parser.add_argument(
        "--find-links", action="append", default=[], metavar="PLACE", help="A directory of files, or a page of links."
    )
    parser.add_argument("--no-index", action="store_true", default=None, help="Takes packages from find-links only.")
    parser.add_argument("--offline", action="store_true", default=None, help="Asks no index for anything.")


def add_choice_flags(parser: ArgumentParser) -> None:
    """How versions are chosen, for this one command; what should stay stands in pyproject.toml."""
    parser.add_argument("--prefer", choices=("highest", "lowest"), help="Which version is taken where several fit.")
    parser.add_argument("--exclude-newer", metavar="TIME", help="Leaves aside what was uploaded later than this.")
    parser.add_argument("--prerelease", action="store_true", default=None, help="Takes pre-releases of every package.")
    for flag, what in (
        ("--constraints", "A bound, for what is needed only."),
        ("--overrides", "Replaces what other packages require."),
    ):
        parser.add_argument(flag, action="append", default=[], metavar="REQUIREMENT", help=what)
    for flag, what in (
        ("--only-binary", "Never built from source; :all: for every package."),
        ("--no-binary", "Always built from source; :all: for every package."),
    ):
        parser.add_argument(flag, action="append", default=[], metavar="NAME", help=what)


def add_selection_flags(parser: ArgumentParser) -> None:
    """What of the project's lock its environment gets, and whether that lock may be made anew."""
    parser.add_argument("--frozen", action="store_true", help="Takes the lock as it is, and looks at nothing else.")
    parser.add_argument("--locked", action="store_true", help="Fails where the lock would have to be made anew.")
    parser.add_argument("--extra", action="append", default=[], metavar="NAME", help="With this extra.")
    parser.add_argument("--no-project", action="store_true", help="Leaves the project itself out.")
    parser.add_argument("--all-extras", action="store_true", help="With every extra of the project.")
    parser.add_argument("--group", action="append", default=[], metavar="NAME", help="With this dependency group.")
    parser.add_argument("--all-groups", action="store_true", help="With every dependency group.")
    parser.add_argument("--no-group", action="append", default=[], metavar="NAME", help="Without this one.")
    parser.add_argument(
        "--no-default-groups",
        action="store_true",
        help="Without the groups that are installed unless others are named.",
    )
    parser.add_argument("--no-dev", action="store_true", help="Without the group dev.")
    parser.add_argument(
        "--only-group",
        action="append",
        default=[],
        metavar="NAME",
        help="This group with what it needs, and nothing of the project.",
    )
    parser.add_argument("--only-dev", action="store_true", help="The same of the group dev.")


def add_where_flags(parser: ArgumentParser) -> None:
    """Which list of requirements is meant; see `where_of`."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--extra", dest="extra_name", metavar="NAME", help="In this extra of the project.")
    which.add_argument("--group", dest="group_name", metavar="NAME", help="In this dependency group.")
    which.add_argument("--dev", dest="group_name", action="store_const", const="dev", help="In the group dev.")


def where_of(options: Namespace) -> Where:
    """The list that the flags name, else the project's own."""
    from p2pcdn_shim.zephyr.project.project_edit import Where

    return Where(extra=options.extra_name, group=options.group_name)
