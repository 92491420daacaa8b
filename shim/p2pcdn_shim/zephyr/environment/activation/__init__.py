"""How a shell enters an environment: the scripts that an environment gets, and the words that a shell evaluates.

The scripts are the files beside this one. Their variables are those of the standard library's, so that the environments
of different tools take each other's places.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.machine import platforms
from p2pcdn_shim.zephyr.values import Value


class Script(Value):
    """source: the file beside this one. target: its name in an environment. quote: how its shell quotes a text."""

    source: str
    target: str
    quote: Callable[[str], str]


def _posix(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _csh(text: str) -> str:
    return _posix(text).replace("!", "\\!")


def _powershell(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _batch(text: str) -> str:
    return text.replace("%", "%%")


_EVERYWHERE = (
    Script("activate.sh", "activate", _posix),
    Script("activate.fish", "activate.fish", _fish),
    Script("activate.csh", "activate.csh", _csh),
    Script("activate.ps1", "Activate.ps1", _powershell),
)
_ON_WINDOWS = (Script("activate.bat", "activate.bat", _batch), Script("deactivate.bat", "deactivate.bat", _batch))

# The words that make a shell enter an environment, around the quoted path of its script.
_ENTERING = {
    "bash": (". {}", _EVERYWHERE[0]),
    "zsh": (". {}", _EVERYWHERE[0]),
    "sh": (". {}", _EVERYWHERE[0]),
    "fish": ("source {}", _EVERYWHERE[1]),
    "csh": ("source {}", _EVERYWHERE[2]),
    "powershell": (". {}", _EVERYWHERE[3]),
}
SHELLS = tuple(_ENTERING)
# The words whose evaluation fails.
_REFUSING = {"powershell": "throw 'No environment was entered.'"}
_SAME = {"dash": "sh", "ksh": "sh", "tcsh": "csh", "pwsh": "powershell", "pwsh.exe": "powershell"}

_HOOKS = {
    "bash": """zephyr () {
    case " $* " in
        *" -h "* | *" --help "*) command zephyr "$@" ;;
        " venv activate "*)
            local words
            words="$(command zephyr "$@" --shell @SHELL@)" || return $?
            eval "$words"
            ;;
        *) command zephyr "$@" ;;
    esac
}""",
    "fish": """function zephyr
    if test "$argv[1] $argv[2]" = "venv activate"; and not contains -- --help $argv; and not contains -- -h $argv
        set -l words (command zephyr $argv --shell fish)
        or return $status
        eval $words
    else
        command zephyr $argv
    end
end""",
}
HOOK_SHELLS = ("bash", "zsh", "fish")


def write_scripts(directory: Path, environment: Path, prompt: str, os_name: str = os.name) -> None:
    """Writes the scripts of an environment that will stand at `environment` into its directory of programs."""
    own = Path(__file__).parent
    for script in (*_EVERYWHERE, *(_ON_WINDOWS if os_name == "nt" else ())):
        text = (own / script.source).read_text(encoding="utf-8")
        text = text.replace("@BIN@", platforms.scripts_name(os_name))
        text = text.replace("@VENV@", script.quote(str(environment))).replace("@PROMPT@", script.quote(prompt))
        target = directory / script.target
        target.unlink(missing_ok=True)  # where an environment was moved; what else it may be a link to stays as it is
        target.write_text(text, encoding="utf-8")


def entering_words(environment: Path, shell: str) -> str:
    """What a shell evaluates to enter an environment. Raises UsageError for a shell that we do not know."""
    if shell not in _ENTERING:
        raise UsageError(f"{shell[:40]!r} is not one of the shells {', '.join(SHELLS)}; name yours with --shell.")
    words, script = _ENTERING[shell]
    return words.format(script.quote(str(environment / platforms.scripts_name() / script.target)))


def refusing_words(shell: str) -> str:
    """What a shell evaluates in their place where there is nothing to enter, so that it hears of that."""
    return _REFUSING.get(shell, "false")


def shell_of(environ: Mapping[str, str], os_name: str = os.name) -> str:
    """The shell that will read what we print: ZEPHYR_SHELL, else SHELL; on Windows PowerShell."""
    named = environ.get("ZEPHYR_SHELL") or environ.get("SHELL") or ("powershell" if os_name == "nt" else "sh")
    name = Path(named).name
    return _SAME.get(name, name)


def hook(shell: str) -> str:
    """What the user's shell evaluates at its start, so that `zephyr venv activate NAME` changes that shell."""
    return _HOOKS["fish" if shell == "fish" else "bash"].replace("@SHELL@", shell)
