"""`p2pcdn pip ...`: the user's real pip, with its index set to the node and nothing else changed.

Arguments, exit code, standard streams and terminal are pip's own: this process becomes pip.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence

from p2pcdn_daemon.clients.environment import index_environment
from p2pcdn_shim.client import Client, NodeRefused, NoNode, find

EXIT_REFUSED = 1
EXIT_UNUSABLE = 2


def main(arguments: Sequence[str]) -> int:
    """Becomes pip; comes back only with the exit code of what went wrong before."""
    command = pip_command(os.environ)
    if command is None:
        return _say("There is no pip on the PATH, and no python3 that could run one.", EXIT_UNUSABLE)
    try:
        environ = index_environment(index_url(find()), os.environ)
    except NoNode as error:
        return _say(str(error), EXIT_UNUSABLE)
    except NodeRefused as error:
        return _say(str(error), EXIT_REFUSED)
    sys.stdout.flush()
    try:
        os.execve(command[0], [*command, *arguments], environ)
    except OSError as error:
        return _say(f"{command[0]} cannot be run: {error.strerror or error}.", EXIT_UNUSABLE)


def pip_command(environ: Mapping[str, str]) -> list[str] | None:
    """The pip that the user would get by typing `pip`; without one that of `python3`."""
    path = environ.get("PATH", os.defpath)
    for words in (["pip"], ["pip3"], ["python3", "-m", "pip"], ["python", "-m", "pip"]):
        if file := shutil.which(words[0], path=path):
            return [file, *words[1:]]
    return None


def index_url(node: Client) -> str:
    """The node's index; with the private ones behind it, since whoever may ask its control socket may use them."""
    status = node.get("/v1/status")
    return str(status.get("private_index_url") or status["index_url"])


def _say(sentence: str, code: int) -> int:
    print(f"p2pcdn: {sentence}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
