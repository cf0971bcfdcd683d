# SPDX-License-Identifier: GPL-2.0-only
"""A network interface between two streams of packets."""

from __future__ import annotations

import os

from rumpel import _native
from rumpel.devices.nic import Nic, to_mac
from rumpel.packets import FORMATS, packet_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from rumpel.devices.shapes import HasFileno
    from rumpel.packets import PacketFormat

    PipeEvent = Literal["end", "damaged", "broken", "done"]
else:
    PipeEvent = str

__all__ = ["PipeEvent", "PipeNic"]

_EVENTS: dict[int, PipeEvent] = {
    ord("e"): "end",
    ord("d"): "damaged",
    ord("b"): "broken",
    ord("w"): "done",
}


class PipeNic(Nic):
    """An interface that reads packets from one descriptor and writes them to another.

    Text is a line for each packet: its time in seconds, ``>`` or ``<``, the Ethernet frame
    in hexadecimal digits, and a summary as tcpdump's. The summary is for people, and for
    programs such as grep; who reads the packet ignores it. Lines without a time and a
    direction are no packets. pcap and pcapng are what tcpdump and Wireshark read and write.

    When a side is slow, the other one waits. Frames are plain: the kernel has summed and
    segmented them. Unless the other end of both descriptors is another kernel's PipeNic:
    then both may leave that to whoever comes behind them (``offload``).

    Args:
        input: where packets are read, until its end; None: nowhere.
        output: where they are written; None: what the kernel sends is lost.
        write: the format of what is written. What is read says itself what it is.
        backward: what is written goes the other way (``<``).
        paused: read nothing before :meth:`resume`: what comes before the kernel is set up
            would be lost.
        offload: at the other end there is another one of these, which says so, too. Frames
            have their virtio-net headers then, instead of ``write``'s format.
        shared: with ``offload``, and one socket for both directions, a memfd that the other end
            has as well, which is ``backward`` if this one is not: frames go through that memory,
            and through the socket only words to who sleeps. 0: there is none.
        report: where a line is written for each packet that cannot be read.
        name: which these lines begin with.
        mac: of the kernel's interface; None makes one up.
        mtu: in bytes.

    Raises:
        ValueError: for ``shared`` without ``offload`` or with two descriptors.

    Attributes:
        reads: is there an input?
        writes: is there an output?

    Example:
        >>> rumpel.boot(nics=[PipeNic(sys.stdin, sys.stdout)])  # doctest: +SKIP
    """

    def __init__(
        self,
        input: int | HasFileno | None,
        output: int | HasFileno | None,
        *,
        write: PacketFormat = "text",
        backward: bool = False,
        paused: bool = False,
        offload: bool = False,
        shared: int = 0,
        report: int | HasFileno | None = None,
        name: str = "rumpel",
        mac: str | None = None,
        mtu: int = 1500,
    ) -> None:
        # Checked first: nothing is to be closed then.
        numbers = [_number(end) for end in (input, output, report)]
        if shared and not (offload and numbers[0] == numbers[1] >= 0):
            raise ValueError("shared memory is for offload, and one socket for both directions")
        self.reads, self.writes = input is not None, output is not None
        formats = _native.PACKETS_ANY, FORMATS[packet_format(write)]
        if offload:
            formats = _native.PACKETS_VIRTIO, _native.PACKETS_VIRTIO
        address = to_mac(mac)
        self._reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            native = _native.net_pipe(
                numbers[0],
                numbers[1],
                writer,
                numbers[2],
                name,
                *formats,
                backward,
                paused,
                shared,
                address,
                mtu,
            )
        except BaseException:
            self.close()
            raise
        finally:
            os.close(writer)
        super().__init__(native)

    def fileno(self) -> int:
        """A descriptor that is readable while :meth:`events` has something to tell."""
        return self._reader

    def events(self) -> list[PipeEvent]:
        """What happened to the streams since the last call.

        Returns:
            ``end``: the input has ended, and the kernel has all of it; ``damaged``: so it
            has of what could be read; ``broken``: nobody reads the output any more; ``done``:
            the output was closed after :meth:`end_output`.
        """
        try:
            return [_EVENTS[byte] for byte in os.read(self._reader, 64)]
        except BlockingIOError:
            return []

    def resume(self) -> None:
        """Begin to read, if it was made ``paused``."""
        _native.net_pipe_resume(self._native)

    def end_output(self) -> None:
        """Close the output, once all is written that the kernel has sent: ``done`` then."""
        _native.net_pipe_end(self._native)

    def close(self) -> None:
        """Called when the kernel is gone."""
        if self._reader >= 0:
            os.close(self._reader)
            self._reader = -1


def _number(end: int | HasFileno | None) -> int:
    if end is None:
        return -1
    return end if isinstance(end, int) else end.fileno()
