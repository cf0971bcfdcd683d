# SPDX-License-Identifier: GPL-2.0-only
"""What became of each test of a suite. Of the standard library alone, for any interpreter."""

from __future__ import annotations

import importlib
import sys
import time
import unittest
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Outcomes", "be_patient", "every", "test_name"]


def test_name(test: unittest.TestCase) -> str:
    """Class and method."""
    return test.id().removeprefix(f"{type(test).__module__}.")


class Outcomes(unittest.TestResult):
    """What became of each test: ``passed``, or ``failed`` or ``skipped`` with the reason.

    Args:
        name: says what a test is called.
    """

    def __init__(self, name: Callable[[unittest.TestCase], str] = test_name) -> None:
        super().__init__()
        self._name = name
        self.found: dict[str, tuple[str, str]] = {}

    def _note(self, test: unittest.TestCase, outcome: str, why: str = "") -> None:
        name = self._name(test)
        if outcome == "failed" or name not in self.found:
            self.found[name] = outcome, why

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802 - unittest's names
        super().startTest(test)
        self._began = time.monotonic()
        print(test.id(), file=sys.stderr, flush=True)

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        super().stopTest(test)
        print(f"    {time.monotonic() - self._began:.2f} s", file=sys.stderr, flush=True)

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        self._note(test, "passed")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        self._note(test, "skipped", reason)

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self._note(test, "passed")

    def _failed(self, test: unittest.TestCase, err: Any) -> None:
        print(self._exc_info_to_string(err, test), file=sys.stderr, flush=True)  # type: ignore[attr-defined]
        self._note(test, "failed", f"{type(err[1]).__name__}: {err[1]}")

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self._failed(test, err)

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self._failed(test, err)

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802
        if err is not None:
            self._failed(test, err)


def be_patient() -> None:
    """Let what is waited for come late, as on a busy machine: libregrtest's --timeout does so.

    The first one is also how long some servers wait for a client that never speaks.
    """
    support = importlib.import_module("test.support")
    for kind, seconds in (("LOOPBACK", 10.0), ("SHORT", 120.0), ("LONG", 300.0)):
        setattr(support, f"{kind}_TIMEOUT", seconds)


def every(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """All tests of a suite."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from every(test)
        else:
            yield test
