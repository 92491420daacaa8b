"""Values of this room as tuples of plain things, which CBOR or a pipe can carry, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Value = TypeVar("Value")

_ATOMS = (str, bool, int)


def to_plain(value: Any) -> Any:
    """A dataclass or named tuple becomes the tuple of its fields; tuples, strings, numbers, booleans and None stay."""
    if isinstance(value, tuple):  # a named one, too
        return tuple([to_plain(part) for part in value])
    if is_dataclass(value):
        return tuple([to_plain(getattr(value, name)) for name in _names(value.__class__)])
    return value


def from_plain(kind: type[Value], plain: Any) -> Value:
    """The value of this dataclass or named tuple that `plain` was; lists do for tuples.

    Raises ValueError for another shape.
    """
    build: Callable[[Any], Any] = _builder(kind)  # type: ignore[arg-type]  # a class is hashable
    built = build(plain)
    assert isinstance(built, kind)
    return built


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else kind._fields


@cache
def _builder(kind: Any) -> Callable[[Any], Any]:
    """What turns the plain form of one type into it."""
    origin, parts = get_origin(kind), get_args(kind)
    if is_dataclass(kind) or hasattr(kind, "_fields"):
        return _fields_builder(kind)
    if origin is tuple:
        return _tuple_builder(parts)
    if origin in (Union, UnionType):
        return _optional_builder(parts)
    if origin is Literal:
        return _choice_builder(parts)
    return _atom_builder(kind)


def _fields_builder(kind: Any) -> Callable[[Any], Any]:
    hints = get_type_hints(kind)
    kinds = [hints[name] for name in _names(kind)]
    # A table has thousands of strings: they are looked at here, without a call for each.
    atoms = [(place, one) for place, one in enumerate(kinds) if one in _ATOMS]
    others = [(place, _builder(one)) for place, one in enumerate(kinds) if one not in _ATOMS]

    def build(plain: Any) -> Any:
        parts = list(_sequence(plain, kind.__name__))
        if len(parts) != len(kinds):
            raise ValueError(f"a {kind.__name__} has {len(kinds)} fields, not {len(parts)}")
        for place, atom in atoms:
            if type(parts[place]) is not atom:
                raise ValueError(f"{parts[place]!r} is no {atom.__name__}")
        for place, one in others:
            parts[place] = one(parts[place])
        return kind(*parts)

    return build


def _tuple_builder(parts: tuple[Any, ...]) -> Callable[[Any], Any]:
    builders = [_builder(part) for part in parts if part is not Ellipsis]
    if len(builders) == len(parts):
        return lambda plain: tuple([b(part) for b, part in zip(builders, _sequence(plain, "tuple"), strict=True)])
    (one,) = builders
    return lambda plain: tuple([one(part) for part in _sequence(plain, "tuple")])


def _optional_builder(parts: tuple[Any, ...]) -> Callable[[Any], Any]:
    (present,) = [_builder(part) for part in parts if part is not type(None)]
    return lambda plain: None if plain is None else present(plain)


def _choice_builder(choices: tuple[Any, ...]) -> Callable[[Any], Any]:
    def build(plain: Any) -> Any:
        if plain not in choices:
            raise ValueError(f"{plain!r} is none of {', '.join(choices)}")
        return plain

    return build


def _atom_builder(kind: type) -> Callable[[Any], Any]:
    def build(plain: Any) -> Any:
        if type(plain) is not kind:
            raise ValueError(f"{plain!r} is no {kind.__name__}")
        return plain

    return build


def _sequence(plain: Any, what: str) -> list[Any] | tuple[Any, ...]:
    if not isinstance(plain, list | tuple):
        raise ValueError(f"{plain!r} is no {what}")
    return plain
