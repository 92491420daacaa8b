"""Memory that was freed goes back: all threads of a node share the C library's one heap."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# In a process of its own, for it cannot be taken back. Threads that hold memory at the same time would each get a heap.
CODE = """
import ctypes, sys, threading
if sys.argv[2] == "little":
    from p2pcdn_daemon.serve.allocator import keep_little
    keep_little()
library = ctypes.CDLL(None)
library.malloc.restype = library.fopen.restype = ctypes.c_void_p
together = threading.Barrier(4)
def hold():
    together.wait()
    library.malloc(ctypes.c_size_t(5000))
    together.wait()
threads = [threading.Thread(target=hold) for _ in range(4)]
[one.start() for one in threads]
[one.join() for one in threads]
file = ctypes.c_void_p(library.fopen(sys.argv[1].encode(), b"w"))
library.malloc_info(0, file)
library.fclose(file)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what glibc does")
def test_threads_have_one_heap_together(tmp_path: Path) -> None:
    heaps = {}
    for how in ("little", "much"):
        told = tmp_path / how
        subprocess.run([sys.executable, "-c", CODE, told, how], check=True)
        heaps[how] = told.read_text().count("<heap ")
    assert heaps["little"] == 1
    assert heaps["much"] > 1, "else this test says nothing"
