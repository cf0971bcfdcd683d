# SPDX-License-Identifier: GPL-2.0-only
"""A disk that remembers the order of writes and flushes, and what a power cut would leave of it.

A disk may keep what was written since the last flush, or not, each sector's block by itself and
in any order. What had ended when a flush began is there once that has ended (VIRTIO 1.2,
5.2.6.2, of VIRTIO_BLK_F_FLUSH).
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
from pathlib import Path
from typing import NamedTuple

__all__ = ["Recorder"]

_ATOM = 4096
"""What is written as a whole or not at all."""


class _Write(NamedTuple):
    """A write; begun: how much had ended then; data: None is zeroes."""

    begun: int
    offset: int
    length: int
    data: bytes | None


class _Flush(NamedTuple):
    """A flush of all that had ended when it began."""

    covered: int


class Recorder:
    """A file as a disk's backend; see :class:`rumpel.DiskBackend`.

    Requests overlap, and end in another order than that in which they came.

    Args:
        path: of the file, which is only read: all that is written stays in memory.
        seed: of the order.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self._chance = random.Random(seed)
        self._now = bytearray(path.read_bytes())
        self.size = len(self._now)
        self._events: list[_Write | _Flush] = []

    @property
    def time(self) -> int:
        """How many writes and flushes have ended so far."""
        return len(self._events)

    @property
    def flushes(self) -> list[int]:
        """The times when flushes had ended."""
        events = enumerate(self._events, 1)
        return [at for at, event in events if isinstance(event, _Flush)]

    async def _delay(self) -> None:
        for _ in range(self._chance.choice((0, 0, 0, 1, 2, 5))):
            await asyncio.sleep(0)

    async def pread(self, offset: int, length: int) -> bytes:
        """As any disk."""
        return bytes(self._now[offset : offset + length])

    async def pwrite(self, offset: int, data: bytes) -> None:
        """It ends at some time."""
        await self._write(offset, len(data), bytes(data))

    async def discard(self, offset: int, length: int) -> None:
        """What is discarded reads as zeroes; before the next flush, or after it."""
        await self._write(offset, length, None)

    async def write_zeroes(self, offset: int, length: int) -> None:
        """As a write."""
        await self._write(offset, length, None)

    async def _write(self, offset: int, length: int, data: bytes | None) -> None:
        begun = self.time
        await self._delay()
        self._now[offset : offset + length] = bytes(length) if data is None else data
        self._events.append(_Write(begun, offset, length, data))

    async def flush(self) -> None:
        """All that has ended by now will be there."""
        covered = self.time
        await self._delay()
        self._events.append(_Flush(covered))

    def cut(self, base: Path, target: Path, time: int, chance: random.Random) -> None:
        """Make the disk as it may be when the power goes at a time.

        Args:
            base: the file, as it was.
            target: is made.
            time: when.
            chance: chooses what is kept of what no flush was about.
        """
        before = self._events[:time]
        covered = max((each.covered for each in before if isinstance(each, _Flush)), default=0)
        kept = chance.choice((0.0, 0.2, 0.5, 0.8, 1.0))
        subprocess.run(["cp", "--sparse=always", base, target], check=True)
        with target.open("r+b", buffering=0) as file:
            for number, event in enumerate(self._events):
                if isinstance(event, _Flush) or (number >= time and event.begun >= time):
                    continue
                for start in range(0, event.length, _ATOM):
                    if number < covered or chance.random() < kept:
                        end = min(start + _ATOM, event.length)
                        data = bytes(end - start) if event.data is None else event.data[start:end]
                        os.pwrite(file.fileno(), data, event.offset + start)
