"""A guide as a walk: the files that it begins with, its commands, and what it says that they print."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

# A fence with the comment before it that gives a file's name.
_BLOCK = re.compile(
    r"^(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_SH = re.compile(r"""^\s*sh (?:'(?P<single>[^']*)'|"(?P<double>[^"]*)")$""", re.MULTILINE)
STEP_TIME_S_MAX = 120.0


@dataclass(frozen=True)
class Step:
    """A file to write, commands to run, or lines that the commands before must have printed."""

    kind: Literal["file", "commands", "printed"]
    text: str
    file: str = ""


def steps_of(guide: Path) -> Iterator[Step]:
    """In the guide's order. A `text` block behind commands is what they print; other languages are only shown."""
    after_commands = False
    for block in _BLOCK.finditer(guide.read_text(encoding="utf-8")):
        if block["file"]:
            yield Step("file", block["text"], block["file"])
        elif block["language"] == "bash":
            yield Step("commands", block["text"])
        elif block["language"] == "text" and after_commands:
            yield Step("printed", block["text"])
        after_commands = block["language"] == "bash" and not block["file"]


def commands_of_steps(workflow: Mapping[str, Any]) -> list[str]:
    """What the jobs of a GitHub workflow run."""
    return [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]


def commands_of_jobs(pipeline: Mapping[str, Any]) -> list[str]:
    """What the jobs of a GitLab pipeline run."""
    jobs = [one for one in pipeline.values() if isinstance(one, dict) and "script" in one]
    return [line for job in jobs for line in (*job.get("before_script", ()), *job["script"])]


def commands_of_jenkinsfile(text: str) -> list[str]:
    """What its `sh` steps run."""
    return [found["single"] or found["double"] for found in _SH.finditer(text)]


def walk(guide: Path, place: Path, settings: Mapping[str, str]) -> int:
    """Writes and runs what the guide says, in its order; returns how many blocks of commands there were."""
    said, count = "", 0
    for step in steps_of(guide):
        if step.kind == "file":
            file = place / step.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(step.text, encoding="utf-8")
            if file.suffix == ".json":
                json.loads(step.text)
        elif step.kind == "commands":
            said, count = run(step.text, place, settings), count + 1
        else:
            missing = [line for line in step.text.splitlines() if line not in said]
            assert not missing, f"{guide.name} says that {missing} is printed, but it was:\n{said}"
    return count


def run(commands: str, place: Path, settings: Mapping[str, str]) -> str:
    """What they print. Fails where one of them fails."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=place,
        env=dict(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=STEP_TIME_S_MAX,
        check=False,
    )
    assert done.returncode == 0, f"exit code {done.returncode} of:\n{commands}\n{done.stdout}"
    return done.stdout
