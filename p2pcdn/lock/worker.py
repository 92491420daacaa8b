"""The solver's own process: reads what is wanted and known from stdin, answers on stdout, one session after another.

A session is the targets of one lock: what was learned for the first of them is known for the others. The node speaks
first; each of its messages gets one answer, but `forget`, which gets none:

    {"do": "forget"}                                               a new session begins
    {"do": "resolve", "wanted": W, "target": T,                    need, solved, lacking (if it spares), none or bad
     "spares": bool, "advises": bool, "for_build": bool}
    {"do": "learn", "tables": [...], "metadata": [...]}            the same
"""

from __future__ import annotations

import gc
import resource
import sys
from typing import Any, BinaryIO

from p2pcdn.lock import pipe
from p2pcdn.lock.kept import decode_table
from p2pcdn.resolve import (
    BadRequirement,
    Knowledge,
    LacksFiles,
    NoSolution,
    Resolver,
    Solution,
    Source,
    Target,
    Wanted,
    from_plain,
    to_plain,
)

# The hardest known input (boto3 with an old urllib3) stays below 250 MB; more is a fault or an attack.
MEMORY_SIZE_BYTES_MAX = 1024 * 1024 * 1024
# How a process ends that wanted more: the node makes a sentence of it.
EXIT_OUT_OF_MEMORY = 3


class Session:
    """What is known, and the resolution that runs."""

    def __init__(self) -> None:
        self._knowledge = Knowledge()
        self._resolver: Resolver | None = None

    def answer(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """What is said to a message. Raises ValueError, KeyError for one that is none of ours."""
        if message["do"] == "forget":
            self.__init__()  # type: ignore[misc]  # the plainest way to forget everything
            gc.collect()  # while nobody waits; it idles for a minute
            return None
        try:
            if message["do"] == "resolve":
                wanted, target = from_plain(Wanted, message["wanted"]), from_plain(Target, message["target"])
                how = {name: bool(message[name]) for name in ("spares", "advises", "for_build")}
                self._resolver = Resolver(wanted, target, self._knowledge, **how)
            else:
                self._learn(message["tables"], message["metadata"])
            return self._step()
        except BadRequirement as error:
            return {"say": "bad", "sentence": str(error)}
        except NoSolution as error:
            proof = {"sentences": error.sentences, "suggestion": error.suggestion, "requirements": error.requirements}
            return {"say": "none", **proof}

    def _learn(self, tables: list[bytes], metadata: list[list[Any]]) -> None:
        """tables: encoded, as the node keeps them; metadata: [source, the rest of it]."""
        assert self._resolver is not None
        self._knowledge.learn(map(decode_table, tables))
        for plain, octets in metadata:
            source = from_plain(Source, plain)
            self._knowledge.learn_said(source.project, {source.key: octets})

    def _step(self) -> dict[str, Any]:
        assert self._resolver is not None
        try:
            found = self._resolver.step()
        except LacksFiles as outcome:
            return {"say": "lacking", "clauses": outcome.clauses, **self._looked_at()}
        if isinstance(found, Solution):
            return {"say": "solved", "solution": to_plain(found), **self._looked_at()}
        return {"say": "need", "need": to_plain(found), "stands_on": to_plain(self._resolver.stands_on)}

    def _looked_at(self) -> dict[str, Any]:
        assert self._resolver is not None
        found = {"looked_at": self._resolver.looked_at, "projects": self._resolver.projects}
        self._resolver = None
        return found


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Until the node closes its end."""
    session = Session()
    while (message := pipe.read(questions)) is not None:
        said = session.answer(message)
        if said is not None:
            answers.write(pipe.packed(said))
            answers.flush()


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_SIZE_BYTES_MAX, MEMORY_SIZE_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        serve(sys.stdin.buffer, sys.stdout.buffer)
    except MemoryError:
        sys.exit(EXIT_OUT_OF_MEMORY)


if __name__ == "__main__":
    main()
