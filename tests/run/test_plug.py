# SPDX-License-Identifier: GPL-2.0-only
"""The plug for a library kernel: rules decide, descriptors are one space of numbers.

The kernel is ``programs/kernel_fake.c``, linked to the agent in place of none.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.run.conftest import HERE, Build, Done, run

ROOT = HERE.parents[1]
START = """
import sys
from pathlib import Path
from rumpel.run import Explain, agent
agent.AGENT = Path(sys.argv[1])
agent.execute(sys.argv[3:], rules=sys.argv[2].splitlines(), explain=Explain.TRACE)
"""
RULES = ["family 2", "path /kernel", "call getpid", "call uname"]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An agent with the fake kernel."""
    out = tmp_path_factory.mktemp("agent")
    source = HERE / "programs/kernel_fake.c"
    make = [
        "make",
        "-s",
        "-C",
        str(ROOT / "runtime/intercept/agent"),
        f"OUT={out}",
        f"KERNEL={source}",
    ]
    subprocess.run(make, check=True)
    return out / "rumpel-agent"


def start(agent: Path, rules: list[str], *arguments: str) -> Done:
    return run([sys.executable, "-c", START, str(agent), "\n".join(rules), *arguments])


@pytest.mark.parametrize("kind", ["dynamic", "musl"])
def test_two_kernels_in_one_program(agent: Path, build: Build, kind: str) -> None:
    """Calls, numbers of descriptors, dup, close, fork, vfork, and what an execve inherits."""
    done = start(agent, RULES, str(build("plug", kind)))
    assert done.returncode == 0, done.stdout


def test_the_trace_says_the_rule(agent: Path) -> None:
    done = start(agent, RULES, "uname")
    assert done.stdout == "Fake\n"
    said = {line.partition("] ")[2] for line in done.stderr.splitlines()}
    assert {"uname: kernel: call uname", "write: host: no rule"} <= said


def test_a_rule_that_is_none(agent: Path) -> None:
    for rule in ("color red", "family x", "path mnt", "call nothing"):
        done = start(agent, [rule], "true")
        assert done.stderr == f"rumpel: {rule}: no such rule\n"
        assert done.returncode == 126


def test_rules_without_a_kernel() -> None:
    from rumpel.run.agent import AGENT

    done = start(AGENT, ["family 2"], "true")
    assert done.stderr == "rumpel: family 2: there is no library kernel for it here\n"
    assert done.returncode == 126
