"""The manifest of pip's tests is well-formed: every exclusion has a reason, and the counts add up."""

from __future__ import annotations

import re

from tests.conformance.manifest import EVERY, read_manifest

MANIFEST = read_manifest()


def test_every_file_stands_in_it_once() -> None:
    names = [file.name for file in MANIFEST.files]
    assert len(set(names)) == len(names) == 68
    assert re.fullmatch(r"[0-9a-f]{40}", MANIFEST.commit)


def test_every_exclusion_has_a_reason_that_says_something() -> None:
    for file in MANIFEST.files:
        for one in file.exclusions:
            assert len(one.reason) > 40, (file.name, one.tests)
            assert one.tests, file.name
            assert one.count > 0, file.name


def test_the_counts_of_every_file_add_up() -> None:
    for file in MANIFEST.files:
        assert file.counted + sum(one.count for one in file.exclusions) == file.collected, file.name
    assert sum(file.collected for file in MANIFEST.files) == MANIFEST.collected
    assert sum(file.counted for file in MANIFEST.files) == MANIFEST.counted


def test_no_test_is_excluded_twice() -> None:
    for file in MANIFEST.files:
        names = [name for one in file.exclusions for name in one.tests]
        assert len(set(names)) == len(names), file.name
        assert EVERY not in names or names == [EVERY], file.name


def test_an_exclusion_without_brackets_covers_all_parameters() -> None:
    file = MANIFEST.file("test_completion.py")
    assert file is not None
    assert file.why_out("test_completion_for_supported_shells[bash]")
    hashes = MANIFEST.file("test_hash.py")
    assert hashes is not None
    assert hashes.why_out("test_basic_hash") is None
