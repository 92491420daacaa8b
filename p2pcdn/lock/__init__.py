"""Requirements in, a lock out: what a node does with the resolver, which runs in a process of its own.

Two sides. `worker.py` and `pipe.py` are the solver's process: they import no trio, and nothing of the node. The others
are the node's: `solvers.py` starts the process and speaks with it, `feed.py` gives it the tables and metadata of
`facts.py`, `targets.py` says for which environments a lock is made, `outcomes.py` what becomes of each, `merge.py`
makes one list of packages of their solutions, `publishers.py` asks who published them, `compose.py` writes it as a
lock, `locker.py` does it all. `question.py` is what zephyr asks, `wishes.py` the same as the node has it; `kept.py`
and `kept_files.py` are the form of what is kept. `room.py` asks the neighbours, who answer with a `certificate.py`.

This file imports nothing, so that the worker starts quickly.
"""
