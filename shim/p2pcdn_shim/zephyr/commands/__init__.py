"""Which commands `zephyr` has. Each is a file of this folder, loaded only when it is called; adding one is a row here.

Such a file has `DESCRIPTION` (sentences for --help), `arguments(parser)` and `run(call) -> exit code`.
"""

from __future__ import annotations

from types import ModuleType

# The name as typed, and its sentence in `zephyr --help`, in the order in which a new user meets them. The file is
# called the same, with `_` for `-`, and with one at the end where Python has that word for itself.
COMMANDS = {
    "init": "Makes a project: a pyproject.toml.",
    "add": "Adds requirements to the project, locks it and syncs its environment.",
    "remove": "Takes requirements out of the project, locks it and syncs its environment.",
    "lock": "Writes pylock.toml: the versions for every environment of the project.",
    "sync": "Makes the project's environment hold what the lock says.",
    "update": "Takes newer versions, as far as the project allows them.",
    "install": "Installs packages into an environment, beside any project.",
    "uninstall": "Takes packages out of an environment, with what only they needed.",
    "list": "Lists the packages of an environment.",
    "show": "Shows what is known of installed packages.",
    "freeze": "Prints what is installed as a requirements file.",
    "check": "Says whether what is installed fits together.",
    "tree": "Shows who needs whom in the project's lock.",
    "why": "Shows for whose sake a package is in the lock.",
    "rollback": "Makes an environment hold again what it held before.",
    "history": "Shows what was done to an environment, and where it came from.",
    "build": "Builds the project's source distribution and wheel.",
    "venv": "Makes, lists, removes and enters virtual environments.",
    "run": "Runs a command in the project's environment.",
    "import": "Takes over a project of pip, poetry or pipenv.",
    "export": "Writes what the project installs as a requirements file.",
    "pip": "pip's command line, on this node's store: `zephyr pip --help`.",
    "python": "Shows the interpreters of this machine.",
    "config": "Shows the settings in force, and where each comes from.",
    "completion": "Prints what makes your shell complete the words of zephyr.",
    "shell-hook": "Prints a function with which your shell enters environments.",
}


def load(name: str) -> ModuleType:
    """The file of a command. Raises UsageError for a word that is none."""
    if name not in COMMANDS:
        from difflib import get_close_matches

        from p2pcdn_shim.zephyr.errors import UsageError

        near = get_close_matches(name, COMMANDS, n=1)
        guess = f"; did you mean {near[0]!r}?" if near else "; see `zephyr --help`."
        raise UsageError(f"zephyr has no command {name[:60]!r}{guess}")
    import keyword

    file = name.replace("-", "_") + ("_" if keyword.iskeyword(name) else "")
    # importlib would bring `warnings` along.
    module: ModuleType = __import__(f"p2pcdn_shim.zephyr.commands.{file}", fromlist=["run"])
    return module
