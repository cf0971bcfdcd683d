# SPDX-License-Identifier: GPL-2.0-only
"""Threads that do not take threading."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from rumpel.threads import Flag, Thread
from tests import threads


def test_a_thread_is_waited_for() -> None:
    """It runs beside the caller; whoever joins waits, however often."""
    before, go, said = threads.count(), Flag(), list[str]()

    def run() -> None:
        assert go.wait(10)
        said.append("done")

    thread = Thread(run)
    assert said == []
    go.set()
    thread.join()
    thread.join()
    assert said == ["done"]
    assert threads.are_left(before)


def test_a_flag_is_set_once_and_for_all() -> None:
    """For several that wait, and again and again; who waits for too long is told."""
    flag, seen = Flag(), list[bool]()
    start = time.monotonic()
    assert not flag.wait(0.05)
    assert time.monotonic() - start >= 0.05
    waiting = [Thread(lambda: seen.append(flag.wait())) for _ in range(4)]
    flag.set()
    flag.set()
    for thread in waiting:
        thread.join()
    assert seen == [True] * 4
    assert flag.wait()
    assert flag.wait(0)


@pytest.mark.parametrize("ends", ["", "thread.join()"])
def test_a_thread_that_fails(ends: str) -> None:
    """Says so on stderr, and is over."""
    code = "from rumpel.threads import Thread\nimport time\ndef run(): 1 / 0\n"
    code += f"thread = Thread(run)\n{ends}\ntime.sleep(0.1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "ZeroDivisionError" in done.stderr
