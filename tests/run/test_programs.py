# SPDX-License-Identifier: GPL-2.0-only
"""Programs that check what Linux promises: under the agent all of it still holds.

Each passes without the agent too, so that the checks are right.
"""

from __future__ import annotations

import pytest

from tests.run.conftest import BUILDS, Build, intercepted, run

PROGRAMS = ["registers", "sites", "signals", "threads", "processes", "execs"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_checks_are_right(build: Build, name: str) -> None:
    done = run([str(build(name, "dynamic"))])
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


CASES = [(name, kind) for name in PROGRAMS for kind in ("dynamic", "musl")]
# How a program is mapped, and which instructions it brings.
CASES += [(name, kind) for name in ("registers", "execs") for kind in BUILDS]
CASES = sorted(set(CASES))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_linux_holds(build: Build, name: str, kind: str) -> None:
    done = intercepted([str(build(name, kind))])
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_linux_holds_with_seccomp(build: Build, name: str) -> None:
    done = intercepted([str(build(name, "dynamic"))], trap="SECCOMP")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
