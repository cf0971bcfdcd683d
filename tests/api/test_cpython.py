# SPDX-License-Identifier: GPL-2.0-only
"""CPython's own tests of os, io, pathlib, ... pass on a kernel, but those that cpython.toml lists.

The list is of Python 3.11, and the number of passed tests of the version that it names;
it may grow, not fall. Names in it may end with ``*``.
"""

from __future__ import annotations

import fnmatch
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the list is of Python 3.11"),
]

TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_name("cpython.toml").read_text())
VERSION = TABLE.pop("version")


@pytest.mark.parametrize("name", TABLE)
def test_module(name: str, default_image: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(f"test.{name}") is None:
        pytest.skip("this Python has no tests: apt-get install libpython3.11-testsuite")
    row = TABLE[name]
    program = [sys.executable, "-m", "tests.api.cpython", name, "--image", default_image]
    done = subprocess.run(
        [*program, "--without", *row.get("not_run", {"-": ""})],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]
    outcomes: dict[str, str] = json.loads(done.stdout)
    known = row.get("known", {})
    wrong = {
        test: outcome
        for test, outcome in outcomes.items()
        if not outcome.startswith(("passed", "skipped"))
        and not any(fnmatch.fnmatchcase(test, pattern) for pattern in known)
    }
    assert wrong == {}
    count = Counter(outcome.split(":")[0] for outcome in outcomes.values())
    print(f"{name}: {dict(count)}")
    if platform.python_version() == VERSION:
        assert count["passed"] >= row["passed"]
