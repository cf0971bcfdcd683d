# SPDX-License-Identifier: GPL-2.0-only
"""Stages without a kernel in a fused chain: Python code over what passes between two kernels."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rumpel._native import Packet
from rumpel.devices.python import PythonNic
from rumpel.nf.ending import Ended
from rumpel.nf.stage import LEFT, RIGHT, Side, StageError

if TYPE_CHECKING:
    from rumpel.clock import HostClock, VirtualClock
    from rumpel.nf.packet_stage import PacketStage

__all__ = ["Between"]

_OTHER: dict[Side, Side] = {LEFT: RIGHT, RIGHT: LEFT}
_ARROW = {LEFT: ">", RIGHT: "<"}
"""The direction of what comes from a side."""
_MOST, _BYTES = 4096, 8 << 20
"""Frames that may wait for a kernel, and bytes. More are not given to it: the other one's wait."""
_PAUSE = 0.0005
"""Seconds between two looks at whether there is room."""


class _End(PythonNic):
    """The port of the kernel on one side."""

    def __init__(self, between: Between, side: Side, mtu: int) -> None:
        super().__init__(mtu=mtu)
        self._between = between
        self._side: Side = side

    def transmit(self, frames: list[bytes]) -> None:
        """What this kernel sends."""
        self._between.carry(frames, self._side)


class Between:
    """What is in a chain instead of a cable: stages without a kernel, the left one first.

    Args:
        stages: at least one, with its name.
        mtu: of the ports on both sides.

    Attributes:
        error: what was wrong with a stage, or the signal that has ended it. Then nothing passes
            any more.
    """

    def __init__(self, stages: Sequence[tuple[str, PacketStage]], mtu: int) -> None:
        self._names = {stage: name for name, stage in stages}
        self.stages = [stage for _, stage in stages]
        self.error: StageError | Ended | None = None
        self._begun: list[PacketStage] = []
        self.ends = (_End(self, LEFT, mtu), _End(self, RIGHT, mtu))
        self._clock: HostClock | VirtualClock | None = None
        # Both directions have a thread, and the stages are of one.
        self._lock = threading.Lock()
        # Of what comes from a side: frames that are here, and that were given to the other.
        self._seen = {LEFT: 0, RIGHT: 0}
        self._here = {LEFT: 0, RIGHT: 0}
        self._given = {LEFT: 0, RIGHT: 0}
        self._longest = 1500
        self._closed = False
        self._due = 0.0
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def __iter__(self) -> Iterator[PythonNic]:
        return iter(self.ends)

    def __getitem__(self, index: int) -> PythonNic:
        return self.ends[index]

    def fileno(self) -> int:
        """A descriptor that is readable when there is an :attr:`error`."""
        return self._reader

    def begin(self) -> None:
        """Called before anything else.

        Raises:
            StageError: if an option of a stage makes no sense.
        """
        for stage in self.stages:
            with self._named(stage):
                stage.begin()
                self._begun.append(stage)

    def end(self) -> None:
        """All has passed: also called if :meth:`begin` fails."""
        for stage in reversed(self._begun):
            with self._named(stage):
                stage.finish()

    def start(self, clock: HostClock | VirtualClock) -> None:
        """Let it have the time of its neighbours, before anything passes."""
        self._clock = clock
        for stage in self.stages:
            stage.now_ns = lambda: clock.now_ns
        self._due = clock.now

    def carry(self, frames: list[bytes], side: Side) -> None:
        """Let the stages see what comes from a side, and give the rest to the other one."""
        if self.error is not None:
            return
        with self._watched():
            clock = self._clock
            assert clock is not None
            self._here[side] = len(frames)
            self._seen[side] += len(frames)
            now, direction = clock.now, _ARROW[side]
            items: list[Packet | bytes] = [Packet(frame, now, direction) for frame in frames]
            with self._lock:
                out = self._through(self._order(side), items, side)
                self._tick(now)
            self._give(out, side)
        self._here[side] = 0

    def drain(self, side: Side) -> None:
        """Give on what the stages have held back of what came from a side."""
        order = self._order(side)
        with self._watched():
            for number, stage in enumerate(order):
                with self._lock:
                    with self._named(stage):
                        held = list(stage.drain(side))
                    held = self._through(order[number + 1 :], held, side)
                self._give(held, side)

    @property
    def moving(self) -> int:
        """The frames that are neither with the stages nor have left them for a kernel."""
        if self.error is not None:
            return 0
        count = sum(self._here.values())
        for side, end in zip((LEFT, RIGHT), self.ends, strict=True):
            count += end.stats.sent - self._seen[side] + self._waiting(_OTHER[side])
        return count

    def close(self) -> None:
        """Give nothing any more to kernels that are about to end."""
        self._closed = True

    def finish(self) -> None:
        """All has passed, and the kernels are gone."""
        os.close(self._reader)
        os.close(self._writer)

    def _order(self, side: Side) -> Sequence[PacketStage]:
        return self.stages if side == LEFT else self.stages[::-1]

    def _through(
        self, stages: Sequence[PacketStage], items: list[Packet | bytes], side: Side
    ) -> list[Packet | bytes]:
        for stage in stages:
            if not items:
                break
            with self._named(stage):
                items = list(stage.packets(items, side))
        return items

    def _tick(self, now: float) -> None:
        intervals = [stage.interval for stage in self.stages if stage.interval is not None]
        if not intervals or now < self._due:
            return
        self._due = now + min(intervals)
        for stage in self.stages:
            if stage.interval is not None:
                with self._named(stage):
                    stage.tick()

    def _give(self, items: Sequence[Packet | bytes], side: Side) -> None:
        """A kernel does not wait for ever: others' frames wait for it."""
        to = self.ends[side == LEFT]
        frames = [bytes(item) for item in items if not isinstance(item, bytes)]
        virtual = to._native.clock is not None
        self._longest = max(self._longest, *map(len, frames), 0)
        most = min(_MOST, _BYTES // self._longest)
        for start in range(0, len(frames), most):
            some = frames[start : start + most]
            while not virtual and not self._closed and self._waiting(side) + len(some) > most:
                time.sleep(_PAUSE)
            if self._closed:
                return
            taken = to.receive(some)
            self._given[side] += len(some)
            if taken < len(some):
                raise StageError(f"{len(some) - taken} packets are too much for the stage behind")

    def _waiting(self, side: Side) -> int:
        """Frames from a side that wait for the kernel on the other one."""
        stats = self.ends[side == LEFT].stats
        return self._given[side] - stats.received - stats.dropped

    @contextlib.contextmanager
    def _named(self, stage: PacketStage) -> Iterator[None]:
        """Say whose error it is, whatever it is: it must not get lost in a thread."""
        try:
            yield
        except StageError as error:
            raise StageError(f"{self._names[stage]}: {error}") from None
        except Ended:  # on a virtual clock this is the main thread, where signals are raised
            raise
        except BaseException as error:
            what = f"{type(error).__name__}: {error}"
            raise StageError(f"{self._names[stage]}: {what}") from error

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """An error is for the thread that waits for the chain's end."""
        try:
            yield
        except (StageError, Ended) as error:
            self.error = error
            with contextlib.suppress(BlockingIOError):
                os.write(self._writer, b"e")
