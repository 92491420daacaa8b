"""Frozen values that cost no start-up time: what `@dataclass(frozen=True)` gives, without 8 ms of imports for it.

A type checker sees dataclasses (PEP 681). Nothing on the way of `zephyr --version` or of a new environment imports
`typing` either, so the guard is a plain constant, which checkers know as well. docs/decisions/ has the figures.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, Self, dataclass_transform
else:

    def dataclass_transform(**_):
        return lambda one: one


@dataclass_transform(frozen_default=True)
class Value:
    """Its fields are the annotations of its class, in that order; a class attribute is a field's default.

    Constructed by position or by name. Two of one class are equal where their fields are.
    """

    _names: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        cls._names = (*cls._names, *(name for name in cls.__annotations__ if name[0] != "_"))

    if not TYPE_CHECKING:

        def __init__(self, *values, **named):
            given = dict(zip(self._names, values, strict=False)) | named
            if len(values) > len(self._names) or len(given) != len(values) + len(named) or not self._names_all(given):
                raise TypeError(f"{type(self).__name__} takes {', '.join(self._names)}")
            self.__dict__.update(given)

    def _names_all(self, given: dict[str, Any]) -> bool:
        """Whether every field that has no default is given, and nothing else."""
        return given.keys() <= set(self._names) and all(name in given or hasattr(self, name) for name in self._names)

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._names}

    def but(self, **named: Any) -> Self:
        """The same with some fields changed."""
        return type(self)(**{**self.as_dict(), **named})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} never changes")

    def __eq__(self, other: object) -> bool:
        return self.as_dict() == other.as_dict() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self.as_dict().values()))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.as_dict().items())
        return f"{type(self).__name__}({fields})"
