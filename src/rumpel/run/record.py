# SPDX-License-Identifier: GPL-2.0-only
"""Classes that are their attributes: as dataclasses, whose import takes longer than a boot."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self, dataclass_transform
else:

    def dataclass_transform() -> object:
        """Type checkers know it, and read what is derived from its class as dataclasses."""
        return lambda decorated: decorated


__all__ = ["Record"]


@dataclass_transform()
class Record:
    """Attributes are those that a class annotates; what it sets them to is their default.

    They are given by position or by name, are what is compared and shown, and
    ``__post_init__`` is called in the end. A default must be nothing that changes.

    Example:
        >>> class Point(Record):
        ...     x: int
        ...     y: int = 0
        >>> Point(1).but(y=2)
        Point(x=1, y=2)
    """

    def __init__(self, *values: Any, **more: Any) -> None:
        names = self.__annotations__
        if len(values) > len(names):
            raise TypeError(f"{type(self).__name__} has {len(names)} attributes, not {len(values)}")
        given = dict(zip(names, values, strict=False))
        for name, value in more.items():
            if name not in names or name in given:
                raise TypeError(f"{type(self).__name__} takes no {name}, or not twice")
            given[name] = value
        for name in names:
            if name not in given and not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} needs {name}")
        vars(self).update(given)
        self.__post_init__()

    def __post_init__(self) -> None:
        """Check what was given."""

    def values(self) -> dict[str, Any]:
        """All of its attributes."""
        return {name: getattr(self, name) for name in self.__annotations__}

    def but(self, **changes: Any) -> Self:
        """The same, but for some attributes."""
        return type(self)(**{**self.values(), **changes})

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Record)
            and type(self) is type(other)
            and self.values() == other.values()
        )

    __hash__ = None  # type: ignore[assignment] # what can change has none

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.values().items())
        return f"{type(self).__name__}({shown})"
