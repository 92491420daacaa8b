"""Five whole nodes and their users while wires, disks, machines, neighbours and the upstream go wrong.

Each user takes files through the node of its own machine and hashes every body. Checked: a completed answer is right;
what a catalog listed when its machine went down is there and whole when it is back; after all has healed every user has
got what it wanted in time; nothing but the sentences that belong to the faults stands in the log; the upstream sent no
more than the faults explain.
"""

from simnet.scenarios.faults.story import MARKS, run

__all__ = ["MARKS", "run"]
