# SPDX-License-Identifier: GPL-2.0-only
"""Stages without a kernel: Python code sees the packets."""

from __future__ import annotations

import time

from rumpel.nf.stage import Stage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, ClassVar

    from rumpel._native import Packet
    from rumpel.kernel import Kernel
    from rumpel.nf.ends import Ends
    from rumpel.nf.stage import Side
    from rumpel.packets import PacketFormat

__all__ = ["PacketStage"]


class PacketStage(Stage):
    """A stage that is Python code over packets, between its two ports.

    Attributes:
        interval: seconds after which :meth:`tick` is called again and again; None: never. In
            a fused chain it is called while packets pass.
        now_ns: a clock that only goes on; on a virtual clock that one.

    Example:
        >>> class Quiet(PacketStage):
        ...     '''Let no ping pass.'''
        ...     def packets(self, items, side):
        ...         return [x for x in items if isinstance(x, bytes) or x.icmp is None]
    """

    interval: ClassVar[float | None] = None
    offloads = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.now_ns: Callable[[], int] = time.monotonic_ns

    def begin(self) -> None:
        """Called before there are packets.

        Raises:
            StageError: if an option makes no sense.
        """

    def packets(self, items: list[Packet | bytes], side: Side) -> Sequence[Packet | bytes]:
        """What is to go on of packets that came together. To be overridden.

        Args:
            items: packets, and lines of text that are none.
            side: where they came from.
        """
        raise NotImplementedError(f"{type(self).__name__} has no packets()")

    def drain(self, side: Side) -> Sequence[Packet | bytes]:
        """Called when nothing more will come from a side: what was held back."""
        return []

    def tick(self) -> None:
        """Called after each interval."""

    def finish(self) -> None:
        """Called when all has passed."""

    def process(
        self,
        ends: Ends,
        name: str,
        *,
        linux: Mapping[str, Any] | None = None,
        write: PacketFormat = "text",
        ready: Callable[[], None] = lambda: None,
        kernel: Kernel | None = None,
    ) -> int:
        """Be a process between descriptors, until it ends."""
        from rumpel.nf.through import through

        return through(self, ends, name, write=write, ready=ready)
