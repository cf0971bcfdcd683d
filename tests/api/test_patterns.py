# SPDX-License-Identifier: GPL-2.0-only
"""Patterns of the shell, matched without ``re``."""

from __future__ import annotations

import itertools
import random
from fnmatch import fnmatchcase

import pytest

from rumpel.copying.patterns import matches


def test_short_ones() -> None:
    """All of up to three characters say what :mod:`fnmatch` says, of names of up to two."""
    names = ["".join(some) for size in range(3) for some in itertools.product("ab]-!", repeat=size)]
    for size in range(4):
        for some in itertools.product("*?[]!-ab", repeat=size):
            pattern = "".join(some)
            for name in names:
                assert matches(name, pattern) == fnmatchcase(name, pattern), (name, pattern)


@pytest.mark.parametrize("seed", range(4))
def test_long_ones(seed: int) -> None:
    """So do longer ones, with what regular expressions take for something else."""
    some = random.Random(seed)
    for _ in range(2000):
        pattern = "".join(some.choices("**?[[]!-abc\n\\^&~|.+(/ä", k=some.randrange(10)))
        name = "".join(some.choices("abc[]!-\n\\^&~|.+(/ä", k=some.randrange(9)))
        assert matches(name, pattern) == fnmatchcase(name, pattern), (name, pattern)


def test_many_stars() -> None:
    """It takes no longer than name times pattern."""
    assert not matches("a" * 2000, "*a" * 20 + "b")
