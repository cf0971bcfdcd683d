# SPDX-License-Identifier: GPL-2.0-only
"""What the ``rumpel image`` commands share."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager
from contextvars import ContextVar

from rumpel.cli.image.how import How
from rumpel.cli.image.leaving import Failed
from rumpel.cli.terminal import OUTPUT, escaped, masked, write
from rumpel.errors import RumpelError
from rumpel.images.choose import choose
from rumpel.images.errors import LockedError, SeveralError
from rumpel.images.locate import Location, parse
from rumpel.images.volume import Volume, open_volume
from rumpel.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType
    from typing import Any
else:
    import _signal as signal  # signal makes enums of it, whose import takes longer

_ERROR = 3
"""Of the kernel's log: that and below are errors."""


class Place(NamedTuple):
    """A path in a mounted file system, and how the user called it."""

    volume: Volume
    path: str
    name: str
    partition: str | None


KEPT: ContextVar[Volume | None] = ContextVar("KEPT", default=None)
"""What a shell has mounted, for its commands."""


class Images:
    """The images that a command has open, and what went wrong with its arguments.

    One image that is named more than once is opened once.

    Args:
        how: the options that all commands have.
        writes: are they written to?
        copies: are trees copied? What looks at files only is named in
            :mod:`rumpel.images.prestart` as well.
    """

    def __init__(self, how: How, writes: bool = False, copies: bool = True) -> None:
        self._how = how
        self._writes = writes
        self._copies = copies
        self._open: dict[tuple[str, str | None, int], Volume] = {}
        self.failed = self._input_error = False

    def volume(self, location: Location, writes: bool | None = None, apart: bool = False) -> Volume:
        """Mount what a name says; ``apart``: once more, if it is already."""
        kept = KEPT.get()
        if kept and self.is_in(location, kept):
            return kept
        number = len(self._open) if apart else 0
        key = os.path.realpath(location.image), location.partition, number
        if key not in self._open:
            writes = self._writes if writes is None else writes
            options = self._how.options(writes, copies=self._copies)
            for volume in [] if apart else list(self._open.values()):
                if self.is_in(location, volume):
                    return volume
                if writes and _same_file(location.image, volume.session.name):
                    # Of an image that is written to one file system is open at a time.
                    self._close(volume)
            disks = self._how.paths(location.image)
            self._open[key] = open_volume(disks, location.partition, options)
        return self._open[key]

    def each(self, location: Location) -> Iterator[Volume]:
        """Mount the file system that a name means; if there are several, one after the other."""
        try:
            volume = self.volume(location)
        except SeveralError as error:
            several = [location._replace(partition=each.title) for each in error.devices]
        else:
            yield volume
            return
        for one in several:
            with self.attempt(str(one)):
                volume = self.volume(one)
                yield volume
                self._close(volume)

    def is_in(self, location: Location, volume: Volume) -> bool:
        """Does a name lead into a file system that is open?

        Raises:
            ImageError: if the image has no such partition.
        """
        if not _same_file(location.image, volume.session.name):
            return False
        try:
            named = choose(volume.session.name, volume.devices, location.partition)
        except LockedError:
            return False
        return named == volume.device

    def place(self, location: Location, writes: bool | None = None, apart: bool = False) -> Place:
        """Mount the file system that a path is in."""
        return Place(
            self.volume(location, writes, apart),
            location.path or "/",
            str(location),
            location.partition,
        )

    def places(self, names: Sequence[str], may_be_none: bool = False) -> Iterator[Place]:
        """The places that arguments name; patterns name as many as there are.

        Args:
            names: the arguments.
            may_be_none: it is no error if a pattern names nothing.
        """
        for name in names:
            location = parse(name)
            with self.attempt(name):
                place = self.place(location)
                found = _expand(place)
                if location.path is None or found is None:
                    yield place
                elif not found and not may_be_none:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), place.path)
                else:
                    for path in found:
                        yield place._replace(path=path, name=str(location._replace(path=path)))

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Say what fails, and go on with the next argument."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            if error.filename == OUTPUT:
                raise
            self.complain(f"{name}: {error.strerror or error}")
        except RumpelError as error:
            self.complain(str(error))

    def complain(self, text: str) -> None:
        """One line on stderr; the command's exit status will be 1."""
        warn(text)
        self.failed = True
        self._input_error = self._input_error or os.strerror(errno.EIO) in text

    def close(self) -> None:
        """Unmount all."""
        while self._open:
            self._close(next(reversed(self._open.values())))

    def _close(self, volume: Volume) -> None:
        self._open = {key: each for key, each in self._open.items() if each is not volume}
        if self._input_error:
            _explain(volume)
        with self.attempt(volume.name):
            volume.close()

    def __enter__(self) -> Images:
        self._before = {number: signal.signal(number, _terminated) for number in _ends()}
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            self.close()
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)
        if self.failed and error is None:
            raise Failed(1)


def _same_file(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _explain(volume: Volume) -> None:
    """What the kernel has said of errors since it booted, of which programs only get numbers."""
    said: list[str] = []
    for record in volume.kernel.log:
        if record.text.startswith("Run /init"):
            said.clear()
        elif record.level <= _ERROR:
            said.append(record.text)
    if said:
        warn(f"{volume.name}: the kernel says: {said[-1]}")


def _ends() -> list[signal.Signals]:
    """Signals that end a command; nohup(1) ignores one of them."""
    both = (signal.SIGTERM, signal.SIGHUP)
    return [each for each in both if signal.getsignal(each) != signal.SIG_IGN]


def _terminated(number: int, frame: FrameType | None) -> None:
    """SIGTERM, SIGHUP: leave as an exception does, so that all is unmounted."""
    raise SystemExit(128 + number)


def _expand(place: Place) -> list[str] | None:
    """What a pattern names; None if it is none."""
    path = place.path
    if not set(path) & set("*?[") or place.volume.kernel.os.path.lexists(path):
        return None
    return sorted(place.volume.kernel.glob.glob(path, recursive=True))


def warn(text: str) -> None:
    """One line on stderr."""
    line = escaped(text).replace("\n", "\\n")
    print(f"rumpel: {line}", file=sys.stderr)


def show(text: str = "") -> None:
    """Print a line; on a terminal without what would steer it."""
    show_all([text])


def show_all(lines: Sequence[str], end: bytes = b"\n") -> None:
    """Print lines at once: who wants no buffer would have a call of the host for each.

    Args:
        lines: what to print; on a terminal without what would steer it.
        end: what is behind each.
    """
    if end == b"\n" and sys.stdout.isatty():
        lines = [masked(line) for line in lines]
    if lines:
        write(end.join([*map(os.fsencode, lines), b""]))


def show_json(value: object) -> None:
    """Print for programs."""
    import json

    print(json.dumps(value, indent=2))


@contextmanager
def bar(wanted: bool) -> Iterator[Callable[[Any], object] | None]:
    """A progress bar on stderr, if that is a terminal."""
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("")

        def update(copied: Any) -> None:
            done = f"{copied.files} files, {copied.bytes / 1e6:.0f} MB  {copied.path[-60:]}"
            description = masked(done).encode("ascii", "replace").decode()
            shown.update(task, description=description)

        yield update


def size(value: int, human: bool) -> str:
    """A size, as ls -h has it."""
    if not human:
        return str(value)
    number, units = float(value), iter(("", "K", "M", "G", "T", "P", "E", "Z", "Y", "R"))
    unit = next(units)
    while number >= 1024:
        number /= 1024
        unit = next(units)
    return f"{number:.1f}{unit}" if unit and number < 10 else f"{number:.0f}{unit}"
