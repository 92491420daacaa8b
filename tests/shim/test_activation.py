"""Entering an environment and leaving it again, in real shells; those that are not installed skip their tests."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from p2pcdn_shim.zephyr.environment import activation, venv
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.interpreters.probes import Probe
from tests.shim.zephyr import COMMAND, environment

# Spaces, quotes and signs that one shell or another takes for its own.
ODD_NAME = "my $HOME 'env' `x`; &é"
POSIX = """set -u
PS1="base> "
before="$PATH"
. {script}
echo "$VIRTUAL_ENV"
command -v python
echo "$VIRTUAL_ENV_PROMPT|${{PYTHONHOME-unset}}|$PS1"
deactivate
[ "$PATH" = "$before" ] && echo same
echo "${{VIRTUAL_ENV-unset}}|${{PYTHONHOME-unset}}|$PS1"
command -v deactivate || echo gone
"""
FISH = """function fish_prompt
    echo 'base> '
end
set -g before "$PATH"
source {script}
echo $VIRTUAL_ENV
command -v python
echo "$VIRTUAL_ENV_PROMPT|"(set -q PYTHONHOME; and echo set; or echo unset)"|"(fish_prompt)
deactivate
test "$PATH" = "$before"; and echo same
echo (set -q VIRTUAL_ENV; and echo set; or echo unset)"|$PYTHONHOME|"(fish_prompt)
functions -q deactivate; or echo gone
"""
CSH = """set prompt = 'base> '
set before = "$PATH"
source {script}
echo "$VIRTUAL_ENV:q"
which python
echo "${{VIRTUAL_ENV_PROMPT:q}}|unset|$prompt:q"
deactivate
if ("$PATH" == "$before") echo same
if (! $?VIRTUAL_ENV) echo "unset|/home/python|$prompt:q"
alias deactivate
echo gone
"""
POWERSHELL = """function prompt {{ 'base> ' }}
$before = $env:PATH
. {script}
Write-Output $env:VIRTUAL_ENV
(Get-Command python).Source
Write-Output "$env:VIRTUAL_ENV_PROMPT|unset|(x) base> "
deactivate
if ($env:PATH -eq $before) {{ Write-Output same }}
Write-Output "unset|$env:PYTHONHOME|base> "
if (-not (Test-Path Function:deactivate)) {{ Write-Output gone }}
"""
SHELLS = {
    "bash": (["bash", "--norc"], POSIX, "sh"),
    "zsh": (["zsh", "-f"], POSIX, "sh"),
    "dash": (["dash"], POSIX, "sh"),
    "fish": (["fish", "--no-config"], FISH, "fish"),
    "tcsh": (["tcsh", "-f"], CSH, "csh"),
    "pwsh": (["pwsh", "-NoProfile", "-NonInteractive", "-File"], POWERSHELL, "powershell"),
}


def run_in(shell: str, script: str, tmp_path: Path, *, stderr: str = "", **variables: str) -> list[str]:
    """What a script prints in a shell; skips where there is no such shell."""
    command, _, _ = SHELLS[shell]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    file = tmp_path / ("script.ps1" if shell == "pwsh" else "script")
    file.write_text(script)
    run = subprocess.run(
        [*command, file],
        env=environment(tmp_path, TERM="dumb", **variables),
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stderr == stderr, run.stderr
    return run.stdout.splitlines()


@pytest.mark.parametrize("shell", sorted(SHELLS))
def test_an_environment_is_entered_and_left(shell: str, interpreter: Probe, tmp_path: Path) -> None:
    made = venv.create(tmp_path / ODD_NAME, interpreter, prompt="x")
    _, script, kind = SHELLS[shell]
    words = activation.entering_words(made.path, kind)
    text = script.replace(". {script}", words).replace("source {script}", words).replace("{{", "{").replace("}}", "}")
    said = run_in(shell, text, tmp_path, PYTHONHOME="" if shell == "tcsh" else "/home/python")
    path = str(made.path)
    expected = [path, f"{path}/bin/python", "x|unset|(x) base> ", "same", "unset|/home/python|base> ", "gone"]
    assert [line.rstrip() for line in said] == [line.rstrip() for line in expected]


@pytest.mark.parametrize("shell", ["bash", "zsh", "dash", "fish"])
def test_entering_another_environment_leaves_the_first(shell: str, interpreter: Probe, tmp_path: Path) -> None:
    first = venv.create(tmp_path / "first", interpreter)
    second = tmp_path / "second"
    subprocess.run([interpreter.executable, "-m", "venv", "--without-pip", second], check=True)  # another tool's
    kind = SHELLS[shell][2]
    words = [activation.entering_words(place, kind) for place in (first.path, second, first.path)]
    said = run_in(shell, "\n".join([*words, "echo $PATH", "deactivate", "echo $PATH"]), tmp_path)
    assert said[0].replace(" ", ":").split(":")[0] == str(first.path / "bin")
    assert "second" not in said[0]
    assert "first" not in said[1]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_with_the_hook_a_shell_enters_environments_by_itself(shell: str, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "zephyr"
    program.write_text(f"#!{COMMAND[0]}\nfrom p2pcdn_shim.zephyr.cli import main\nmain()\n")
    program.chmod(0o755)
    hook = "zephyr shell-hook fish | source" if shell == "fish" else f'eval "$(zephyr shell-hook {shell})"'
    script = [
        hook, "zephyr venv create myproject --quiet", "zephyr venv activate myproject", "echo $VIRTUAL_ENV",
        "zephyr venv activate --help", "zephyr venv activate nowhere || echo failed", "zephyr --version",
    ]  # fmt: skip
    path = environment(tmp_path)["PATH"]
    named = f"{tmp_path}/.local/share/zephyr/venvs"
    sentence = "zephyr: There is no environment 'nowhere'; `zephyr venv create nowhere` makes it. There is myproject.\n"
    said = run_in(shell, "\n".join(script), tmp_path, stderr=sentence, PATH=f"{tmp_path}/bin:{path}")
    assert said[0] == f"{named}/myproject"
    assert said[1].startswith("usage: zephyr venv activate")
    assert said[-2] == "failed"
    assert said[-1].startswith("zephyr ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "dash", "fish"])
def test_a_shell_that_evaluates_a_refusal_hears_that_it_failed(shell: str, tmp_path: Path) -> None:
    zephyr = tmp_path / "zephyr"
    zephyr.write_text(f"#!{COMMAND[0]}\nfrom p2pcdn_shim.zephyr.cli import main\nmain()\n")
    zephyr.chmod(0o755)
    refused = f"{zephyr} venv activate nowhere --shell {SHELLS[shell][2]}"
    evaluated = f"eval ({refused})" if shell == "fish" else f'eval "$({refused})"'
    sentence = "zephyr: There is no environment 'nowhere'; `zephyr venv create nowhere` makes it."
    script = f"{evaluated}; or echo failed" if shell == "fish" else f"{evaluated} || echo failed"
    said = run_in(shell, script, tmp_path, stderr=f"{sentence} There is none with a name yet.\n")
    assert said == ["failed"]


def test_the_shell_is_the_users() -> None:
    assert activation.shell_of({"SHELL": "/usr/bin/zsh"}) == "zsh"
    assert activation.shell_of({"SHELL": "/bin/tcsh"}) == "csh"
    assert activation.shell_of({"SHELL": "/bin/bash", "ZEPHYR_SHELL": "fish"}) == "fish"
    assert activation.shell_of({}, "nt") == "powershell"
    with pytest.raises(UsageError, match="--shell"):
        activation.entering_words(Path("/e"), "elvish")


def test_windows_gets_scripts_for_its_own_shells(tmp_path: Path) -> None:
    activation.write_scripts(tmp_path, Path("C:\\a 100%"), "x", "nt")
    assert 'set "VIRTUAL_ENV=C:\\a 100%%"' in (tmp_path / "activate.bat").read_text()
    assert "'Scripts'" in (tmp_path / "Activate.ps1").read_text()
    assert (tmp_path / "deactivate.bat").exists()
    for script in tmp_path.iterdir():
        assert "@VENV@" not in script.read_text()
