# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image find``."""

from __future__ import annotations

import stat
import sys
import time

from rumpel.cli.image.common import Images, Place, show_all, show_json
from rumpel.cli.image.how import AS_JSON, How
from rumpel.cli.image.ls import to_json
from rumpel.copying.patterns import matches
from rumpel.images.found import Found
from rumpel.options import Argument, Choice, IntRange, Misused, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_TYPES = {
    "f": stat.S_IFREG,
    "d": stat.S_IFDIR,
    "l": stat.S_IFLNK,
    "b": stat.S_IFBLK,
    "c": stat.S_IFCHR,
    "p": stat.S_IFIFO,
    "s": stat.S_IFSOCK,
}
_NOTHING = (None,) * 7
"""What is asked for, if it is all."""
_TOGETHER = 200
_UNITS = {"c": 1, "k": 1024, "M": 1 << 20, "G": 1 << 30}


PARAMS = (
    Argument("names", nargs=-1, required=True, metavar="IMAGE[:PARTITION][:PATH]..."),
    Option("--name", "pattern", metavar="PATTERN", help="Whose name fits."),
    Option("--path", "path_pattern", metavar="PATTERN", help="Whose path fits."),
    Option("--type", "kind", type=Choice(list(_TYPES)), help="Of this type."),
    Option("--size", "length", metavar="[+-]N[ckMG]", help="At least +N, at most -N, or N long."),
    Option("--mtime", metavar="[+-]DAYS", help="Changed before +N or within -N days."),
    Option("--perm", metavar="[-/]MODE", help="With these bits: all (-), any (/) or just so."),
    Option("--uid", type=int, help="Of this owner."),
    Option("--maxdepth", type=IntRange(min=0), help="How far down."),
    Option("--print0", is_flag=True, help="Separate names by NUL."),
    AS_JSON,
)


def run(
    how: How,
    names: tuple[str, ...],
    pattern: str | None,
    path_pattern: str | None,
    kind: str | None,
    length: str | None,
    mtime: str | None,
    perm: str | None,
    uid: int | None,
    maxdepth: int | None,
    print0: bool,
    as_json: bool,
) -> None:
    """Look for files.

    \b
    Example: programs that run as root
      rumpel image find disk.img --type f --perm -4000 --uid 0
    """
    sign, number = _length(length)
    day_sign, days = _signed(mtime, "--mtime")
    perm_kind, bits = _perm(perm)
    now = time.time()

    def fits(each: Found, path: str) -> bool:
        mode = stat.S_IMODE(each.mode)
        return (
            (pattern is None or matches(path.rpartition("/")[2], pattern))
            and (path_pattern is None or matches(path, path_pattern))
            and (kind is None or stat.S_IFMT(each.mode) == _TYPES[kind])
            and (length is None or _compare(each.size, sign, number))
            and (mtime is None or _compare(_days(now, each.mtime), day_sign, days))
            and (perm is None or _has(mode, perm_kind, bits))
            and (uid is None or each.uid == uid)
        )

    given = pattern, path_pattern, kind, length, mtime, perm, uid
    every: list[dict[str, object]] = []
    depth = -1 if maxdepth is None else maxdepth
    with Images(how, copies=False) as images:
        for place in images.places(names):
            with images.attempt(place.name):
                if as_json:
                    found = _found(place, depth, fits)
                    every += [to_json(place, each) for each, _ in found]
                elif given == _NOTHING:
                    _show(_all(place, depth), print0)
                else:
                    _show(([path] for _, path in _found(place, depth, fits)), print0)
    if as_json:
        show_json(every)


def _found(
    place: Place, depth: int, fits: Callable[[Found, str], bool]
) -> Iterator[tuple[Found, str]]:
    top = place.path.rstrip("/")
    for each in place.volume.walk(place.path, depth):
        path = f"{top}/{each.path}" if each.path else place.path
        if fits(each, path):
            yield each, path


def _all(place: Place, depth: int) -> Iterator[list[str]]:
    """All paths, some at a time."""
    top = place.path.rstrip("/") + "/"
    for paths in place.volume.walk_paths(place.path, depth):
        yield [top + path if path else place.path for path in paths]


def _show(groups: Iterable[list[str]], print0: bool) -> None:
    """Print paths as they come, but not each for itself; all that there were before an error."""
    shown: list[str] = []
    together = 1 if sys.stdout.isatty() else _TOGETHER
    end = b"\0" if print0 else b"\n"
    try:
        for paths in groups:
            shown += paths
            if len(shown) >= together:
                shown, lines = [], shown
                show_all(lines, end)
    finally:
        show_all(shown, end)


def _days(now: float, ns: int) -> int:
    return int((now - ns / 1e9) / 86400)


def _signed(text: str | None, option: str) -> tuple[str, int]:
    text = text or "0"
    sign = text[0] if text[0] in "+-" else ""
    number = text.removeprefix(sign)
    if not number.isdecimal():
        reason = f"{text!r} is no number with a sign or without"
        raise Misused(f"Invalid value for {option}: {reason}")
    return sign, int(number)


def _length(text: str | None) -> tuple[str, int]:
    if text and text[-1] in _UNITS:
        sign, number = _signed(text[:-1], "--size")
        return sign, number * _UNITS[text[-1]]
    return _signed(text, "--size")


def _compare(value: int, sign: str, number: int) -> bool:
    if sign == "+":
        return value >= number
    return value <= number if sign == "-" else value == number


def _perm(text: str | None) -> tuple[str, int]:
    kind = text[0] if text and text[0] in "-/" else ""
    try:
        return kind, int((text or "0")[len(kind) :], 8)
    except ValueError:
        raise Misused(f"Invalid value for --perm: {text!r} is no octal mode") from None


def _has(mode: int, kind: str, bits: int) -> bool:
    if kind == "-":
        return mode & bits == bits
    return bool(mode & bits) if kind == "/" else mode == bits
