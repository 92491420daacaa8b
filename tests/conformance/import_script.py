"""Imports what a project installed, inside its environment: python -I import_script.py PROJECT [MODULE ...]

Prints one JSON document: the version, and each module with what it raised, or null. Without modules, those that its
RECORD names. For Python 3.8 and newer.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.metadata
import json
import re
import sys
import warnings

# What projects install beside what they are for; these import only with what their tests need.
NOT_MEANT = frozenset({"test", "tests", "testing", "docs", "doc", "example", "examples", "benchmarks"})


def main() -> None:
    warnings.simplefilter("ignore")
    installed = importlib.metadata.distribution(sys.argv[1])
    modules = sys.argv[2:] or modules_of([str(file) for file in installed.files or ()])
    print(json.dumps({"version": installed.version, "modules": {name: fault_of(name) for name in modules}}))


def modules_of(files: list[str]) -> list[str]:
    """The outermost packages and modules among the paths of a RECORD, sorted.

    Where no package has an `__init__`, as in a part of a namespace (PEP 420), the shallowest modules.
    """
    found = [parts for parts in map(module_of, files) if parts and all(part.isidentifier() for part in parts)]
    found = [parts for parts in found if parts[0] not in NOT_MEANT] or found
    packages = {parts[:-1] for parts in found if parts[-1] == "__init__" and len(parts) > 1}
    single = {parts for parts in found if len(parts) == 1}
    outermost = {parts for parts in packages if not any(parts[:length] in packages for length in range(1, len(parts)))}
    shallowest = min(map(len, found), default=0)
    chosen = outermost | single or {parts for parts in found if len(parts) == shallowest}
    return sorted(".".join(parts) for parts in chosen)


def module_of(path: str) -> tuple[str, ...]:
    """('google', 'auth', '__init__') for google/auth/__init__.py; () for what is no module."""
    suffix = next((one for one in importlib.machinery.all_suffixes() if path.endswith(one)), None)
    return tuple(re.split(r"[\\/]", path[: -len(suffix)])) if suffix is not None else ()


def fault_of(module: str) -> str | None:
    """None where it imports; whatever it raises is its own, a SystemExit too."""
    try:
        importlib.import_module(module)
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return None


if __name__ == "__main__":
    main()
