# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image`` for tests that ask how it ends."""

from __future__ import annotations

import sys
from typing import NamedTuple

import pytest

from rumpel.cli import main
from tests.conftest import VERSION

__all__ = ["RUMPEL", "Ended", "Tool"]

RUMPEL = [sys.executable, "-c", "from rumpel.cli import main; main()", "image"]
"""As a program of its own."""


class Ended(NamedTuple):
    """How a command has ended.

    Attributes:
        status: its exit status.
        out: what it printed.
        error: what it complained of.
    """

    status: int
    out: bytes
    error: str


class Tool:
    """Runs commands in this process; the kernel has its own."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, captured: pytest.CaptureFixture[bytes]
    ) -> None:
        self._monkeypatch = monkeypatch
        self._captured = captured

    def __call__(self, command: str, *args: object) -> Ended:
        """Run a command; fail if it ends otherwise than with a result or an error.

        Errors are lines that begin as those of any tool do, and there is one if the status
        is not 0, unless that of a check that has found something.
        """
        words = ["rumpel", "image", command, "--kernel", VERSION, *map(str, args)]
        self._monkeypatch.setattr(sys, "argv", words)
        self._captured.readouterr()
        code: object = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        sys.stdout.flush()
        out, raw = self._captured.readouterr()
        error = raw.decode()
        assert code in (0, 1), (words, code, error)
        assert all(line.startswith("rumpel: ") for line in error.splitlines()), error
        assert code == 0 or error or b"NOT CLEAN" in out, (words, out)
        return Ended(int(str(code)), out, error)
