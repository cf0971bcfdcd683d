# SPDX-License-Identifier: GPL-2.0-only
"""Where an image is, as boots ask: what is remembered is never wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rumpel.build import Layout, ensure_image, find_image, lookup, memo, roots
from rumpel.errors import BootError, BuildError
from tests.build import fake


@pytest.fixture
def layout(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """The one that is found without being named."""
    monkeypatch.setattr(roots, "data_root", lambda: str(layout.data))
    monkeypatch.setattr(roots, "cache_root", lambda: str(layout.cache))
    monkeypatch.setattr(lookup, "_found", {})
    return layout


def _path() -> str:
    """As a new process asks."""
    lookup._found.clear()
    return lookup.image_path("6.12", "default")


def test_what_is_remembered_is_what_is_found(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time nothing is hashed, and no image is looked for."""
    with pytest.raises(BootError, match=r"make one: rumpel kernel build 6\.12"):
        _path()
    image = ensure_image(layout=layout)
    assert _path() == str(image.path)
    monkeypatch.setattr("rumpel.build.ensure.find_image", None)
    assert _path() == str(image.path)


@pytest.mark.parametrize(
    "change",
    [
        "kernel/arch/rumpel/entry.c",
        "kernel/arch/rumpel/new.c",
        "include/rumpel/host_ops.h",
        "kernel/configs/default.config",
    ],
)
def test_a_change_is_seen(layout: Layout, change: str) -> None:
    """Of the port, the header or the profile: then the image is another one."""
    first = ensure_image(layout=layout)
    assert _path() == str(first.path)
    file = layout.data / change
    old = file.read_text() if file.exists() else None
    file.write_text(f"{old or ''}CONFIG_MORE=y\n")
    with pytest.raises(BootError):
        _path()
    if old is None:
        file.unlink()
    else:
        file.write_text(old)
    assert _path() == str(first.path)


def test_an_image_that_goes_or_is_cut_off(layout: Layout) -> None:
    """It is not there any more."""
    image = ensure_image(layout=layout)
    assert _path() == str(image.path)
    image.path.write_bytes(image.path.read_bytes()[:100])
    with pytest.raises(BootError):
        _path()
    shutil.rmtree(image.path.parent)
    with pytest.raises(BootError):
        _path()


def test_another_compiler(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is another image; without one any image will do, and one that comes later is seen."""
    image = ensure_image(layout=layout)
    assert _path() == str(image.path)
    tools = fake.path_without({"gcc"}, tmp_path / "bin")
    monkeypatch.setenv("PATH", tools)
    assert _path() == str(image.path)
    (Path(tools) / "gcc").write_text("#!/bin/sh\necho another compiler\n")
    (Path(tools) / "gcc").chmod(0o755)
    with pytest.raises(BootError):
        _path()


@pytest.mark.parametrize(
    "kept", ["", "/x", "/x\ngcc", "/x\n/usr/bin/gcc\n1 2 3 4 /", "\n\n\n", "\xff"]
)
def test_a_damaged_memory(layout: Layout, kept: str) -> None:
    """Is as none."""
    image = ensure_image(layout=layout)
    assert _path() == str(image.path)
    (file,) = layout.state.glob("found-*")
    file.write_text(kept, encoding="latin-1")
    assert _path() == str(image.path)


def test_what_is_remembered_does_not_grow(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes, and no home directory is made that was not there."""
    monkeypatch.setattr(memo, "MOST", 3)
    store = layout.state
    for age, name in enumerate("abcde", -5):
        memo.keep(store / name, name)
        os.utime(store / name, (age, age))
    memo.keep(store / "f", "new")
    assert sorted(path.name for path in store.iterdir()) == ["d", "e", "f"]
    nobody = layout.cache / "nobody"
    memo.keep(nobody / ".cache/rumpel/state/f", "new")
    assert not nobody.exists()


def test_names_that_are_none(layout: Layout) -> None:
    """Say what there is."""
    with pytest.raises(BuildError, match="no profile"):
        lookup.image_path("6.12", "../x")
    with pytest.raises(BuildError, match="not supported"):
        lookup.image_path("1.0", "default")
    assert find_image(layout=layout) is None


def test_it_imports_little() -> None:
    """What a command begins with."""
    heavy = "{'dataclasses', 'pathlib', 'inspect', 'click', 'subprocess', 'typing', 'json', 're'}"
    code = "import sys; before = {*sys.modules}; import rumpel.build.lookup;"
    code += f"print(*{heavy} & ({{*sys.modules}} - before))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == ""
