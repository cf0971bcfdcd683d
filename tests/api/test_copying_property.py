# SPDX-License-Identifier: GPL-2.0-only
"""Any tree is the same after a way into a kernel and back."""

from __future__ import annotations

import itertools
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rumpel import Kernel
from tests.api.test_copying import describe

pytestmark = [pytest.mark.kernel, pytest.mark.once]

names = st.binary(min_size=1, max_size=20).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)
modes = st.integers(0, 0o7777)
times = st.integers(0, (1 << 33) * 10**9)  # from 1970 to 2242
pieces = st.lists(
    st.one_of(st.binary(max_size=100), st.sampled_from((-4096, -100_000, -1, b"x" * 5000))),
    max_size=4,
)
"""Of a file: data, or the length of a hole."""

leaves = st.one_of(
    st.tuples(st.just("file"), modes, times, pieces),
    st.tuples(st.just("link"), modes, times, names),
    st.tuples(st.just("fifo"), modes, times, st.none()),
    st.tuples(st.just("hard"), modes, times, st.integers(0, 5)),
)
trees = st.recursive(
    st.tuples(st.just("dir"), modes, times, st.dictionaries(names, leaves, max_size=4)),
    lambda inner: st.tuples(
        *(st.just("dir"), modes, times),
        st.dictionaries(names, st.one_of(leaves, inner), max_size=4),
    ),
    max_leaves=6,
)


def build(path: bytes, node: Any, files: list[bytes]) -> None:
    """Make a tree of what hypothesis thought of."""
    kind, mode, ns, content = node
    if kind == "hard" and not files:
        kind, content = "file", []
    if kind == "hard":
        os.link(files[content % len(files)], path, follow_symlinks=False)
        return
    if kind == "file":
        with open(path, "wb") as file:
            for piece in content:
                if isinstance(piece, int):
                    file.seek(-piece, os.SEEK_CUR)
                else:
                    file.write(piece)
            file.truncate()
        files.append(path)
    elif kind == "link":
        os.symlink(content, path)  # noqa: PTH211 (bytes)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        Path(os.fsdecode(path)).mkdir()
        for name, inner in content.items():
            build(path + b"/" + name, inner, files)
    if kind != "link":
        os.chmod(path, mode)  # noqa: PTH101 (bytes)
    os.utime(path, ns=(ns, ns), follow_symlinks=False)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(tree=trees)
def test_any_tree(kernel: Kernel, tmp_path: Path, tree: Any) -> None:
    number = next(NUMBERS)
    source, inside, back = tmp_path / f"{number}", f"/tmp/{number}", tmp_path / f"back{number}"
    build(os.fsencode(source), tree, [])
    expected = describe(os, str(source))
    there = kernel.copy_in(source, inside)
    again = kernel.copy_out(inside, back)
    assert there.lost == again.lost == []
    assert (there.files, there.links, there.bytes) == (again.files, again.links, again.bytes)
    assert contents(describe(kernel.os, inside)) == contents(expected)
    assert contents(describe(os, str(back))) == contents(expected)


NUMBERS = itertools.count()


def contents(found: dict[str, Any]) -> dict[str, Any]:
    """Whether a short hole is one depends on the file system's blocks."""
    return {
        name: [*row[:5], *row[6:]] if stat.S_ISREG(row[0]) else row for name, row in found.items()
    }
