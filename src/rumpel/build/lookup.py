# SPDX-License-Identifier: GPL-2.0-only
"""Where an image is, remembered: what every boot asks.

:func:`rumpel.build.find_image` hashes what an image is made from. Its answer stays right as long
as nothing that it has looked at changes, and to see that takes a stat of each: a millisecond, and
no imports.
"""

from __future__ import annotations

import os

from rumpel.build import roots
from rumpel.errors import BootError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from rumpel.build.image import Image

__all__ = ["image_path"]

_CC = "gcc"


_found: dict[tuple[str, str], str] = {}
"""What this process knows."""


def image_path(version: str, profile: str) -> str:
    """Where the image of a version and a profile is.

    Raises:
        BootError: if there is none yet.
        BuildError: if there is no such version or profile.
    """
    path = _found.get((version, profile))
    if path is None or not os.path.exists(path):  # noqa: PTH110 (this is faster)
        path = _found[version, profile] = _look_up(version, profile)
    return path


def _look_up(version: str, profile: str) -> str:
    cache, data = roots.cache_root(), roots.data_root()
    # One for each checkout that uses the cache.
    name = f"{version}-{profile}-{data}".replace("/", "%")
    file = f"{cache}/state/found-{name}"
    cc = roots.which(_CC)
    known = _kept(file, cc)
    if known is not None:
        return known
    before = _lines(_inputs(cache, data, version, profile, cc))
    from rumpel.build.ensure import find_image

    image = find_image(version, profile)
    if image is None:
        raise BootError(
            f"there is no image of Linux {version} with the profile {profile!r} yet; "
            f"make one: rumpel kernel build {version} --profile {profile}"
        )
    _keep(file, cc, before, image)
    return str(image.path)


def _kept(file: str, cc: str | None) -> str | None:
    """What is remembered, if it is still true."""
    try:
        with open(file, encoding="utf-8") as opened:
            image, kept_cc, *lines = opened.read().split("\n")
    except (OSError, ValueError):
        return None
    if (
        lines
        and kept_cc == str(cc)
        and all(line == _line(line.split(" ", 4)[-1]) for line in lines)
    ):
        return image
    return None


def _keep(file: str, cc: str | None, before: list[str], image: Image) -> None:
    from pathlib import Path

    from rumpel.build.memo import keep

    path = str(image.path)
    files = [path, f"{os.path.dirname(path)}/image.json"]  # noqa: PTH120
    rows = [path, str(cc), *before, *_lines(files)]
    if any("\n" in row for row in rows):
        return  # a name of a directory may have anything
    keep(Path(file), "\n".join(rows))


def _line(path: str) -> str:
    """What tells whether a file is the same: size, change times, inode; none of what is none."""
    try:
        st = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return f"- - - - {path}"
    return f"{st.st_size} {st.st_mtime_ns} {st.st_ctime_ns} {st.st_ino} {path}"


def _lines(paths: Iterable[str]) -> list[str]:
    return [_line(path) for path in paths]


def _inputs(cache: str, data: str, version: str, profile: str, cc: str | None) -> list[str]:
    """All that find_image() looks at: directories too, as what is new is seen by them."""
    found = [f"{roots.PACKAGE}/_images/{version}-{profile}", f"{cache}/sources/{version}.json"]
    found += [f"{found[0]}/{name}" for name in ("image.json", "rumpel.so")]
    found += [f"{data}/include/rumpel/host_ops.h", f"{data}/kernel/configs/{profile}.config"]
    # Where there is no compiler, any compiler's image will do.
    found.append(cc or f"{cache}/images")
    for top in (f"{data}/kernel/arch/rumpel", f"{data}/kernel/configs/fragments"):
        for directory, _, names in os.walk(top):
            found += [directory, *(f"{directory}/{name}" for name in names)]
    return found
