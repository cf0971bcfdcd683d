# SPDX-License-Identifier: GPL-2.0-only
"""Two trees, as items, compared."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.copying.source import Item

__all__ = ["Difference", "compare"]


class Difference(NamedTuple):
    """What is not the same.

    Attributes:
        path: of the entry, relative to the top.
        where: ``left``, ``right`` or ``both``: where it is.
        what: of what is in both, what differs, such as ``content`` or ``mode``.
    """

    path: str
    where: str
    what: tuple[str, ...] = ()


class _Entry(NamedTuple):
    path: str
    facts: dict[str, Any]

    @property
    def order(self) -> list[str]:
        return self.path.split("/") if self.path else []


def compare(
    left: Iterable[Item], right: Iterable[Item], ignore: Iterable[str] = ()
) -> Iterator[Difference]:
    """Compare two trees.

    Args:
        left: items of :mod:`rumpel.copying.source`.
        right: the same.
        ignore: what may differ: ``owner``, ``mode``, ``times``, ``xattrs`` and so on.

    Example:
        >>> a = ["d", "", [0o40755, 0, 0, 0, 0, 1, []]]
        >>> b = ["l", "x", [0o120777, 0, 0, 0, 0, 1, []], "y"]
        >>> list(compare([(a, b"")], [(a, b""), (b, b"")]))
        [Difference(path='x', where='right', what=())]
    """
    ignored = set(ignore)
    one, other = _entries(left), _entries(right)
    a, b = next(one, None), next(other, None)
    while a or b:
        if b is None or (a is not None and a.order < b.order):
            assert a
            yield Difference(a.path, "left")
            a = next(one, None)
        elif a is None or b.order < a.order:
            yield Difference(b.path, "right")
            b = next(other, None)
        else:
            names = {*a.facts, *b.facts} - ignored
            what = sorted(name for name in names if a.facts.get(name) != b.facts.get(name))
            if what:
                yield Difference(a.path, "both", tuple(what))
            a, b = next(one, None), next(other, None)


def _entries(items: Iterable[Item]) -> Iterator[_Entry]:
    """Entries with a digest of their content."""
    series = iter(items)
    for item, data in series:
        kind, path = item[0], item[1]
        if kind == "x":
            raise OSError(5, str(item[2]), path)
        if kind == "h":
            yield _Entry(path, {"type": "f", "link": item[2]})
            continue
        facts = _facts(kind, item[2])
        if kind in ("l", "s"):
            facts["target" if kind == "l" else "device"] = item[3]
        elif kind == "f":
            facts["content"] = _digest(series, data, item[3], path)
        yield _Entry(path, facts)


def _facts(kind: str, attributes: list[Any]) -> dict[str, Any]:
    mode, uid, gid, _, mtime, _, xattrs = attributes
    facts: dict[str, Any] = {"type": kind, "owner": (uid, gid), "times": mtime}
    if kind != "l":
        facts["mode"] = stat.S_IMODE(mode)
    if kind == "s":
        facts["type"] = stat.S_IFMT(mode)
    facts["xattrs"] = sorted(map(tuple, xattrs))
    return facts


def _digest(series: Iterator[Item], data: Any, whole: bool, path: str) -> bytes:
    digest = hashlib.sha256(data)
    if whole:
        return digest.digest()
    at = 0
    for item, piece in series:
        if item[0] == "x":
            raise OSError(5, str(item[2]), path)
        hole = item[1] - at
        while hole > 0:
            digest.update(bytes(min(hole, 1 << 20)))
            hole -= 1 << 20
        at = item[1] + len(piece)
        if item[0] == "e":
            break
        digest.update(piece)
    return digest.digest()
