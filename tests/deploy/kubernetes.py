"""Kubernetes manifests against the API's own types, as lightkube-models has them from its OpenAPI description.

The API server drops a field that it does not know with a warning that nobody reads; here it is an error.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect


def faults(manifest: dict[str, Any]) -> list[str]:
    """What is wrong with one object, each fault with the path to it."""
    group, _, version = str(manifest.get("apiVersion", "")).rpartition("/")
    module = f"lightkube.models.{group.split('.')[0] or 'core'}_{version}"
    try:
        kind = getattr(importlib.import_module(module), str(manifest.get("kind")))
    except (ImportError, AttributeError):
        return [f"there is no {manifest.get('kind')} in {manifest.get('apiVersion')}"]
    found = list(_unknown_fields(manifest, inspect.type_info(kind), manifest["kind"]))
    try:
        msgspec.convert(manifest, kind)
    except msgspec.ValidationError as error:
        found.append(str(error))
    return found


def _unknown_fields(value: Any, wanted: inspect.Type, where: str) -> Iterator[str]:
    match value, wanted:
        case _, inspect.UnionType(types=choices):
            for choice in choices:
                yield from _unknown_fields(value, choice, where)
        case list(), inspect.ListType(item_type=item):
            for number, one in enumerate(value):
                yield from _unknown_fields(one, item, f"{where}[{number}]")
        case dict(), inspect.DictType(value_type=item):
            for key, one in value.items():
                yield from _unknown_fields(one, item, f"{where}.{key}")
        case dict(), inspect.StructType(fields=fields):
            known = {field.encode_name: field.type for field in fields}
            for key, one in value.items():
                if key in known:
                    yield from _unknown_fields(one, known[key], f"{where}.{key}")
                else:
                    yield f"{where}: there is no field {key!r}"
