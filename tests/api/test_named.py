# SPDX-License-Identifier: GPL-2.0-only
"""Tuples with names, made without typing, do what those of typing do."""

from __future__ import annotations

import copy
import json
import pickle
import typing

import pytest

from rumpel import named


class Ours(named.NamedTuple):
    """Of two items."""

    x: int
    y: str = "b"

    def both(self) -> str:
        return f"{self.x}{self.y}"


class Theirs(typing.NamedTuple):
    """The same."""

    x: int
    y: str = "b"

    def both(self) -> str:
        return f"{self.x}{self.y}"


Either = type[Ours] | type[Theirs]


def told(kind: Either) -> list[object]:
    """What can be asked of both."""
    one = kind(1)
    match one:
        case (x, y):
            matched = x, y
    return [
        *(
            one.x,
            one.y,
            one.both(),
            *one,
            one[0],
            len(one),
            one == (1, "b"),
            hash(one) == hash((1, "b")),
        ),
        *(one < kind(2), kind(x=3, y="c"), kind(4, y="d"), kind._make([5, "e"]), matched),
        *(
            one._replace(y="z"),
            one._asdict(),
            kind._fields,
            kind.__match_args__,
            kind._field_defaults,
        ),
        *(copy.deepcopy(one), pickle.loads(pickle.dumps(one)), type(copy.copy(one)) is kind),
        *(json.dumps(one), isinstance(one, tuple), hasattr(one, "__dict__"), kind.__doc__ is None),
    ]


def test_as_of_typing() -> None:
    """Items, defaults, comparison, copies, what is shown."""
    assert [str(each).replace("Ours", "Theirs") for each in told(Ours)] == list(
        map(str, told(Theirs))
    )


@pytest.mark.parametrize("kind", [Ours, Theirs])
def test_mistakes(kind: typing.Any) -> None:
    """Items that are missing, too many, given twice or unknown, and those that shall change."""
    for values, more in [((), {}), ((1, "2", 3), {}), ((1,), {"x": 2}), ((1,), {"z": 2})]:
        with pytest.raises(TypeError):
            kind(*values, **more)
    with pytest.raises(AttributeError):
        kind(1).x = 2
