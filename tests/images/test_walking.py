# SPDX-License-Identifier: GPL-2.0-only
"""Trees listed by name alone: the same as with all that there is to know of each entry."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from rumpel import _native
from rumpel.images import Image
from tests.images.tools import ENV, make


def both(image: Image, path: str, depth: int = -1) -> list[str]:
    """The paths below one, which both ways agree on."""
    found = [each.path for each in image.volume.walk(path, depth)]
    assert [each for some in image.volume.walk_paths(path, depth) for each in some] == found
    return found


@pytest.mark.kernel
@pytest.mark.parametrize("kinds", ["filetype", "^filetype"])
def test_names_alone(kinds: str, opened: Any, tmp_path: Path) -> None:
    """Also where a directory does not say what its entries are."""
    disk = make(tmp_path / "disk.img", "ext4", 16)
    command = ["mke2fs", "-q", "-F", "-t", "ext4", "-O", kinds, str(disk)]
    subprocess.run(command, check=True, env=ENV)
    with opened(disk) as image:
        image.makedirs("/a/b/c")
        image.makedirs("/many")
        image.pipe({f"/many/{number}": b"" for number in range(1500)})
        for name in (b"no\xfftext", "a-file", "Ärger"):
            image.volume.kernel.os.mkdir(name if isinstance(name, bytes) else name.encode())
        image.volume.kernel.os.symlink("/a", "/a-link")
        names = both(image, "/")
        assert len(names) == 1500 + 1 + 9
        assert both(image, "/", 0) == [""]
        assert both(image, "/", 1) == [each for each in names if "/" not in each]
        assert both(image, "/a/", 2) == ["", "b", "b/c"]
        assert both(image, "/a-link") == both(image, "/many/7") == [""]
        with pytest.raises(FileNotFoundError):
            both(image, "/nothing")
        with pytest.raises(FileNotFoundError):
            list(image.volume.walk_paths("/nothing"))


def test_of_the_host(tmp_path: Path) -> None:
    """A directory's names, and which are directories; links to such are none."""
    (tmp_path / "below").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("below")
    names, directories = _native.list_kinds(None, str(tmp_path))
    assert sorted(names) == ["below", "file", "link"]
    assert directories == ["below"]
    for name in ("file", "link"):
        with pytest.raises(NotADirectoryError):
            _native.list_kinds(None, str(tmp_path / name))
    with pytest.raises(FileNotFoundError):
        _native.list_kinds(None, str(tmp_path / "none"))
    with pytest.raises(TypeError):
        _native.list_kinds(5, str(tmp_path))  # type: ignore[arg-type]
