# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image cp``."""

from __future__ import annotations

import errno
import os
import posixpath
import sys

from rumpel.cli.image.common import Images, Place, bar, warn
from rumpel.cli.image.how import EXCLUDE, JOBS, OWNER, PROGRESS, How
from rumpel.copying import Copied
from rumpel.images.errors import ImageError
from rumpel.images.locate import Location, parse_any
from rumpel.images.volume import OTHER
from rumpel.options import Argument, Misused, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from shutil import Error
    from typing import Any

_PIECE = 1 << 20

PARAMS = (
    Argument("sources", nargs=-1, required=True, metavar="SOURCE..."),
    Argument("target", metavar="TARGET"),
    Option("-a", "-r", "-R", "ignored", is_flag=True, help="Always so; for your fingers."),
    EXCLUDE,
    OWNER,
    PROGRESS,
    JOBS,
)


def run(
    how: How,
    sources: tuple[str, ...],
    target: str,
    ignored: bool,
    exclude: tuple[str, ...],
    owner: tuple[int, int] | None,
    progress: bool,
    jobs: int,
) -> None:
    """Copy files and trees into, out of, within and between images, as cp -a does.

    Kept are modes, owners, times, symbolic and hard links, extended attributes, access control
    lists, capabilities, holes and devices, as far as the target can. A single file may come from
    stdin or go to stdout, which are called -.

    \b
    Example:
      rumpel image cp -r etc disk.img:2:/
      rumpel image cp disk.img:LABEL=root:/var/log logs
    """
    if sources == ("-",) or target == "-":
        _stream(how, sources, target, owner)
        return
    to = parse_any(target)
    ends = [parse_any(source) for source in sources]
    if to is None and not any(ends):
        files = [name for name in (*sources, target) if os.path.isfile(name)]  # noqa: PTH113
        example = f" (in an image is {files[-1]}:)" if files else ""
        raise Misused(f"neither source nor target is in an image that is there{example}")
    with Images(how) as images:
        place = images.place(to, writes=True) if to else None
        into = _is_directory(place, target)
        if len(sources) > 1 and not into:
            images.complain(f"{target}: is no directory")
            return
        for name, location in zip(sources, ends, strict=True):
            with images.attempt(name), bar(progress) as update:
                path = place.path if place else target
                options: dict[str, Any] = {"exclude": exclude, "owner": owner, "progress": update}
                options["jobs"] = jobs
                if place and location and _same_disk(place, location):
                    for found in _found(place, location):
                        if not into:
                            within = f"{found}/."  # there is one in directories only
                            _check_slash(
                                target, bool(place.volume.find_from(location.partition, within))
                            )
                        final = posixpath.join(path, _name(found)) if into else path
                        args = location.partition, found, final
                        _copied(images, place.volume.copy_from, *args, **options)
                    continue
                for source in _sources(images, name, location):
                    if not into:
                        _check_slash(target, _is_tree(source))
                    final = posixpath.join(path, _name(source)) if into else path
                    _copy(images, source, place, final, options)


def _stream(how: How, sources: tuple[str, ...], target: str, owner: tuple[int, int] | None) -> None:
    """Copy stdin to a file of an image, or one to stdout."""
    name = sources[0] if target == "-" else target
    location = parse_any(name)
    if len(sources) > 1 or location is None:
        raise Misused(
            "only one file of an image that is there can go to stdout, or come from stdin"
        )
    with Images(how, writes=target != "-") as images, images.attempt(name):
        place = images.place(location)
        if target == "-":
            out = sys.stdout.buffer
            for data in place.volume.content(place.path, lend=True):
                out.write(data)
            out.flush()
            return
        with place.volume.kernel.open(place.path, "wb", buffering=0) as file:
            if owner:
                place.volume.kernel.os.fchown(file.fileno(), *owner)
            while data := sys.stdin.buffer.read(_PIECE):
                while data:
                    data = data[file.write(data) :]


def _same_disk(place: Place, location: Location) -> bool:
    """Is it another partition of the target's image? That is open already, to be written."""
    same = os.path.realpath(location.image) == os.path.realpath(place.volume.session.name)
    return same and location.partition != place.partition


def _found(place: Place, location: Location) -> list[str]:
    """What is meant in another partition of the target's image."""
    path = location.path or "/"
    if not set(path) & set("*?["):
        return [path]
    found = place.volume.find_from(location.partition, path)
    if not found:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return found


def _sources(images: Images, name: str, location: Location | None) -> list[Place | str]:
    return [name] if location is None else list(images.places([name]))


def _is_directory(place: Place | None, target: str) -> bool:
    if place is None:
        return os.path.isdir(target)  # noqa: PTH112
    return bool(place.volume.kernel.os.path.isdir(place.path))


def _is_tree(source: Place | str) -> bool:
    if isinstance(source, str):
        return os.path.isdir(source) and not os.path.islink(source)  # noqa: PTH112, PTH114
    path = source.volume.kernel.os.path
    return bool(path.isdir(source.path) and not path.islink(source.path))


def _check_slash(target: str, is_tree: bool) -> None:
    """A name with a slash at its end is a directory's."""
    if target.endswith("/") and not is_tree:
        raise ImageError(target, os.strerror(errno.ENOTDIR))


def _name(source: Place | str) -> str:
    """What it is called in the directory that it is copied to; "" for all that is in it."""
    path = source if isinstance(source, str) else source.path
    name = posixpath.basename(path.rstrip("/"))
    return "" if name in (".", "..") else name


def _copy(
    images: Images, source: Place | str, to: Place | None, target: str, options: dict[str, Any]
) -> None:
    target = target.rstrip("/") or "/"
    if isinstance(source, str):
        assert to
        _copied(images, to.volume.copy_in, source, target, **options)
    elif to is None:
        _copied(images, source.volume.copy_out, source.path, target, **options)
    elif source.volume is to.volume:
        _copied(images, to.volume.copy_within, source.path, target, **options)
    else:
        ahead = {"exclude": options.pop("exclude"), "jobs": options.pop("jobs")}
        items = source.volume.items(source.path, **ahead, packed=True)
        _copied(images, to.volume.write, items, target, source.path, **options)


def _copied(images: Images, copy: Callable[..., Copied], *args: Any, **options: Any) -> None:
    """Copy, and say what could not be."""
    try:
        said(images, copy(*args, **options))
    except OSError as error:
        from shutil import Error

        if not isinstance(error, Error):
            raise
        failed(images, error)


def failed(images: Images, error: Error) -> None:
    """Say what could not be copied."""
    import re

    for path, _, why in error.args[0]:
        # As OSError has it, with names that may be those of the sandbox.
        reason = re.sub(r"^\[Errno \d+\] ([^:]*).*", r"\1", why)
        images.complain(f"{path.removeprefix(OTHER)}: {reason}")


def said(images: Images, copied: Copied) -> None:
    """Say what could not be kept, once for each kind."""
    lost: dict[tuple[str, str | None], int] = {}
    for _, what, error in copied.lost:
        lost[what, error.strerror] = lost.get((what, error.strerror), 0) + 1
    for (what, why), count in lost.items():
        warn(f"{what} of {count} files could not be kept: {why}")
