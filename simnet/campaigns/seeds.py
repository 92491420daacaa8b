"""Seeds run one after the other in a child process. It is replaced now and then, and when a seed ends it: by a crash,
or by no end."""

from __future__ import annotations

import gc
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

from simnet import marks
from simnet.campaigns.outcome import Outcome

# A hundred times what a seed takes.
SEED_CPU_S_MAX = 20.0
# A child never collects garbage: that cost a thirtieth of its time. It leaves 0.4 MB a seed behind, and ends in time.
SEEDS_PER_CHILD = 250
MEMORY = Path("/dev/shm")
Run = Callable[[int], Outcome]


@dataclass(frozen=True, slots=True)
class Told:
    """A seed's outcome, the marks it reached, and the CPU time that it took, with what its process did before it."""

    seed: int
    outcome: Outcome
    marks: dict[str, int] = field(default_factory=dict)
    cpu_s: float = 0.0


def scratch() -> Path:
    """A directory for one run, in memory where possible. Whoever ends this process knows which are its own."""
    return Path(tempfile.mkdtemp(prefix=f"simnet-{os.getpid()}-", dir=MEMORY if MEMORY.is_dir() else None))


def run_seed(run: Run, seed: int) -> Outcome:
    """In this process. An exception that leaves a scenario is a failure of its seed."""
    try:
        return run(seed)
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is not None:
            raise KeyboardInterrupt from None
        return Outcome([f"an exception left the scenario: {_sentence(group)}"], "")
    except Exception as error:
        return Outcome([f"an exception left the scenario: {_sentence(error)}"], "")


def run_seeds(run: Run, seeds: Iterable[int]) -> Iterator[Told]:
    """Each seed's outcome, in their order; `seeds` is asked for the next one when the last has ended."""
    child: _Child | None = None
    try:
        for seed in seeds:
            child = child or _Child(run)
            told = child.ask(seed)
            child.seeds += 1
            if told is None:
                child.end()
                why = f"it ended the process ({child.how})"
                told, child = Told(seed, Outcome([child.last_words or why], "")), None
            elif child.seeds == SEEDS_PER_CHILD:
                child.end()
                child = None
            yield told
    finally:
        if child is not None:
            child.end()


class _Child:
    """The process, and the two pipes to it."""

    def __init__(self, run: Run) -> None:
        self.last_words = ""
        self.how = ""
        self.seeds = 0
        here_in, there_out = os.pipe()
        there_in, here_out = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.process = os.fork()
        if self.process == 0:
            os.close(here_in)
            os.close(here_out)
            _serve(run, os.fdopen(there_in), os.fdopen(there_out, "w"))
        os.close(there_in)
        os.close(there_out)
        self._answers = os.fdopen(here_in)
        self._questions = os.fdopen(here_out, "w")

    def ask(self, seed: int) -> Told | None:
        """None where the process ended over it."""
        try:
            self._questions.write(f"{seed}\n")
            self._questions.flush()
        except BrokenPipeError:
            return None
        line = self._answers.readline()
        if not line:
            return None
        told = json.loads(line)
        if "last_words" in told:
            self.last_words = told["last_words"]
            return None
        return Told(seed, Outcome(told["failures"], told["digest"]), told["marks"], told["cpu_s"])

    def end(self) -> None:
        self._answers.close()
        try:
            self._questions.close()
        except BrokenPipeError:
            self.how = "it was gone already"
        _, status = os.waitpid(self.process, 0)
        code = os.waitstatus_to_exitcode(status)
        self.how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        for left in (MEMORY if MEMORY.is_dir() else Path(tempfile.gettempdir())).glob(f"simnet-{self.process}-*"):
            shutil.rmtree(left, ignore_errors=True)


def _serve(run: Run, questions: IO[str], answers: IO[str]) -> NoReturn:
    """The child's whole life."""

    def out_of_time(_: int, frame: FrameType | None) -> NoReturn:
        where = [
            f"{'/'.join(Path(one.filename).parts[-2:])}:{one.lineno}" for one in traceback.extract_stack(frame)[-6:]
        ]
        words = f"it did not end within {SEED_CPU_S_MAX:g} s of CPU time; it was at {', '.join(where)}"
        answers.write(json.dumps({"last_words": words}) + "\n")
        answers.flush()
        os._exit(3)

    logging.basicConfig(level=logging.CRITICAL)  # a scenario that wants to hear its nodes listens to them
    signal.signal(signal.SIGVTALRM, out_of_time)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    gc.collect()
    gc.freeze()
    gc.disable()
    spent_s = 0.0
    try:
        for line in questions:
            marks.forget()
            signal.setitimer(signal.ITIMER_VIRTUAL, SEED_CPU_S_MAX)
            outcome = run_seed(run, int(line))
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            before_s, spent_s = spent_s, time.process_time()
            told = {
                "failures": list(outcome.failures),
                "digest": outcome.digest,
                "marks": marks.seen(),
                "cpu_s": spent_s - before_s,
            }
            answers.write(json.dumps(told) + "\n")
            answers.flush()
    except BaseException:
        traceback.print_exc()
        os._exit(4)
    os._exit(0)


def _sentence(error: BaseException) -> str:
    """The innermost cause, with the place in our code: groups of one tell nothing else."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    place, step = "", error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        if "p2pcdn" in code.co_filename or "simnet" in code.co_filename:
            place = f" ({'/'.join(code.co_filename.split('/')[-2:])}:{step.tb_lineno})"
        step = step.tb_next
    return f"{error!r}{place}"
