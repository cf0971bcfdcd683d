# SPDX-License-Identifier: GPL-2.0-only
"""Random loads on each file system: clean after it, and what the model says is there.

RUMPEL_LOADS says how many for each; without it few, always the same.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from rumpel.images import Image, open_image
from tests.conftest import VERSION
from tests.images.loads import Load
from tests.images.tools import ENV, check, make

pytestmark = pytest.mark.kernel

SIZES = {"ext4": 32, "xfs": 304, "btrfs": 128, "f2fs": 64, "vfat": 32, "exfat": 32}
_MANY = int(os.environ.get("RUMPEL_LOADS", "0"))


@pytest.mark.timeout(max(300, 60 * _MANY))
@pytest.mark.parametrize("kind", list(SIZES))
def test_loads(kind: str, tmp_path: Path) -> None:
    """Whatever was done is there after an unmount, and the file system's own fsck has no word."""
    template = make(tmp_path / "template", kind, SIZES[kind])
    top = tmp_path

    class OfKind(Load):
        posix = kind not in ("vfat", "exfat")

        def __init__(self) -> None:
            super().__init__()
            self.directory = Path(tempfile.mkdtemp(dir=top))
            self.disk = self.directory / "disk"
            _copy(template, self.disk)
            self.image: Image | None = None
            self._open()

        def _open(self, **options: Any) -> None:
            self.image = open_image(self.disk, version=VERSION, **options)
            self.os = self.image.volume.kernel.os

        def _close(self) -> None:
            image, self.image = self.image, None
            if image:
                image.close()

        def reopen(self) -> None:
            self._close()
            self._open()

        def teardown(self) -> None:
            try:
                self._close()
                check(self.disk, kind)
                self._open(read_only=True)
                self.compare(self.os)
                self._close()
                _compare_with_another(self, kind, self.disk, self.directory)
            finally:
                self._close()
                shutil.rmtree(self.directory)

    chosen = settings(
        max_examples=_MANY or 2,
        derandomize=not _MANY,
        stateful_step_count=60 if _MANY else 25,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        phases=[Phase.generate, *([Phase.shrink] if _MANY else [])],
    )
    run_state_machine_as_test(OfKind, settings=chosen)


def _copy(template: Path, disk: Path) -> None:
    subprocess.run(["cp", "--sparse=always", template, disk], check=True)


def _compare_with_another(load: Load, kind: str, disk: Path, directory: Path) -> None:
    """What another implementation reads of it, where Debian has one and this is root."""
    out = directory / "out"
    out.mkdir()
    if kind == "ext4" and os.geteuid() == 0:
        command = ["debugfs", "-R", f"rdump / {out}", str(disk)]
        # It makes no pipes, copies hard links apart, and knows no extended attributes.
        load.nodes = {path: node for path, node in load.nodes.items() if node.kind != "p"}
    elif kind == "btrfs" and os.geteuid() == 0:
        command = ["btrfs", "restore", "-m", "-S", "-x", str(disk), str(out)]
        load.nodes = {path: node for path, node in load.nodes.items() if node.kind != "p"}
    else:
        return
    subprocess.run(command, env=ENV, check=True, capture_output=True)
    expected = load.expected()
    for path, row in expected.items():
        there = out / path.lstrip("/")
        if row["kind"] == "f":
            assert there.read_bytes() == row["data"], path
        elif row["kind"] == "l":
            assert str(there.readlink()) == row["target"], path
        else:
            assert there.is_dir(), path
    made = {str(each.relative_to(out)) for each in out.rglob("*")} - {"lost+found"}
    assert made == {path.lstrip("/") for path in expected if path}
