# SPDX-License-Identifier: GPL-2.0-only
"""The commands of docs/images.md do what it says; ./dev test runs its Python."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import VERSION

pytestmark = [pytest.mark.kernel, pytest.mark.once]

PAGE = (Path(__file__).parents[2] / "docs" / "images.md").read_text()
_CHANGING = (
    (r"\b[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}\b|\b[0-9a-f]{8}-[0-9a-f-]{27}\b", "UUID"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d", "TIME"),
    (r"[\d.]+[KM] on disk", "ROOM on disk"),
    (r" +", " "),
)
_RUMPEL = f'rumpel() {{ "{sys.executable}" -c "from rumpel.cli import main; main()" "$@"; }}\n'


def _commands() -> list[tuple[str, str]]:
    """Each command of the page, and what it prints."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"(?:^    .*\n)+", PAGE, re.MULTILINE):
        lines = [line[4:] for line in block.splitlines()]
        if not lines[0].startswith("$ "):
            continue
        for line in lines:
            if line.startswith("$ "):
                found.append((line[2:], ""))
            else:
                command, output = found.pop()
                found.append((command, f"{output}{line}\n"))
    return found


def _plain(text: str) -> str:
    for pattern, name in _CHANGING:
        text = re.sub(pattern, name, text)
    return text


@pytest.mark.skipif(VERSION != "6.12", reason="the page's commands take the kernel that is default")
def test_the_shell(tmp_path: Path) -> None:
    """Every command succeeds, and says what the page says."""
    (tmp_path / "tree" / "etc").mkdir(parents=True)
    (tmp_path / "tree" / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    os.utime(tmp_path / "tree" / "etc" / "hosts")
    commands = _commands()
    assert len(commands) > 10
    try:
        for command, output in commands:
            done = subprocess.run(
                ["bash", "-c", _RUMPEL + command], cwd=tmp_path, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{command}: {done.stderr}"
            assert _plain(done.stdout) == _plain(output), command
    finally:
        if (tmp_path / "mnt").is_mount():
            subprocess.run(["fusermount3", "-uz", tmp_path / "mnt"], check=True)
