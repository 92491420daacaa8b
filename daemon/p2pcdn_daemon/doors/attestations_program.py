"""Verifies attestations, as a program of its own. stdin: [[file name, sha256, base64 of a provenance object], …].

stdout: for each [publishers, why not], as JSON; "why not" is "" where every attestation holds.
"""

from __future__ import annotations

import base64
import json
import logging
import sys
from typing import Any

from pypi_attestations import AttestationError, Distribution, Provenance
from sigstore.errors import Error as SigstoreError


def main() -> None:
    logging.disable(logging.WARNING)
    answers = [_judged(name, sha256, base64.b64decode(text)) for name, sha256, text in json.load(sys.stdin)]
    json.dump(answers, sys.stdout)


def _judged(filename: str, sha256: str, content: bytes) -> tuple[list[str], str]:
    try:
        provenance = Provenance.model_validate_json(content)
        dist = Distribution(name=filename, digest=sha256)
    except ValueError as error:
        return [], f"its provenance cannot be read ({str(error).splitlines()[0]})"
    publishers = []
    for bundle in provenance.attestation_bundles:
        for attestation in bundle.attestations:
            try:
                _verify(attestation, bundle.publisher, dist)
            except (AttestationError, SigstoreError, ValueError) as error:
                return [], f"an attestation does not hold: {str(error).splitlines()[0]}"
        if bundle.attestations:
            publishers.append(_named(bundle.publisher))
    return publishers, "" if publishers else "its provenance holds no attestation"


def _verify(attestation: Any, publisher: Any, dist: Any) -> None:
    """By the keys that came with the verifier; where they do not do, by those of today, if they can be had."""
    try:
        attestation.verify(publisher, dist, offline=True)
    except (AttestationError, SigstoreError) as error:
        try:
            attestation.verify(publisher, dist)
        except (AttestationError, SigstoreError, OSError):
            raise error from None


def _named(publisher: Any) -> str:
    """Such as "GitHub pallets/flask publish.yml"."""
    told = publisher.model_dump(mode="json")
    words = [told.get("kind"), told.get("repository") or told.get("email") or told.get("project_id")]
    workflow = told.get("workflow") or told.get("workflow_filepath")
    return " ".join(str(word) for word in (*words, workflow) if word)


if __name__ == "__main__":
    main()
