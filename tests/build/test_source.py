# SPDX-License-Identifier: GPL-2.0-only
"""Sources of the user's own: directories, tarballs, git trees."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from rumpel.build import Layout, ensure_image, list_images
from rumpel.build.apt import mirror, source_lines
from rumpel.build.source import own
from rumpel.errors import BuildError
from tests.build import fake


def _git(tree: Path, *args: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", tree, *identity, *args], check=True, capture_output=True)


def test_a_git_tree_is_known_by_revision_and_edits(layout: Layout, tmp_path: Path) -> None:
    """Edits and new files change the identity; undoing them restores it."""
    tree = fake.tree(tmp_path / "git")
    _git(tree, "init", "-q")
    _git(tree, "add", ".")
    _git(tree, "commit", "-qm", "x")
    clean = own(layout, tree, fake.Log()).identity
    assert clean.startswith("git:")
    assert "+" not in clean
    (tree / "fs/new.c").write_text("int x;\n")
    new = own(layout, tree, fake.Log()).identity
    (tree / "fs/new.c").write_text("int y;\n")
    assert len({clean, new, own(layout, tree, fake.Log()).identity}) == 3
    (tree / "fs/new.c").unlink()
    assert own(layout, tree, fake.Log()).identity == clean


def test_a_directory_is_known_by_its_files(layout: Layout, tmp_path: Path) -> None:
    """An edited file is another source, and so another image."""
    tree = fake.tree(tmp_path / "own")
    first = ensure_image(source=tree, layout=layout)
    assert ensure_image(source=tree, layout=layout).key == first.key
    (tree / "init/f0.c").write_text("int f0(void) { return 12; }\n")
    assert ensure_image(source=tree, layout=layout).key != first.key


def test_a_tarball_is_a_source(layout: Layout, tmp_path: Path) -> None:
    """A tarball is extracted into the cache and built."""
    tree = fake.tree(tmp_path / "linux-own")
    tarball = tmp_path / "own.tar.gz"
    subprocess.run(["tar", "-czf", tarball, "-C", tmp_path, tree.name], check=True)
    shutil.rmtree(tree)
    assert ensure_image(source=tarball, layout=layout).release == "6.12.99"


def test_a_modified_tree_is_reported(layout: Layout, tmp_path: Path) -> None:
    """Compared with Debian's once that is in the cache; until then it is not known."""
    tree = fake.tree(tmp_path / "own")
    assert ensure_image(source=tree, layout=layout).modified is None
    ensure_image(layout=layout)
    # Also of an image that was built before.
    assert ensure_image(source=tree, layout=layout).modified is False
    assert [image.modified for image in list_images(layout)] == [False, False]
    (tree / "init/f0.c").write_text("int f0(void) { return 12; }\n")
    assert ensure_image(source=tree, layout=layout).modified is True


@pytest.mark.parametrize("kind", ["empty directory", "damaged tarball"])
def test_what_is_no_kernel_is_told(layout: Layout, tmp_path: Path, kind: str) -> None:
    """A path that holds no kernel source is named."""
    path = tmp_path / "bad.tar.xz"
    if kind == "empty directory":
        path.mkdir()
    else:
        path.write_bytes(b"\xfd7zXZ\x00 nonsense")
    with pytest.raises(BuildError, match=r"bad\.tar\.xz"):
        ensure_image(source=path, layout=layout)


def test_the_mirror_is_the_systems(tmp_path: Path) -> None:
    """Both forms of apt's sources are understood; others' archives are passed over."""
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (parts / "a.list").write_text("deb https://example.org/other stable main\n")
    (parts / "b.sources").write_text("Types: deb\nURIs: https://mirror.example/debian/\n")
    assert mirror(tmp_path) == "https://mirror.example/debian"
    lines = source_lines(mirror(tmp_path), ("sid", "bookworm-security"))
    assert "https://mirror.example/debian sid main" in lines
    assert "https://mirror.example/debian-security bookworm-security main" in lines
