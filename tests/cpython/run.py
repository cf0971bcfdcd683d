# SPDX-License-Identifier: GPL-2.0-only
"""Run a test module of CPython's on a library kernel.

    python -m tests.cpython.run IMAGE test_socket [PIECE/OF|PATTERN...] >outcomes.json

A program of its own, since it has threads, signals and timeouts of its own, and hangs
rather than fails if something is wrong.
"""

from __future__ import annotations

import fnmatch
import gc
import json
import os
import sys
import unittest
from collections.abc import Iterator

import rumpel
from tests.cpython import files, networks
from tests.cpython.outcomes import Outcomes, be_patient, every, test_name
from tests.cpython.table import TABLE

MODULE = sys.argv[2] if len(sys.argv) > 2 else ""


def chosen(tests: list[unittest.TestCase], words: list[str]) -> Iterator[unittest.TestCase]:
    """Those of a piece of the classes, such as ``0/4``, or of any of the patterns."""
    not_run = TABLE[MODULE].not_run
    classes = sorted({type(test).__qualname__ for test in tests})
    for test in tests:
        name = test_name(test)
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in not_run):
            continue
        if len(words) == 1 and words[0][:1].isdigit():
            piece, _, of = words[0].partition("/")
            if classes.index(type(test).__qualname__) % int(of) == int(piece):
                yield test
        elif not words or any(fnmatch.fnmatchcase(name, pattern) for pattern in words):
            yield test


def main() -> None:
    """Run, and print the outcomes as JSON."""
    outcomes = Outcomes()
    be_patient()
    # Some tests print, and some close descriptors that they do not know.
    output, sys.stdout = os.fdopen(os.dup(1), "w"), sys.stderr
    with rumpel.boot(image=sys.argv[1], memory="256M") as kernel:
        prepare = files.prepare if TABLE[MODULE].about == "files" else networks.prepare
        for number in range(3):  # standard input, output and error, as of a process
            assert kernel.os.open("/dev/null", os.O_RDWR) == number
        tests = prepare(kernel, MODULE)
        found = list(every(unittest.defaultTestLoader.loadTestsFromModule(tests)))
        suite = unittest.TestSuite(chosen(found, sys.argv[3:]))
        if hasattr(tests, "setUpModule"):
            tests.setUpModule()
        # Most of these tests collect garbage, and need not look at all that there is by now.
        gc.freeze()
        suite.run(outcomes)
        unittest.doModuleCleanups()
    json.dump(outcomes.found, output, indent=1)
    output.flush()


if __name__ == "__main__":
    main()
