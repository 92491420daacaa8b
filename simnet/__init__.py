"""Many whole nodes in one process, on a simulated network, disk and clock, from a seed: `python -m simnet --help`.

Not shipped; nothing of the product knows of it. See `simnet/README.md`.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("p2pcdn_daemon") is None:  # a checkout that nobody installed
    sys.path.insert(1, str(Path(__file__).parent.parent / "daemon"))
