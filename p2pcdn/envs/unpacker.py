"""A process of its own that unpacks wheels for its node: one question a line on stdin, one answer each on stdout.

["/store/blobs/…", "six-1.17.0-py2.py3-none-any.whl", "/store/trees/…"]     asked
{"size_bytes": 34513, "listing_bytes": 812}                                  a line, and then the listing itself
{"bad": "…"}   {"errno": 28, "text": "…"}                                    it is no wheel; the disk failed
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import BinaryIO

from p2pcdn.envs.errors import BadWheel
from p2pcdn.envs.unpack import unpack


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Until the node closes its end."""
    for line in questions:
        head, listing = answer(*json.loads(line))
        answers.write(json.dumps(head).encode() + b"\n" + listing)
        answers.flush()


def answer(wheel: str, filename: str, tree: str) -> tuple[dict[str, object], bytes]:
    """What is said in a line, and what follows it."""
    try:
        listing = unpack(Path(wheel), filename, Path(tree))
    except BadWheel as error:
        return {"bad": str(error)}, b""
    except OSError as error:
        return {"errno": error.errno, "text": error.strerror or str(error)}, b""
    octets = listing.encode()
    return {"size_bytes": listing.size_bytes, "listing_bytes": len(octets)}, octets


# Python looks for cycles whenever 700 objects more live than before: a wheel's members are three for each file, and in
# cycles none.
OBJECTS_BETWEEN_LOOKS = 50_000


def main() -> None:
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN_LOOKS)
    serve(sys.stdin.buffer, sys.stdout.buffer)
