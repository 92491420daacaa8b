"""Who published a file, by its attestations (PEP 740): asked of another process, for verifiers are large."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from p2pcdn.errors import Refused
from p2pcdn.sandbox.run import drive
from p2pcdn.sandbox.spec import Limits
from p2pcdn.world import Processes, Statement, Verdict

EXTRA = "pip install 'p2pcdn[attestations]'"
# Importing takes two seconds, a statement some hundredths; a lock may have a thousand, on a slow machine.
_LIMITS = Limits(wall_s=300.0, stdout_bytes=8 * 1024 * 1024, stderr_bytes=1024 * 1024)


@dataclass(frozen=True, slots=True)
class PypiAttestations:
    """The `p2pcdn.world.Attestations` of the real world: the library of PyPI itself, where the extra is installed."""

    processes: Processes

    @property
    def can_verify(self) -> bool:
        return find_spec("pypi_attestations") is not None

    async def verify(self, statements: Sequence[Statement]) -> list[Verdict]:
        """See `p2pcdn.world.Attestations.verify`."""
        if not self.can_verify:
            raise Refused(f"This node cannot verify attestations: {EXTRA} where it runs, and restart it.")
        told = [[one.filename, one.sha256, base64.b64encode(one.provenance).decode()] for one in statements]
        argv = [sys.executable, "-P", "-m", "p2pcdn_daemon.doors.attestations_program"]
        try:
            async with self.processes.open(argv, os.environ) as process:
                outcome = await drive(process, _LIMITS, json.dumps(told).encode())
            rows = json.loads(outcome.stdout)
            return [Verdict(tuple(publishers), why, tuple(unknown)) for publishers, why, unknown in rows]
        except (OSError, ValueError, TypeError) as error:
            last = outcome.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] if "outcome" in locals() else []
            raise Refused(f"The verifier of attestations failed: {(last or [str(error)])[0][:300]}") from error
