# SPDX-License-Identifier: GPL-2.0-only
"""The demo, in small; and that it would notice what goes wrong."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import rumpel
from rumpel.demo import DemoError, run
from rumpel.demo.disk import disk
from rumpel.demo.pair import pair
from rumpel.demo.report import Report
from rumpel.demo.tools import check, size, tool


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    for number in range(20):
        (root / f"sub/file {number}").write_bytes(bytes([number]) * number * 1000)
    (root / "link").symlink_to("sub/file 3")
    (root / "dangling").symlink_to("/nowhere")
    return root


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def console(output: io.StringIO) -> Console:
    return Console(file=output, width=100)


@pytest.mark.kernel
def test_all_of_it(default_image: str, tree: Path, console: Console, output: io.StringIO) -> None:
    run(Path(default_image), tree, 16 << 20, console)
    said = output.getvalue()
    for part in (
        "mke2fs -d",
        "every file compared with its original",
        "e2fsck -fn finds it clean",
        "debugfs reads the written files back",
        "http.client, unchanged, fetches",
        "over TCP on one link",
        "over MPTCP on two links",
        "Boot to first system call",
        "Kernel",
        "22 files",
        "Linux 6.12" if "6.12" in said else "Linux 7",
    ):
        assert part in said


@pytest.mark.kernel
def test_it_notices_another_byte(
    default_image: str, tree: Path, console: Console, tmp_path: Path
) -> None:
    def boot(**arguments: Any) -> rumpel.Kernel:
        """Change an original behind the demo's back, once the image is made."""
        (tree / "sub/file 7").write_bytes(b"changed")
        return rumpel.boot(image=default_image, **arguments)

    (tmp_path / "work").mkdir()
    with pytest.raises(DemoError, match="sub/file 7 differs from its original"):
        disk(boot, Report(console), tree, tmp_path / "work")


@pytest.mark.kernel
def test_it_notices_another_name(
    default_image: str, tree: Path, console: Console, tmp_path: Path
) -> None:
    def boot(**arguments: Any) -> rumpel.Kernel:
        (tree / "sub/new").write_bytes(b"")
        return rumpel.boot(image=default_image, **arguments)

    (tmp_path / "work").mkdir()
    with pytest.raises(DemoError, match="has other names than"):
        disk(boot, Report(console), tree, tmp_path / "work")


@pytest.mark.kernel
def test_it_notices_a_link_that_is_not_used(
    default_image: str, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rumpel.net.mptcp.Mptcp.add", lambda *args, **keywords: None)

    def boot(**arguments: Any) -> rumpel.Kernel:
        return rumpel.boot(image=default_image, **arguments)

    with pytest.raises(DemoError, match="one link carried nothing"):
        pair(boot, Report(console), 8 << 20)


def test_a_missing_tool_names_its_package() -> None:
    with pytest.raises(DemoError, match="is missing: sudo apt-get install some-package"):
        tool("no-such-tool", package="some-package")


def test_a_tool_that_fails_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match=r"(?s)e2fsck failed with exit code 8: .*nothing"):
        tool("e2fsck", "-fn", tmp_path / "nothing", package="e2fsprogs")


def test_checks() -> None:
    check(True, "fine")
    with pytest.raises(DemoError, match=r"^wrong$"):
        check(0, "wrong")


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (2.55e6, "2.5 MB"), (2e10, "20 GB")],
)
def test_sizes(number: float, text: str) -> None:
    assert size(number) == text


def test_a_failed_step_is_not_ticked(console: Console, output: io.StringIO) -> None:
    report = Report(console)

    def fail(step: Callable[..., Any]) -> None:
        with step("doing"):
            raise DemoError("no")

    with pytest.raises(DemoError):
        fail(report.step)
    assert "✓" not in output.getvalue()
