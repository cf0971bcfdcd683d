# SPDX-License-Identifier: GPL-2.0-only
"""CPython's own tests pass on a kernel's files and sockets, but for those that are listed."""

from __future__ import annotations

import fnmatch
import importlib.util
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cpython.table import TABLE, VERSION

ROOT = Path(__file__).parents[2]
LIMIT = 900
"""Seconds: they take a tenth of it on an idle machine."""

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.long,
    pytest.mark.timeout(LIMIT + 60),
    pytest.mark.skipif(
        not VERSION.startswith("{}.{}.".format(*sys.version_info)),
        reason=f"the table is of Python {VERSION}",
    ),
]

PIECES = [
    pytest.param(name, piece, marks=[pytest.mark.once] if module.once else [])
    for name, module in TABLE.items()
    for piece in range(module.pieces)
]


@pytest.mark.parametrize(("name", "piece"), PIECES)
def test_exactly_the_listed_ones_fail(
    name: str, piece: int, default_image: str, tmp_path: Path
) -> None:
    module = TABLE[name]
    if importlib.util.find_spec(f"test.{name}") is None:
        pytest.skip("this Python has no tests: apt-get install libpython3.11-testsuite")
    command = [sys.executable, "-m", "tests.cpython.run", default_image, name]
    log = tmp_path / "log"
    with log.open("w") as errors:
        done = subprocess.run(
            [*command, f"{piece}/{module.pieces}"],
            stdout=subprocess.PIPE,
            stderr=errors,
            timeout=LIMIT,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    assert done.returncode == 0, log.read_text()[-3000:]
    outcomes: dict[str, tuple[str, str]] = json.loads(done.stdout)
    assert outcomes, "no test was found"
    release = json.loads(Path(default_image).with_name("image.json").read_text())["version"]
    patterns = module.fails(release)

    def listed(test: str) -> bool:
        return any(fnmatch.fnmatchcase(test, pattern) for pattern in patterns)

    failed = {test: why for test, (outcome, why) in outcomes.items() if outcome == "failed"}
    unexpected = {test: why for test, why in failed.items() if not listed(test)}
    assert not unexpected, log.read_text()[-10_000:]
    passed = {test for test, (outcome, _) in outcomes.items() if outcome == "passed"}
    assert not {test for test in passed if listed(test)}, "listed in table.toml"
    if platform.python_version() == VERSION:
        assert len(passed) >= module.passed
