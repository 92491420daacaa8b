"""Where an environment keeps what it knows of itself: beside it, and in its own `.zephyr/`.

    project/.venv/.zephyr/generation.json    which generation it is: written last before the swap
    project/.venv/.zephyr/plan.json          what was carried out
    project/.venv/.zephyr/carried.json       what of others it took over from the generation before
    project/.venv/.zephyr/checked            its time: when it was last found to hold what the lock says
    project/.zephyr/.venv/lock               held by who changes it
    project/.zephyr/.venv/history.jsonl      the audit log
    project/.zephyr/.venv/next-7/            generation 7 while it is built; after the swap, what it replaced
    project/.zephyr/.venv/generations/6/     what can be gone back to
    project/.zephyr/.venv/trash-0/           what goes with the next `sweep`

Of an environment whose directory cannot be swapped, all of it lies in its own `.zephyr/`.
"""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from p2pcdn.envs.plan import Plan


# The directory that holds what zephyr keeps inside an environment, and the one beside it.
OWN = ".zephyr"
# What a generation says of itself there; the last is what makes it one.
OF_A_GENERATION = ("plan.json", "carried.json", "generation.json")
CHECKED = "checked"


class Places:
    """The paths that belong to one environment. root: its directory, without symlinks in its path.

    whole: it can be swapped, and what belongs to it lies beside it. No mount point can be, nor what has a parent that
    is not ours to write to.
    """

    def __init__(self, root: str, *, whole: bool = True) -> None:
        self.root = os.path.realpath(root)
        parent, name = os.path.split(self.root)
        is_fixed = os.path.isdir(self.root) and (_is_mount(self.root, parent) or not os.access(parent, os.W_OK))
        self.whole = whole and not is_fixed
        self.shared = f"{parent}/{OWN}" if self.whole else f"{self.root}/{OWN}"
        self.state = f"{self.shared}/{name}" if self.whole else self.shared
        self.lock = f"{self.state}/lock"
        self.history = f"{self.state}/history.jsonl"
        self.journal = f"{self.state}/journal"
        self.applying = f"{self.state}/applying"
        self.generations = f"{self.state}/generations"

    def next(self, number: int) -> str:
        return f"{self.state}/next-{number}"

    def generation(self, number: int) -> str:
        return f"{self.generations}/{number}"

    def make(self) -> None:
        """Makes the directories, and keeps them out of the project's repository. Raises OSError."""
        make_ignored(self.shared)
        os.makedirs(self.generations, exist_ok=True)

    def is_littered(self) -> bool:
        """Whether there is what only a command that runs leaves here, or one that was killed. Costs a look at a
        directory of few names.
        """
        return any(name.startswith("next-") or name in ("journal", "applying") for name in names(self.state))

    def trashed(self) -> list[str]:
        """The trees that were taken out of the way."""
        return [f"{self.state}/{name}" for name in names(self.state) if name.startswith("trash-")]

    def trash(self, tree: str) -> None:
        """Takes a tree out of the way at once; removing it takes as long as an install, and is for `sweep`."""
        number = 0
        while os.path.lexists(f"{self.state}/trash-{number}"):
            number += 1
        os.rename(tree, f"{self.state}/trash-{number}")

    def current(self) -> int:
        """The generation in use; 0 for an environment that zephyr never changed, or for none."""
        return number_of(self.root)

    def kept(self) -> list[int]:
        """The numbers of the generations that can be gone back to, the oldest first."""
        return sorted(int(name) for name in names(self.generations) if name.isdecimal())


def _is_mount(directory: str, parent: str) -> bool:
    """Also where one directory of a file system is mounted on another one, as containers have their volumes: nothing
    can be renamed from here to there.
    """
    return os.path.ismount(directory) or _mount_of(directory) != _mount_of(parent)


def _mount_of(directory: str) -> bytes:
    """The number of its mount, b"" where the system does not say (Linux does: proc(5), fdinfo)."""
    opened: list[int] = []
    try:
        opened.append(os.open(directory, os.O_PATH | os.O_CLOEXEC))
        opened.append(os.open(f"/proc/self/fdinfo/{opened[0]}", os.O_RDONLY | os.O_CLOEXEC))
        return os.read(opened[1], 512).partition(b"mnt_id:")[2].partition(b"\n")[0]
    except (OSError, AttributeError):
        return b""
    finally:
        for descriptor in opened:
            os.close(descriptor)


def make_ignored(directory: str) -> None:
    """Makes a directory that the repository around it does not see, unless it is there. Raises OSError."""
    os.makedirs(directory, exist_ok=True)
    if not os.path.exists(f"{directory}/.gitignore"):
        with open(f"{directory}/.gitignore", "w", encoding="utf-8") as file:
            file.write("*\n")


def names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []


def state_of(tree: str) -> dict[str, Any]:
    """What a tree says of itself; empty for one that is no generation, or was not finished."""
    try:
        with open(f"{tree}/{OWN}/generation.json", "rb") as file:
            state = json.loads(file.read())
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) and isinstance(state.get("generation"), int) else {}


def number_of(tree: str) -> int:
    return int(state_of(tree).get("generation", 0))


def plan_of(tree: str) -> Plan | None:
    """The plan that a tree was made of; None where it says of none that we can read. Its digest and content are those
    of the whole plan, of which link mode `env` carried out a part.
    """
    from p2pcdn.envs.plan import Plan  # who only looks whether all is clean reads none

    try:
        with open(f"{tree}/{OWN}/plan.json", "rb") as file:
            state = state_of(tree)
            return Plan.decode(file.read(), str(state.get("plan", "")), str(state.get("content", "")))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def carried_of(tree: str) -> list[str]:
    try:
        with open(f"{tree}/{OWN}/carried.json", "rb") as file:
            paths = json.loads(file.read())
    except (OSError, ValueError):
        return []
    return [path for path in paths if isinstance(path, str)] if isinstance(paths, list) else []


def write_own(tree: str, plan: Plan | None, carried: Sequence[str], state: Mapping[str, Any]) -> None:
    """Makes a tree a generation; its state comes last. Raises OSError."""
    from p2pcdn.envs.link import write_file

    os.mkdir(f"{tree}/{OWN}")
    contents = {"carried": json.dumps(list(carried)).encode(), "generation": json.dumps(state).encode()}
    if plan is not None:
        contents = {"plan": plan.encode(), **contents}
    for name, content in contents.items():
        write_file(f"{tree}/{OWN}/{name}.json", content)
