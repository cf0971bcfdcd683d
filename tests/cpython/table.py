# SPDX-License-Identifier: GPL-2.0-only
"""Which of CPython's test modules are run, and what is known of them: ``table.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["TABLE", "VERSION", "Module"]

_rows: dict[str, Any] = tomllib.loads(Path(__file__).with_name("table.toml").read_text())


@dataclass
class Module:
    """A row of the table. The keys of its tables are patterns of tests' names, values reasons."""

    about: str
    """``files`` or ``networks``: which modules are the kernel's."""
    once: bool = False
    """It is about Python's code above calls that others test, so one version of Linux will do."""
    pieces: int = 1
    """In how many processes it is run."""
    passed: int = 0
    """So many pass, with the Python that the table is of."""
    not_run: dict[str, str] = field(default_factory=dict)
    failing: dict[str, str] = field(default_factory=dict)
    failing_since: dict[str, dict[str, str]] = field(default_factory=dict)
    """What fails with a version of Linux and all newer ones."""

    def fails(self, release: str) -> list[str]:
        """The patterns of those that fail with a version of Linux, such as 6.12."""
        newer = [
            tests for since, tests in self.failing_since.items() if _order(release) >= _order(since)
        ]
        return [pattern for tests in (self.failing, *newer) for pattern in tests]


def _order(release: str) -> tuple[int, int]:
    major, minor = release.split(".")[:2]
    return int(major), int(minor)


VERSION: str = _rows.pop("version")
"""The Python that the table is of."""
TABLE = {name: Module(**row) for name, row in _rows.items()}
