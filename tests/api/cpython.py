# SPDX-License-Identifier: GPL-2.0-only
"""Run a module of CPython's own tests with a kernel's modules in place of the host's.

    python -m tests.api.cpython test_pathlib [--image IMAGE] [--match GLOB...]

prints one JSON object: for each test ``passed``, ``skipped`` or the last line of what went
wrong. It is a program, so that what a test does to its process is done to no other.
"""
# ruff: noqa: N802 (the names are unittest's)

from __future__ import annotations

import argparse
import builtins
import fnmatch
import importlib
import importlib.util
import io
import json
import os
import pkgutil
import sys
import traceback
import unittest
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any

import rumpel
from rumpel.swapped import Names, private_copy

SUPPORT = ("import_helper", "script_helper", "socket_helper", "threading_helper", "warnings_helper")
HELPERS = ("test_genericpath",)
"""Test modules that others import."""


def load(k: rumpel.Kernel, name: str) -> Any:
    """Make the private copy of a test module."""
    support = importlib.import_module("test.support")
    for helper in SUPPORT:
        importlib.import_module(f"test.support.{helper}")

    opening = {"open": k.open}
    instead: dict[str, Any] = {
        "_io": k.io,
        "builtins": Names("builtins", **{**vars(builtins), **opening}),
        "fcntl": k.fcntl,
        "genericpath": k.os.path.genericpath,
        "glob": k.glob,
        "grp": k.grp,
        "io": k.io,
        "os": k.os,
        "os.path": k.os.path,
        "pathlib": k.pathlib,
        "posix": k.os,
        "posixpath": k.os.path,
        "pwd": k.pwd,
        "select": k.select,
        "shutil": k.shutil,
        "socket": k.socket,
        "tarfile": k.tarfile,
        "tempfile": k.tempfile,
        "zipfile": k.zipfile,
    }
    own = private_copy("test.support.os_helper", instead, globals=opening)
    instead["test.support.os_helper"] = own
    instead["test.support"] = Names("test.support", **{**vars(support), "os_helper": own})
    importing = vars(sys.modules["test.support.import_helper"])

    def import_module(wanted: str, *args: Any, **keywords: Any) -> Any:
        return instead.get(wanted) or importing["import_module"](wanted, *args, **keywords)

    import_helper = Names("import_helper", **{**importing, "import_module": import_module})
    instead["test.support.import_helper"] = import_helper
    instead["test.support"].import_helper = import_helper
    importlib.import_module("test.mapping_tests")

    def resolve_name(wanted: str) -> Any:
        return instead.get(wanted) or pkgutil.resolve_name(wanted)

    # mock.patch("os.getcwd") is about the os that the test has.
    own_pkgutil = Names("pkgutil", **{**vars(pkgutil), "resolve_name": resolve_name})
    mock = private_copy("unittest.mock", {"pkgutil": own_pkgutil})
    instead["unittest.mock"] = mock
    instead["unittest"] = Names("unittest", **{**vars(unittest), "mock": mock})
    instead["test"] = Names(
        "test", **{**vars(sys.modules["test"]), "support": instead["test.support"]}
    )
    for other in HELPERS:
        if other != name:
            copy = private_copy(f"test.{other}", instead, globals=opening)
            instead[f"test.{other}"] = copy
            setattr(instead["test"], other, copy)
    module = private_copy(f"test.{name}", instead, globals=opening)
    # Some tests look their module up by name.
    sys.modules[module.__name__] = module
    return module


def tests(suite: Any) -> Iterator[unittest.TestCase]:
    """All tests of a suite."""
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from tests(each)
        else:
            yield each


class Outcomes(unittest.TestResult):
    """Collects what came of each test."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: dict[str, str] = {}

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        print(test.id(), file=sys.stderr)

    def _set(self, test: unittest.TestCase, outcome: str) -> None:
        self.outcomes[test.id().split(".", 2)[-1]] = outcome

    def addSuccess(self, test: unittest.TestCase) -> None:
        # What a subtest said before is not undone by the success of what is around it.
        self.outcomes.setdefault(test.id().split(".", 2)[-1], "passed")

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._set(test, "passed")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self._set(test, "unexpected success")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self._set(test, f"skipped: {reason}")

    def _failed(self, test: unittest.TestCase, err: Any) -> None:
        last = traceback.format_exception_only(err[0], err[1])[-1].strip()
        self._set(test, f"failed: {last.splitlines()[0][:200]}")
        traceback.print_exception(*err, file=sys.stderr)

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self._failed(test, err)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._failed(test, err)

    def addSubTest(self, test: unittest.TestCase, subtest: Any, err: Any) -> None:
        if err is not None:
            self._failed(test, err)


def run(k: rumpel.Kernel, name: str, match: list[str], without: list[str]) -> dict[str, str]:
    """Run tests whose names match, but those that a hang would come of."""
    result = Outcomes()
    chosen = unittest.TestSuite()
    for test in tests(unittest.defaultTestLoader.loadTestsFromModule(load(k, name))):
        short = test.id().split(".", 2)[-1]
        if any(fnmatch.fnmatchcase(short, pattern) for pattern in match) and not any(
            fnmatch.fnmatchcase(short, pattern) for pattern in without
        ):
            chosen.addTest(test)
    with redirect_stdout(io.StringIO()):
        chosen.run(result)
    return result.outcomes


def main() -> None:
    """Run it as a program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--image")
    parser.add_argument("--match", nargs="*", default=["*"])
    parser.add_argument("--without", nargs="*", default=[])
    options = parser.parse_args()
    # Tests close descriptors that they do not know.
    output = os.fdopen(os.dup(1), "w")
    with rumpel.boot(image=options.image, memory="256M") as k:
        k.os.mkdir("/tmp/work")
        k.os.chdir("/tmp/work")
        k.os.makedirs("/etc", exist_ok=True)
        with k.open("/etc/passwd", "w") as file:
            file.write(
                "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/sh\n"
            )
        with k.open("/etc/group", "w") as file:
            file.write("root:x:0:\nnogroup:x:65534:\n")
        # Some read their own file.
        spec = importlib.util.find_spec(f"test.{options.name}")
        here = str(spec and spec.origin)
        k.Path(here).parent.mkdir(parents=True)
        k.copy_in(here, here)
        for number in range(3):
            assert k.os.open("/dev/null", os.O_RDWR) == number
        outcomes = run(k, options.name, options.match, options.without)
    json.dump(outcomes, output)
    output.flush()


if __name__ == "__main__":
    main()
