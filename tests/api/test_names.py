# SPDX-License-Identifier: GPL-2.0-only
"""Which names ``kernel.os`` has: docs/os.md says so, and says it of every name of os.

RUMPEL_WRITE_DOCS=1 writes the page's table anew.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from rumpel import Kernel
from rumpel.os import names

pytestmark = pytest.mark.kernel

PAGE = Path(__file__).parents[2] / "docs" / "os.md"


def test_every_name_of_os_is_there_or_says_why_not(kernel: Kernel) -> None:
    for name in dir(os):
        if (name.startswith("_") and name != "_exit") or name in names.INTERNAL:
            continue
        reason = names.why_absent(name)
        if reason is None:
            assert getattr(kernel.os, name) is not None or name == "altsep"
        else:
            with pytest.raises(AttributeError, match=re.escape(f"{name!r}: {reason}")):
                getattr(kernel.os, name)


def test_the_page_lists_them(kernel: Kernel) -> None:
    own = {name for name in kernel.os.own_names() if not name.isupper()}
    table = "\n".join(names.page(own))
    text = PAGE.read_text()
    before, rest = text.split("<!-- names -->")
    written, after = rest.split("<!-- /names -->")
    if os.environ.get("RUMPEL_WRITE_DOCS"):
        PAGE.write_text(f"{before}<!-- names -->\n{table}\n<!-- /names -->{after}")
        return
    assert written.strip() == table


def test_the_same_calls_take_descriptors_and_directories(kernel: Kernel) -> None:
    """os.supports_*: what shutil.rmtree and others ask before they trust a function."""
    for kind in ("dir_fd", "effective_ids", "fd", "follow_symlinks"):
        ours = {f.__name__ for f in getattr(kernel.os, f"supports_{kind}")}
        theirs = {f.__name__ for f in getattr(os, f"supports_{kind}")}
        assert ours == theirs - {"execve"}


def test_the_hosts_modules_are_left_alone(kernel: Kernel) -> None:
    """Copies of modules are made by executing them, which must not show elsewhere."""
    import pathlib
    import shutil
    import sys

    before = dict(sys.modules)
    for name in ("shutil", "tempfile", "glob", "tarfile", "zipfile", "pathlib", "fcntl", "io"):
        assert getattr(kernel, name) is not sys.modules.get(name)
    assert kernel.os.walk("/tmp") is not None
    assert {n: m for n, m in sys.modules.items() if n in before} == before
    assert sys.modules["os.path"] is os.path
    assert shutil.os is os  # type: ignore[attr-defined]
    assert issubclass(pathlib.PosixPath, pathlib.Path)


def test_the_environment_is_the_kernels_own(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program's environment names the host's files, and may hold secrets."""
    monkeypatch.setenv("HOME", "/somewhere/else")
    assert "SECRET" not in kernel.os.environ
    assert kernel.os.path.expanduser("~/x") == "/x"
    kernel.os.environ["RUMPEL_TEST"] = "1"
    assert kernel.os.getenv("RUMPEL_TEST") == "1"
    assert kernel.os.environb[b"RUMPEL_TEST"] == b"1"
    assert kernel.os.path.expandvars("$RUMPEL_TEST") == "1"
    assert "RUMPEL_TEST" not in os.environ
    assert os.getenv("RUMPEL_TEST") is None
