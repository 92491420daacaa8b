"""Small programs to hold in, in the interpreter that runs the tests."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path

from p2pcdn.sandbox.run import user_outside
from p2pcdn.sandbox.spec import Bind, Limits, Spec

# The interpreter without an environment: its directory is shown, whatever lies above it is not.
PYTHON = os.path.realpath(sys.executable)
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/scratch/home", "LC_ALL": "C.UTF-8"}


# Root may become another user and give files away; root of a container of one user may not.
IS_ROOT = os.geteuid() == 0 and user_outside(Spec())[0] != 0


def spec(*binds: Bind, **limits: float) -> Spec:
    return Spec((Bind(Path(sys.base_prefix)), *binds), ENVIRONMENT, Limits(**limits))  # type: ignore[arg-type]


def python(code: str) -> list[str]:
    return [PYTHON, "-I", "-S", "-c", textwrap.dedent(code)]
