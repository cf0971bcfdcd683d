# SPDX-License-Identifier: GPL-2.0-only
"""A fake kernel package and a cache of its own for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from rumpel.build import Layout
from tests.build import fake


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """An installed source package of version 6.12, and nothing built."""
    monkeypatch.setenv("CCACHE_DIR", str(tmp_path / "ccache"))
    found = fake.layout(tmp_path)
    fake.package(found)
    return found
