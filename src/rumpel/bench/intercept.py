# SPDX-License-Identifier: GPL-2.0-only
"""What it costs a program that its system calls are intercepted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rumpel.bench.measure import Work, compare
from rumpel.bench.options import Options
from rumpel.bench.result import Figure, Result
from rumpel.errors import RumpelError

KNOWN = Figure("intercept", "ns", 0.375, "host", "a program's no-op call, its site rewritten")
UNKNOWN = Figure("intercept-unknown", "ns", 25, "host", "the same from a site that is not")

GETPPID, IO_URING_SETUP = 110, 425
"""Of x86-64: what the host answers, and what the agent does by itself."""

PROGRAM = "rumpel.bench.intercept_child"
UNDER = f"import sys; from rumpel.run import execute; execute([sys.executable, '-m', '{PROGRAM}'])"


def intercept(options: Options) -> Iterator[Result]:
    """Both kinds of sites, beside the host's call in a program without the agent."""
    with child(["-c", UNDER]) as ours, child(["-m", PROGRAM]) as host:
        for figure in (KNOWN, UNKNOWN):
            known = figure is KNOWN
            yield compare(figure, asking(ours, known, IO_URING_SETUP), asking(host, known, GETPPID))


@contextmanager
def child(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    """The program that is measured."""
    command = [sys.executable, *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process


def asking(process: subprocess.Popen[str], known: bool, nr: int) -> Work:
    """Work that the child does."""

    def work(rounds: int) -> float:
        assert process.stdin
        assert process.stdout
        process.stdin.write(f"{int(known)} {nr} {rounds}\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer or int(answer) < 0:
            raise RumpelError(f"the benchmark's program failed: {answer.strip() or 'it ended'}")
        return int(answer) / 1e9

    return work
