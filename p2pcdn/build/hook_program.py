"""Calls one hook of a build backend (PEP 517, 660), inside the sandbox. Python 3.8 and newer; stdlib only.

It runs as text (`python -I -B -u -c`). stdin: what `hooks.py` asks. stdout: a line of JSON, then the bytes of the file
that was made. Whatever the backend prints goes to stderr.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import shutil
import sys
import traceback
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Given = dict[str, Any]

OPTIONAL = ("get_requires_for_build_sdist", "get_requires_for_build_wheel", "get_requires_for_build_editable")
PREPARE = ("prepare_metadata_for_build_wheel", "prepare_metadata_for_build_editable")
NEEDS_OUT = ("build_sdist", "build_wheel", "build_editable", *PREPARE)


class Refusal(Exception):
    """What cannot be done, as a sentence."""


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    given = json.load(sys.stdin)
    try:
        head, path = call(given)
    except Refusal as refusal:
        head, path = {"refused": str(refusal)}, None
    except SystemExit as ended:
        head, path = {"failed": exit_reason(ended.code)}, None
    except BaseException as error:
        traceback.print_exc()
        said = str(error).strip().split("\n")[0]
        head, path = {"failed": f"{type(error).__name__}: {said}" if said else type(error).__name__}, None
    if path is not None:
        head["size"] = os.path.getsize(path)
    sys.stderr.flush()
    answers.write(json.dumps(head).encode() + b"\n")
    if path is not None:
        with open(path, "rb") as file:
            shutil.copyfileobj(file, answers, 1 << 20)
    answers.flush()
    # A backend may have left threads; nobody waits for them.
    os._exit(0)


def exit_reason(code: object) -> str:
    """The number; of a text the first line, and all of it goes to stderr, as an interpreter does on its way out."""
    if not isinstance(code, str):
        return f"it ended by SystemExit({code!r})"
    print(code, file=sys.stderr)
    return code.strip().split("\n")[0].rstrip(".") or "it ended by SystemExit"


def call(given: Given) -> tuple[dict[str, Any], str | None]:
    """The head of the answer, and the file that follows it."""
    project = enter(given)
    hook_name = given["hook"]
    if hook_name == "convert_egg":
        return convert_egg(given)
    backend = load(given, project)
    hook = getattr(backend, hook_name, None)
    if hook is None:
        if hook_name in OPTIONAL:
            return {"value": []}, None
        return {"missing": True}, None
    if hook_name not in NEEDS_OUT:
        value = hook(given["settings"])
        if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
            raise Refusal(f"{hook_name} did not give a list of strings")
        return {"value": list(value)}, None
    name = os.path.basename(str(hook(given["out"], given["settings"])))
    made = os.path.join(given["out"], name)
    if hook_name in PREPARE:
        made = os.path.join(made, "METADATA")
    if not os.path.isfile(made):
        raise Refusal(f"{hook_name} said that it made {name!r}, and it did not")
    return {"name": name}, made


def enter(given: Given) -> str:
    """A copy of the sources, for a build writes among them; the working directory is its project."""
    if given["copy_from"]:
        shutil.copytree(given["copy_from"], given["source"], symlinks=True, ignore=ignoring(given["no_sources"]))
    os.makedirs(given["out"], exist_ok=True)
    project = os.path.join(given["source"], given["subdirectory"]).rstrip("/")
    inside = os.path.realpath(given["source"])
    if not os.path.isdir(project) or os.path.commonpath([inside, os.path.realpath(project)]) != inside:
        raise Refusal(f"it has no directory {given['subdirectory']!r}")
    os.chdir(project)
    return project


def ignoring(no_sources: list[str]) -> Callable[[str, list[str]], set[str]]:
    """Also every environment that lies among the sources."""

    def ignored(directory: str, names: list[str]) -> set[str]:
        environments = {name for name in names if os.path.isfile(os.path.join(directory, name, "pyvenv.cfg"))}
        return environments | (set(no_sources) & set(names))

    return ignored


def convert_egg(given: Given) -> tuple[dict[str, Any], str | None]:
    """By the converter of the `wheel` project; an egg is no source, so there is no hook for it."""
    (egg,) = os.listdir(given["source"])
    sys.argv = ["wheel", "convert", "-d", given["out"], os.path.join(given["source"], egg)]
    with suppress(SystemExit):
        runpy.run_module("wheel", run_name="__main__", alter_sys=True)
    made = os.listdir(given["out"])
    if len(made) != 1:
        raise Refusal(f"the converter made {len(made)} wheels of it")
    return {"name": made[0]}, os.path.join(given["out"], made[0])


def load(given: Given, project: str) -> Any:
    """The backend object (PEP 517, "Build backend interface")."""
    paths = [os.path.normpath(os.path.join(project, path)) for path in given["backend_path"]]
    sys.path[:0] = paths
    module_name, _, attributes = given["backend"].partition(":")
    try:
        backend = importlib.import_module(module_name)
    except ImportError as error:
        traceback.print_exc()
        raise Refusal(f"its backend {module_name!r} cannot be imported ({error})") from error
    if paths and not any(lies_in(path, backend) for path in paths):
        raise Refusal(f"its backend {module_name!r} does not lie in its backend-path, which PEP 517 demands")
    for attribute in filter(None, attributes.split(".")):
        backend = getattr(backend, attribute)
    return backend


def lies_in(path: str, module: Any) -> bool:
    origin = getattr(module, "__file__", None) or ""
    with suppress(ValueError):
        real = os.path.realpath(path)
        return os.path.commonpath([real, os.path.realpath(origin)]) == real
    return False


main()
