# SPDX-License-Identifier: GPL-2.0-only
"""What became of a copy."""

from __future__ import annotations

from rumpel.copying import Copied, Lost
from rumpel.copying.packed import length
from rumpel.errors import SandboxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from rumpel.copying import Progress

__all__ = ["copied", "counted"]


def copied(answer: Any) -> Copied:
    """What a writer in the sandbox says.

    Args:
        answer: of :func:`rumpel.images.jobs.write` or :func:`rumpel.images.jobs.duplicate`.

    Raises:
        shutil.Error: with what could not be made.
        SandboxError: if it makes no sense.
    """
    try:
        done = Copied()
        vars(done).update(answer["copied"])
        done.lost = [Lost(path, what, OSError(*why)) for path, what, *why in done.lost]
        errors = [(str(source), str(to), str(why)) for source, to, why in answer["errors"]]
    except (TypeError, ValueError, KeyError) as error:
        raise SandboxError("a sandbox sends nonsense") from error
    if errors:
        from shutil import Error

        raise Error(errors)
    return done


def counted(
    items: Iterable[tuple[list[Any], Any]], progress: Progress
) -> Iterator[tuple[list[Any], Any]]:
    """What goes by, as progress.

    Args:
        items: of :mod:`rumpel.copying.source`.
        progress: called after each.
    """
    seen = Copied()
    for item, data in items:
        kind = item[0]
        if kind in ("d", "f", "l", "h", "s"):
            seen.path = item[1]
        if kind == "b":
            seen.path = f"{item[1]}/{item[2][-1]}".lstrip("/")
            seen.files += len(item[2])
        seen.bytes += length(item[2], data) if kind == "b" else len(data)
        seen.files += kind == "f"
        seen.directories += kind == "d"
        seen.links += kind in ("l", "h")
        seen.specials += kind == "s"
        yield item, data
        progress(seen)
