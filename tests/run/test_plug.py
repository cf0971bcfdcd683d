# SPDX-License-Identifier: GPL-2.0-only
"""The plug for a library kernel: rules decide, descriptors are one space of numbers.

The kernel is ``programs/kernel_fake.c``, linked to the agent in place of none.
"""

from __future__ import annotations

import os
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
agent.AGENT = sys.argv[1]
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
        # So that there are descriptors above it, as programs/plug.c knows.
        f"CC={os.environ.get('CC', 'gcc')} -DFDS=4096",
    ]
    subprocess.run(make, check=True)
    return out / "rumpel-agent"


def start(agent: Path, rules: list[str], *arguments: str) -> Done:
    return run([sys.executable, "-c", START, str(agent), "\n".join(rules), *arguments])


@pytest.mark.parametrize("path", ["/kernel", "/kernel//"])
@pytest.mark.parametrize("kind", ["dynamic", "musl"])
def test_two_kernels_in_one_program(agent: Path, build: Build, kind: str, path: str) -> None:
    """Calls, numbers of descriptors, dup, close, fork, vfork, and what an execve inherits."""
    rules = [rule.replace("/kernel", path) for rule in RULES]
    done = start(agent, rules, str(build("plug", kind)))
    assert done.returncode == 0, done.stdout


def test_the_root_is_a_path(agent: Path, build: Build) -> None:
    """All absolute paths are below it, and no other."""
    done = start(agent, ["path /"], str(build("plug", "musl")))
    opens = [line for line in done.stderr.splitlines() if "] open" in line]
    assert opens
    assert all(line.endswith(": kernel: path /") for line in opens)


def test_numbers_without_room(agent: Path, build: Build) -> None:
    """Where the host allows more descriptors than the agent knows, none goes astray."""
    done = start(agent, RULES, str(build("plug", "dynamic")), "high")
    assert done.returncode == 0, done.stdout


def test_the_trace_says_the_rule(agent: Path) -> None:
    done = start(agent, RULES, "uname")
    assert done.stdout == "Fake\n"
    said = {line.partition("] ")[2] for line in done.stderr.splitlines()}
    assert {"uname: kernel: call uname", "write: host: no rule"} <= said


def test_a_rule_that_is_none(agent: Path) -> None:
    for rule in ("color red", "family x", f"family {1 << 64}", "path mnt", "call nothing"):
        done = start(agent, [rule], "true")
        assert done.stderr == f"rumpel: {rule}: no such rule\n"
        assert done.returncode == 126


def test_more_rules_than_there_is_room_for(agent: Path) -> None:
    done = start(agent, ["call getppid"] * 64, "true")
    assert done.returncode == 0
    done = start(agent, ["call getppid"] * 65, "true")
    assert done.stderr == "rumpel: call getppid: no such rule\n"
    assert done.returncode == 126


def test_rules_without_a_kernel() -> None:
    from rumpel.run.agent import AGENT

    done = start(Path(AGENT), ["family 2"], "true")
    assert done.stderr == "rumpel: family 2: there is no library kernel for it here\n"
    assert done.returncode == 126
