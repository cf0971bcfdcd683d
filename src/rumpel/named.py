# SPDX-License-Identifier: GPL-2.0-only
"""Tuples whose items have names, as of :class:`typing.NamedTuple`, without the import of typing.

That takes 10 ms where all of a command's imports take 30, and each class half a millisecond.
Type checkers see the one of typing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple, Self

    def _tuplegetter(at: int, doc: str | None) -> Any:
        """Makes the property of an item."""
else:
    from _collections import _tuplegetter

__all__ = ["NamedTuple"]


class _Type(type):
    """Makes of what a class annotates its items; what it sets them to is their default."""

    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> _Type:
        if "__annotations__" in body and "_fields" not in body:
            fields = tuple(body["__annotations__"])
            body["_field_defaults"] = {each: body[each] for each in fields if each in body}
            body.update({each: _tuplegetter(at, None) for at, each in enumerate(fields)})
            body["_fields"] = body["__match_args__"] = fields
            body["__slots__"] = ()
        return super().__new__(cls, name, bases, body)


class _Tuple(tuple["Any", ...], metaclass=_Type):
    """What :class:`typing.NamedTuple` says of its methods holds for these.

    Example:
        >>> class Point(NamedTuple):
        ...     x: int
        ...     y: int = 0
        >>> Point(1)._replace(y=2)
        Point(x=1, y=2)
    """

    __slots__ = ()
    _fields: tuple[str, ...] = ()
    _field_defaults: dict[str, Any] = {}  # noqa: RUF012 - each class has its own

    def __new__(cls, *values: Any, **more: Any) -> Self:
        if more or len(values) != len(cls._fields):
            values += cls._rest(len(values), more)
        return tuple.__new__(cls, values)

    @classmethod
    def _rest(cls, count: int, more: dict[str, Any]) -> tuple[Any, ...]:
        """The items behind those that were given by position."""
        fields = cls._fields
        if count > len(fields):
            raise TypeError(f"{cls.__name__} has {len(fields)} items, not {count}")
        if unknown := more.keys() - set(fields[count:]):
            raise TypeError(f"{cls.__name__} takes no {min(unknown)}, or not twice")
        given = {**cls._field_defaults, **more}
        if missing := [each for each in fields[count:] if each not in given]:
            raise TypeError(f"{cls.__name__} needs {missing[0]}")
        return tuple(given[each] for each in fields[count:])

    @classmethod
    def _make(cls, values: Any) -> Self:
        return cls(*values)

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._fields, self, strict=True))

    def _replace(self, **changes: Any) -> Self:
        return type(self)(**{**self._asdict(), **changes})

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
        return f"{type(self).__name__}({shown})"


if not TYPE_CHECKING:
    NamedTuple = _Tuple
