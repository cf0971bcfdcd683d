# SPDX-License-Identifier: GPL-2.0-only
"""Find an image, or build it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rumpel.build.config import profile_options, user_options
from rumpel.build.image import Image, key_of, load, port_hash, stored
from rumpel.build.layout import Layout
from rumpel.build.pin import pinned
from rumpel.build.toolchain import compiler
from rumpel.errors import BuildError

if TYPE_CHECKING:
    from rumpel.build.progress import Progress

DEFAULT_VERSION = "6.12"
DEFAULT_PROFILE = "default"


def find_image(
    version: str = DEFAULT_VERSION,
    profile: str = DEFAULT_PROFILE,
    options: Iterable[str] = (),
    layout: Layout | None = None,
) -> Image | None:
    """The image that is ready for these arguments, without building: some milliseconds.

    An image that came with the package is preferred if no options are asked
    for. Where there is no compiler, any compiler's image will do.
    """
    layout = layout or Layout()
    extra = user_options(options)
    if not extra and layout.packaged.is_dir():
        image = load(layout.packaged / f"{version}-{profile}")
        if image is not None:
            return image
    wanted = profile_options(layout, profile)
    source = pinned(layout, version)
    if source is None:
        from rumpel.build.versions import version as check_version

        check_version(layout, version)
        return None
    port, cc = port_hash(layout), compiler(layout)
    if cc is not None:
        return load(layout.images / key_of(source.identity, port, wanted, extra, cc))
    for image in stored(layout):
        if key_of(source.identity, port, wanted, extra, image.compiler) == image.key:
            return image
    return None


def ensure_image(
    version: str = DEFAULT_VERSION,
    profile: str = DEFAULT_PROFILE,
    options: Iterable[str] = (),
    source: str | Path | None = None,
    progress: Progress | None = None,
    layout: Layout | None = None,
    refresh: bool = False,
    jobs: int | None = None,
) -> Image:
    """Return the image for these arguments; build it if it is not in the cache.

    Args:
        version: one of the supported versions; ignored if ``source`` is given.
        profile: the name of a file in ``kernel/configs``.
        options: further options such as ``CONFIG_X=y``.
        source: a directory, tarball or git tree instead of a version's package.
        progress: is told what happens; silent by default.
        layout: the directories to use; the default ones if None.
        refresh: ask the archive for a newer source of the version.
        jobs: parallel compilers; one for each CPU if None.

    Raises:
        BuildError: if something is missing or does not build.
        ConfigError: if one of ``options`` did not come out as asked.
    """
    layout = layout or Layout()
    options = list(options)
    if source is None and not refresh:
        image = find_image(version, profile, options, layout)
        if image is not None:
            return image
    from rumpel.build.build import build

    return build(layout, version, profile, options, source, progress, refresh, jobs)


def list_images(layout: Layout | None = None) -> list[Image]:
    """All images that are ready."""
    return list(stored(layout or Layout()))


def remove_image(key: str, layout: Layout | None = None) -> Image:
    """Remove an image from the cache by its key, or by a beginning of it that fits one only."""
    layout = layout or Layout()
    found = [x for x in stored(layout) if x.key.startswith(key)] if key else []
    if len(found) != 1:
        raise BuildError(f"{len(found) or 'no'} images have a key that begins with {key!r}")
    if not found[0].path.is_relative_to(layout.images):
        raise BuildError(f"image {found[0].key} came with the package and stays with it")
    import shutil

    shutil.rmtree(found[0].path.parent)
    return found[0]
