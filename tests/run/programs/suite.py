# SPDX-License-Identifier: GPL-2.0-only
"""Run a suite of CPython's own, and say what became of each test.

    python3 -B suite.py FILE test_socket [PATTERN...]

Patterns are of classes and methods; those that begin with ``-`` are left out. FILE becomes
JSON: outcome and reason of each test by its name below that of the suite.
"""

import json
import sys
import unittest
from fnmatch import fnmatchcase
from pathlib import Path

from test import support  # type: ignore[import-not-found]

sys.path.append(str(Path(__file__).parents[3]))  # of this process only, not of its children
from tests.cpython.outcomes import Outcomes, be_patient, every


def main(report: str, name: str, *patterns: str) -> None:
    """Run what any pattern chooses and none leaves out."""
    be_patient()
    support.use_resources = ["network"]  # which is the loopback interface for test_socketserver
    loader = unittest.TestLoader()
    found = every(loader.loadTestsFromName(f"test.{name}"))
    never = [pattern[1:] for pattern in patterns if pattern[0] == "-"]
    only = [pattern for pattern in patterns if pattern[0] != "-"] or ["*"]

    def called(test: unittest.TestCase) -> str:
        return test.id().removeprefix(f"test.{name}.")

    def one_of(test: unittest.TestCase, patterns: list[str]) -> bool:
        return any(fnmatchcase(called(test), pattern) for pattern in patterns)

    outcomes = Outcomes(called)
    suite = unittest.TestSuite(t for t in found if one_of(t, only) and not one_of(t, never))
    suite.run(outcomes)
    Path(report).write_text(json.dumps(outcomes.found))


if __name__ == "__main__":
    main(*sys.argv[1:])
