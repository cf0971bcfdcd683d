# SPDX-License-Identifier: GPL-2.0-only
"""What all network interfaces have in common, and MAC addresses."""

from __future__ import annotations

import errno
import os

from rumpel import _native
from rumpel.devices.device import Device, to_fd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Literal

__all__ = ["Nic", "to_mac"]


class Nic(Device):
    """A network interface: eth0 and so on, in the order given at boot."""

    _kind = "nic"
    _link_up = True

    @property
    def link_up(self) -> bool:
        """Is the cable plugged in? May be set; without it the interface has no carrier.

        Frames that arrive meanwhile are lost, as on a real one. The other end of a
        :class:`Link` keeps its own. To pull the cable of a kernel that runs, set this
        (True will do) before the kernel gets the interface: only then its driver looks
        for a link state. Such a link is up a moment after its interface is, as any real
        one; the others are up at once. It then also has no carrier while nobody is at the
        other end: a TAP device that was deleted, a peer that went away.

        Raises:
            OSError: EOPNOTSUPP if the driver does not look, because it was not set before.
        """
        return self._link_up

    @link_up.setter
    def link_up(self, up: bool) -> None:
        try:
            self._native.set_link(up)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            raise OSError(
                error.errno,
                "this kernel's driver does not look for a link state: set link_up, to True or "
                "False, before the kernel gets the interface",
            ) from None
        self._link_up = bool(up)

    @property
    def stalled(self) -> bool:
        """Do frames that the kernel has sent wait for whoever is to take them?"""
        return _native.net_is_stalled(self._native)

    def join(self, other: Nic) -> None:
        """Say that what comes in here goes out there, and the other way round.

        While it cannot go out, no more is taken: whoever sends waits, and none is lost in
        the kernel between them. Lines of text that are no packets go straight through from
        one :class:`PipeNic` to the other.

        Args:
            other: both are cables (:class:`Link`), pipes (:class:`PipeNic`) or Python objects
                (:class:`PythonNic`), for the same kernel, which has them not yet.
        """
        _native.net_join(self._native, other._native)

    def capture(
        self,
        file: str | os.PathLike[str] | IO[bytes] | int | None,
        format: Literal["pcap", "pcapng"] | None = None,
        name: str | None = None,
    ) -> None:
        """Write all frames to a file, with times of the kernel's clock in nanoseconds.

        The file may be a pipe to a program that reads such files live. A reader that is
        too slow loses frames (which :attr:`stats` counts as errors), and holds up nobody.

        Args:
            file: the path of a file, which is made anew; or a binary file or a descriptor,
                which is duplicated; None stops, once all is written.
            format: ``pcap``, which every program reads, or ``pcapng``, which also names
                the interface and has its address. By default what a path ends with, else pcap.
            name: of the interface, in a pcapng file; at most 64 bytes.

        Raises:
            OSError: if the file cannot be made or written to; with None, if not all of it could be
                written. (A reader that is gone is no error.)
            KernelClosed: if the kernel is gone.

        Example:
            >>> tcpdump = subprocess.Popen(["tcpdump", "-nr", "-"], stdin=PIPE)  # doctest: +SKIP
            >>> nic.capture(tcpdump.stdin)  # doctest: +SKIP
            >>> nic.capture("trace.pcapng")  # doctest: +SKIP
        """
        if format is None:
            path = os.fspath(file) if isinstance(file, str | os.PathLike) else ""
            format = "pcapng" if path.endswith(".pcapng") else "pcap"
        if format not in ("pcap", "pcapng"):
            raise ValueError(f"not a capture format: {format!r}")
        if isinstance(file, str | os.PathLike):
            with open(file, "wb") as made:
                self.capture(made, format, name)
            return
        fd = -1 if file is None else to_fd(file)
        self._native.capture(fd, _native.CAPTURE_PCAPNG * (format == "pcapng"), name)


def to_mac(text: str | None) -> bytes | None:
    """Parse a MAC address.

    Example:
        >>> to_mac("02:00:00:00:00:01")
        b'\\x02\\x00\\x00\\x00\\x00\\x01'
    """
    if text is None:
        return None
    try:
        mac = bytes(int(x, 16) for x in text.replace("-", ":").split(":"))
    except ValueError:
        mac = b""
    if len(mac) != 6:
        raise ValueError(f"not a MAC address: {text!r}")
    if mac[0] & 1:
        raise ValueError(
            f"{text!r} is a group's MAC address, not an interface's: {mac[0]:02x} is odd"
        )
    if not any(mac):
        raise ValueError(f"{text!r} is nobody's MAC address")
    return mac
