"""Scripts that name the interpreter of their environment: entry points, and `#!python` files (PEP 427; entry
points).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from p2pcdn.envs.plan import Kind

# The kernel reads so much of a first line (BINPRM_BUF_SIZE is 256 since Linux 5.1; 128 before, with the newline).
SHEBANG_SIZE_BYTES_MAX = 127


def entry_point_text(python: str, value: str) -> bytes:
    """A script that calls "module:attribute". pip's name is stripped of `.exe` too, so that usage texts look alike."""
    module, _, attribute = value.partition(":")
    name = attribute.partition(".")[0]
    return (
        shebang(python)
        + (
            f"import sys\n"
            f"from {module} import {name}\n"
            f'if __name__ == "__main__":\n'
            f'    sys.argv[0] = sys.argv[0].removesuffix(".exe")\n'
            f"    sys.exit({attribute}())\n"
        ).encode()
    )


def rewritten(python: str, content: bytes) -> bytes:
    """A script of a wheel with the interpreter in place of its first line, whose arguments stay."""
    first, newline, rest = content.partition(b"\n")
    _, _, arguments = first.rstrip(b"\r").partition(b" ")
    return shebang(python, arguments.decode("utf-8", "replace")) + (rest if newline else b"")


def shebang(python: str, arguments: str = "") -> bytes:
    """The first line; for a path that a kernel would cut or split, a shell that starts the interpreter in its place."""
    line = f"#!{python} {arguments}".rstrip()
    if len(line.encode()) <= SHEBANG_SIZE_BYTES_MAX and " " not in python:
        return line.encode() + b"\n"
    # To the shell this is one command that never returns, to Python a string.
    quoted = python.replace("'", "'\"'\"'")
    words = f"'{quoted}' {arguments}".rstrip()
    return f"#!/bin/sh\n'''exec' {words} \"$0\" \"$@\"\n' '''\n".encode()


def launcher_file(launcher: bytes, python: str, kind: Kind, script: bytes) -> bytes:
    """A Windows program: the launcher's code, the interpreter's line, and a zip with the script as its main module.

    launcher: of the kind that pip, uv and distlib use ("t64.exe", "w64.exe"); it reads what stands behind itself.
    """
    import io
    import zipfile

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("__main__.py", (1980, 1, 1, 0, 0, 0)), script)
    if kind in ("gui", "guifile"):
        python = python.replace("python.exe", "pythonw.exe")
    quoted = f'"{python}"' if " " in python else python
    return launcher + f"#!{quoted}\r\n".encode() + packed.getvalue()
