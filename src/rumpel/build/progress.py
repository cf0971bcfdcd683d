# SPDX-License-Identifier: GPL-2.0-only
"""How the builder tells what it is doing.

The builder calls a :class:`Progress`; this base says nothing. Programs bring
their own, the command line takes :func:`for_stream`.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class Progress:
    """Receives what happens; silent unless a subclass speaks."""

    def start(self, step: str, total: int | None = None) -> None:
        """A step begins; ``total`` units are to do, if that is known."""

    def update(self, done: int, what: str = "") -> None:
        """``done`` units of the step are done; ``what`` is the newest."""

    def note(self, text: str) -> None:
        """Something to know that is not an error."""

    def stop(self) -> None:
        """The last step is over, well or not."""


class Lines(Progress):
    """Sparse lines for logs: each step once, then one line every ``every`` seconds."""

    def __init__(self, stream: TextIO, every: float = 10.0) -> None:
        self._stream = stream
        self._every = every
        self._step = ""
        self._total: int | None = None
        self._last = 0.0

    def start(self, step: str, total: int | None = None) -> None:
        """Print the step's name."""
        self._step, self._total, self._last = step, total, time.monotonic()
        print(step + (f": {total} to do" if total else ""), file=self._stream, flush=True)

    def update(self, done: int, what: str = "") -> None:
        """Print a line if the last one is old enough."""
        now = time.monotonic()
        if now - self._last < self._every:
            return
        self._last = now
        of = f" of {max(self._total, done)}" if self._total else ""
        print(f"{self._step}: {done}{of} {what}".rstrip(), file=self._stream, flush=True)

    def note(self, text: str) -> None:
        """Print the note."""
        print(text, file=self._stream, flush=True)


class Bar(Progress):
    """A bar on a terminal, by rich."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=stream)
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._total: int | None = None

    def start(self, step: str, total: int | None = None) -> None:
        """Close the last step's bar and open a new one."""
        from rich import progress as rich

        self.stop()
        self._total = total
        self._bar = rich.Progress(
            rich.TextColumn("{task.description:<24}"),
            rich.BarColumn(),
            rich.MofNCompleteColumn(),
            rich.TimeElapsedColumn(),
            rich.TextColumn("[dim]{task.fields[what]}"),
            console=self._console,
        )
        self._bar.start()
        self._task = self._bar.add_task(step, total=total, what="")

    def update(self, done: int, what: str = "") -> None:
        """Move the bar; if there is more to do than was thought, lengthen it."""
        if self._bar is None or self._task is None:
            return
        total = max(self._total, done) if self._total else None
        self._bar.update(self._task, completed=done, total=total, what=what[-40:])

    def note(self, text: str) -> None:
        """Print the note above the bar."""
        self._console.print(text, markup=False, highlight=False)

    def stop(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def for_stream(stream: TextIO | None = None) -> Progress:
    """A bar if the stream is a terminal, else sparse lines."""
    to = stream or sys.stderr
    if to is None:  # a process without a standard error
        return Progress()
    return Bar(to) if to.isatty() else Lines(to)
