"""The verifier of attestations: the real one where it is installed (`pip install 'p2pcdn[attestations]'`)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from p2pcdn.digest import Sha256
from p2pcdn.errors import Refused
from p2pcdn.world import Statement
from p2pcdn_daemon.doors.attestations import PypiAttestations
from p2pcdn_daemon.doors.processes import RealProcesses

# As PyPI gave it for this file: the certificate and the log's entry are part of it, so it can be verified for ever.
FILENAME = "pypi_attestations-0.0.19.tar.gz"
SHA256 = Sha256("9bb1add04b1b4e182be6b0b80931593f7a291eb49d69b4fd728a5d4cbcdc4bd3")
PROVENANCE = Path(__file__).with_name(f"{FILENAME}.provenance").read_bytes()
INSTALLED = find_spec("pypi_attestations") is not None


async def test_a_true_attestation_names_its_publisher_and_a_wrong_one_says_why() -> None:
    verifier = PypiAttestations(RealProcesses())
    statements = [
        Statement(FILENAME, SHA256, PROVENANCE),
        Statement(FILENAME, Sha256("00" * 32), PROVENANCE),
        Statement(FILENAME, SHA256, PROVENANCE.replace(b'"release.yml"', b'"another.yml"')),
        Statement(FILENAME, SHA256, b"{}"),
        Statement(FILENAME, SHA256, b'{"version": 1, "attestation_bundles": []}'),
        Statement(FILENAME, SHA256, PROVENANCE.replace(b'"kind":"GitHub"', b'"kind":"Moon"')),
        Statement(FILENAME, SHA256, PROVENANCE.replace(b'"version":1', b'"version":2')),
        Statement(FILENAME, SHA256, b'{"version": 1, "attestation_bundles": [{}]}'),
    ]
    if not INSTALLED:
        with pytest.raises(Refused, match=r"p2pcdn\[attestations\]"):
            await verifier.verify(statements)
        pytest.skip("there is no verifier here: pip install 'p2pcdn[attestations]'")
    true, other_file, other_workflow, nonsense, empty, of_the_moon, later, broken = await verifier.verify(statements)
    assert true.publishers == ("GitHub trailofbits/pypi-attestations release.yml",)
    assert true.why == ""
    assert "does not match distribution digest" in other_file.why
    assert "does not hold" in other_workflow.why
    assert "cannot be read" in nonsense.why
    assert "holds no attestation" in empty.why
    assert (of_the_moon.publishers, of_the_moon.why, of_the_moon.unknown) == ((), "", ("Moon",))
    assert (later.why, later.unknown) == ("", ("version 2",))
    assert "cannot be read" in broken.why
