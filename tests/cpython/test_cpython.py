# SPDX-License-Identifier: GPL-2.0-only
"""CPython's own tests pass on a kernel's sockets, but for those that are listed."""

from __future__ import annotations

import fnmatch
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cpython.differences import FAILING, FAILING_SINCE, MODULES, NOT_RUN, failing

ROOT = Path(__file__).parents[2]
LIMIT = 900
"""Seconds: they take a tenth of it on an idle machine."""

PIECES = [(name, piece, of) for name, of in MODULES.items() for piece in range(of)]


@pytest.mark.kernel
@pytest.mark.timeout(LIMIT + 60)
@pytest.mark.parametrize(("name", "piece", "of"), PIECES, ids=lambda value: str(value))
def test_exactly_the_listed_ones_fail(
    name: str, piece: int, of: int, default_image: str, tmp_path: Path
) -> None:
    if importlib.util.find_spec(f"test.{name}") is None:
        pytest.skip(
            f"this Python comes without test.{name}: apt-get install libpython3.11-testsuite"
        )
    command = [sys.executable, "-m", "tests.cpython.run", default_image, name, f"{piece}/{of}"]
    log = tmp_path / "log"
    with log.open("w") as errors:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=errors, timeout=LIMIT, check=False, cwd=ROOT
        )
    assert done.returncode == 0, log.read_text()[-3000:]
    outcomes: dict[str, tuple[str, str]] = json.loads(done.stdout)
    assert outcomes, "no test was found"
    patterns = failing(
        name, json.loads(Path(default_image).with_name("image.json").read_text())["version"]
    )

    def listed(test: str) -> bool:
        return any(fnmatch.fnmatch(test, pattern) for pattern in patterns)

    failed = {test: why for test, (outcome, why) in outcomes.items() if outcome == "failed"}
    unexpected = {test: why for test, why in failed.items() if not listed(test)}
    assert not unexpected, log.read_text()[-10_000:]
    passed = {test for test, (outcome, _) in outcomes.items() if outcome == "passed"}
    assert not {test for test in passed if listed(test)}, "listed in differences.py"


def test_the_list_names_modules_that_are_run() -> None:
    since = {name for added in FAILING_SINCE.values() for name in added}
    assert set(FAILING) | set(NOT_RUN) | since <= set(MODULES)
