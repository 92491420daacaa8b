"""Verifies attestations, as a program of its own. stdin: [[file name, sha256, base64 of a provenance object], …].

stdout: for each [publishers, why not, unknown kinds], as JSON; "why not" is "" where every attestation of a known kind
holds.
"""

from __future__ import annotations

import base64
import json
import logging
import sys
from typing import Any

from pydantic import ValidationError
from pypi_attestations import AttestationBundle, AttestationError, Distribution, Provenance
from sigstore.errors import Error as SigstoreError

# Of provenance objects (PEP 740).
VERSION = 1
# As an index writes it, for a sentence.
KIND_SIZE_MAX = 40


def main() -> None:
    logging.disable(logging.WARNING)
    answers = [_judged(name, sha256, base64.b64decode(text)) for name, sha256, text in json.load(sys.stdin)]
    json.dump(answers, sys.stdout)


def _judged(filename: str, sha256: str, content: bytes) -> tuple[list[str], str, list[str]]:
    try:
        bundles, unknown = _bundles(json.loads(content))
        dist = Distribution(name=filename, digest=sha256)
    except ValueError as error:
        return [], f"its provenance cannot be read ({str(error).splitlines()[0]})", []
    publishers = []
    for bundle in bundles:
        for attestation in bundle.attestations:
            try:
                _verify(attestation, bundle.publisher, dist)
            except (AttestationError, SigstoreError, ValueError) as error:
                return [], f"an attestation does not hold: {str(error).splitlines()[0]}", unknown
        if bundle.attestations:
            publishers.append(_named(bundle.publisher))
    return publishers, "" if publishers or unknown else "its provenance holds no attestation", unknown


def _bundles(provenance: Any) -> tuple[list[AttestationBundle], list[str]]:
    """Those of the publishers that are known, and the kinds of the others. Raises ValueError for what is none."""
    if not isinstance(provenance, dict):
        raise ValueError("it is no JSON object")
    if (version := provenance.get("version")) != VERSION and type(version) is int:
        return [], [f"version {version}"]
    Provenance.model_validate({**provenance, "attestation_bundles": []})
    known, unknown = [], []
    for bundle in _rows(provenance):
        try:
            known.append(AttestationBundle.model_validate(bundle))
        except ValidationError as error:
            if not any(one["type"] == "union_tag_invalid" for one in error.errors()):
                raise
            unknown.append(str(bundle["publisher"]["kind"])[:KIND_SIZE_MAX])
    return known, unknown


def _rows(provenance: dict[str, Any]) -> list[Any]:
    rows = provenance.get("attestation_bundles")
    if not isinstance(rows, list):
        raise ValueError("it has no list of attestations")
    return rows


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
