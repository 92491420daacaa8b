"""Which form of a page a client gets: content negotiation (PEP 691; RFC 9110, section 12.5.1)."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache


class MediaType(StrEnum):
    """The three forms of a page, in the order in which we prefer to send them."""

    JSON = "application/vnd.pypi.simple.v1+json"
    HTML = "application/vnd.pypi.simple.v1+html"
    LEGACY_HTML = "text/html"


# What names a form in `Accept` and in `?format=`. `latest` asks for the newest version we speak, which is v1.
_NAMES = {
    "application/vnd.pypi.simple.v1+json": MediaType.JSON,
    "application/vnd.pypi.simple.latest+json": MediaType.JSON,
    "application/vnd.pypi.simple.v1+html": MediaType.HTML,
    "application/vnd.pypi.simple.latest+html": MediaType.HTML,
    "text/html": MediaType.LEGACY_HTML,
}

# A browser sends ten ranges; what stands behind the hundredth is ignored.
_RANGES_MAX = 100
# Installers send some 120 characters. Longer texts are read each time, so that remembered ones stay below 1 MB.
_REMEMBERED_LENGTH_MAX = 1024
_REMEMBERED_MAX = 256

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_WEIGHT = re.compile(r"0(?:\.[0-9]*)?|1(?:\.0*)?", re.ASCII)


def negotiate(accept: str | None, format_: str | None) -> MediaType | None:
    """The form to answer with, or None where none is acceptable (406).

    accept: the `Accept` header, several joined with ", "; without one, or with one that says nothing, the answer is
    text/html as PEP 691 advises. format_: the value of `?format=`, which wins over the header.
    """
    if format_ is not None:
        # An unescaped "+" of a query arrives as a blank where the caller decoded it as a form.
        return _NAMES.get(format_.strip().lower().replace(" ", "+"))
    if accept is None:
        return MediaType.LEGACY_HTML
    if len(accept) > _REMEMBERED_LENGTH_MAX:
        return _best(accept)
    return _remembered(accept)


def _best(accept: str) -> MediaType | None:
    ranges = _weights(accept)
    if not ranges:
        return MediaType.LEGACY_HTML
    # A type's weight is that of the most specific range that matches it; among equals the more specific range wins,
    # then our order. Under a bare `*/*` the client named nothing, so it gets what it would get without a header.
    ranked = []
    for place, form in enumerate(MediaType):
        weight, specificity = _weight_of(form, ranges)
        default = form is MediaType.LEGACY_HTML and specificity == 0
        if weight > 0:
            ranked.append((weight, specificity, default, -place, form))
    return max(ranked)[-1] if ranked else None


_remembered = lru_cache(maxsize=_REMEMBERED_MAX)(_best)


def _weight_of(form: MediaType, ranges: dict[str, float]) -> tuple[float, int]:
    exact = [ranges[name] for name, meant in _NAMES.items() if meant is form and name in ranges]
    if exact:
        return max(exact), 2
    family = form.split("/", 1)[0] + "/*"
    if family in ranges:
        return ranges[family], 1
    return ranges.get("*/*", 0.0), 0


def _weights(accept: str) -> dict[str, float]:
    """The weight of each media range. Ranges that are no ranges, or have a weight that is none, are ignored."""
    ranges: dict[str, float] = {}
    for element in _QUOTED.sub('""', accept).split(",", _RANGES_MAX)[:_RANGES_MAX]:
        name, *parameters = (part.strip().lower() for part in element.split(";"))
        weight = _weight(parameters)
        if "/" in name and weight is not None:
            ranges[name] = max(weight, ranges.get(name, 0.0))
    return ranges


def _weight(parameters: list[str]) -> float | None:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.rstrip() == "q":
            value = value.strip()
            return float(value) if _WEIGHT.fullmatch(value) else None
    return 1.0
