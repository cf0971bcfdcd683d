# SPDX-License-Identifier: GPL-2.0-only
"""Examples in the documentation leave nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from _pytest.doctest import DoctestItem


@pytest.fixture(autouse=True)
def own_directory(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run the examples of each page in a directory of their own."""
    if isinstance(request.node, DoctestItem):
        monkeypatch.chdir(tmp_path)
