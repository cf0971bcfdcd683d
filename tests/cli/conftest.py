# SPDX-License-Identifier: GPL-2.0-only
"""What the tests of ``rumpel image`` share."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rumpel.cli import main
from tests.conftest import VERSION
from tests.images.tools import make


class Result:
    """What a command did."""

    def __init__(self, status: int, out: bytes, error: str) -> None:
        self.status = status
        self.raw = out
        self.out = out.decode(errors="replace")
        self.lines = self.out.splitlines()
        self.error = error


Run = Callable[..., Result]
HAVE_NO_KERNEL_OPTION = {"commit"}


@pytest.fixture
def run(
    capfdbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Run:
    """Run a command in a directory of its own, where disk.img is ext4 and two.img in two parts."""
    monkeypatch.chdir(tmp_path)

    def run(*args: object, status: int = 0, stdin: bytes = b"") -> Result:
        name, *rest = map(str, args)
        kernel = [] if name in HAVE_NO_KERNEL_OPTION else ["--kernel", VERSION]
        monkeypatch.setattr(sys, "argv", ["rumpel", "image", name, *kernel, *rest])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capfdbinary.readouterr()
        code: object = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        sys.stdout.flush()
        out, error = capfdbinary.readouterr()
        result = Result(int(str(code)), out, error.decode())
        assert result.status == status, f"{result.error}\n{result.out}"
        return result

    return run


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return make(tmp_path / "disk.img", "ext4", 32)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    (tree / "etc" / "passwd").write_text("root:x:0:0::/:\nalice:x:1000:1000::/:\n")
    (tree / "etc" / "group").write_text("root:x:0:\nusers:x:100:\n")
    (tree / "etc" / "link").symlink_to("hosts")
    (tree / ".hidden").write_bytes(b"x" * 5000)
    (tree / "su").touch(mode=0o755)
    (tree / "su").chmod(0o4755)
    return tree
