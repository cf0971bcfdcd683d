# SPDX-License-Identifier: GPL-2.0-only
"""The proof that the source is untouched, and that it finds what touches it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rumpel.build import Image, Layout, ensure_image, verify_image
from rumpel.errors import BuildError
from tests.build import fake


@pytest.fixture
def image(layout: Layout) -> Image:
    """An image of the package's source."""
    return ensure_image(layout=layout)


def _touch_up(image: Image, name: str, content: str | None) -> None:
    """Change a file behind the manifest's back: directories have no part in it."""
    file = (image.tree / name).resolve()
    times = file.stat()
    if content is not None:
        file.write_text(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_an_untouched_source_verifies(image: Image) -> None:
    """All files are compared; the port's are counted apart."""
    found = verify_image(image)
    assert (found.files, found.port_files) == (7, 2)


def test_a_changed_file_is_found(image: Image) -> None:
    """An edit since the build is found."""
    (image.tree / "init/f0.c").resolve().write_text("int f0(void) { return 99; }\n")
    with pytest.raises(BuildError, match="changed since it was built"):
        verify_image(image)


def test_a_file_tampered_with_before_the_build_is_found(image: Image) -> None:
    """An edit that keeps size and time is found too, as every byte is compared."""
    _touch_up(image, "init/f0.c", "int f0(void) { return 9; }\n")
    with pytest.raises(BuildError, match=r"1 changed: init/f0\.c"):
        verify_image(image)


@pytest.mark.parametrize("name", ["more.c", "arch/more", "arch/x86/more"])
def test_a_file_too_many_is_found(image: Image, name: str) -> None:
    """A file in the composed tree that is no package's is found, wherever it is."""
    parent = image.tree / name
    if name == "arch/x86/more":
        from dataclasses import replace

        from rumpel.build.tree import manifest

        (image.tree / "arch/x86").resolve().joinpath("more").write_text("")
        image = replace(image, manifest=manifest((image.tree / "Makefile").resolve().parent))
    else:
        parent.write_text("")
    with pytest.raises(BuildError, match=f"1 not in the package: {name}"):
        verify_image(image)


def test_another_image_file_is_found(image: Image) -> None:
    """The image itself is what was built."""
    with image.path.open("ab") as f:
        f.write(b"x")
    with pytest.raises(BuildError, match="not the file that was built"):
        verify_image(image)


def test_another_tarball_is_found(image: Image) -> None:
    """The package's tarball is the one that the source came from."""
    with Path(image.tarball).open("ab") as f:
        f.write(b"x")
    with pytest.raises(BuildError, match="not the package's tarball"):
        verify_image(image)


def test_a_users_tree_is_no_packages(layout: Layout, tmp_path: Path) -> None:
    """What has no package cannot be verified, and says so."""
    image = ensure_image(source=fake.tree(tmp_path / "own"), layout=layout)
    with pytest.raises(BuildError, match="a tree that is no package's"):
        verify_image(image)
