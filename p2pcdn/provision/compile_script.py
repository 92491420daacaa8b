"""Run by an interpreter of Python 3.8 or newer: compiles the sources that stdin names, one question a line.

A question is JSON: [directory of the sources, directory for the byte code, [path of a source below the first, ...]].
The answer is a JSON line: the paths of what was compiled, below the second directory. Sources that are none (templates,
another language's) are passed over, as an import of them would fail.
"""

from __future__ import annotations

import json
import os
import py_compile
import sys


def compile_one(sources: str, target: str, path: str) -> str | None:
    """The path of its byte code, or None."""
    folder, name = os.path.split(path)
    compiled = os.path.join(folder, "__pycache__", name[:-3] + "." + str(sys.implementation.cache_tag) + ".pyc")
    place = os.path.join(target, compiled)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    try:
        # An import corrects the file name that is written in it (PEP 3147); this one is at least readable.
        py_compile.compile(os.path.join(sources, path), place, dfile=path, doraise=True)
    except (py_compile.PyCompileError, SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None
    os.chmod(place, 0o444)
    return compiled.replace(os.sep, "/")


def main() -> None:
    sys.setrecursionlimit(5000)
    for line in sys.stdin:
        sources, target, paths = json.loads(line)
        done = [compile_one(sources, target, path) for path in paths]
        print(json.dumps([path for path in done if path is not None]), flush=True)


main()
