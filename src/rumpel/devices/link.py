# SPDX-License-Identifier: GPL-2.0-only
"""A cable between two kernels."""

from __future__ import annotations

from collections.abc import Iterator

from rumpel import _native
from rumpel.clock import to_ns
from rumpel.devices.nic import Nic, to_mac

__all__ = ["Link"]


class Link:
    """A cable: two network interfaces, for two kernels of this process or for one.

    Args:
        delay: propagation delay each way, in seconds.
        mtu: in bytes.
        macs: the two ends' addresses; None makes one up.

    Example:
        >>> a, b = Link(delay=0.001)  # doctest: +SKIP
        >>> with rumpel.boot(nics=[a]) as left, rumpel.boot(nics=[b]) as right:  # doctest: +SKIP
        ...     left.ifup("eth0", "10.0.0.1/24")
    """

    def __init__(
        self,
        delay: float = 0.0,
        mtu: int = 1500,
        macs: tuple[str | None, str | None] = (None, None),
    ) -> None:
        delay_ns = to_ns(delay)
        if delay < 0:
            raise ValueError("a delay cannot be negative")
        ends = _native.net_link(delay_ns, mtu, to_mac(macs[0]), to_mac(macs[1]))
        self.ends = (Nic(ends[0]), Nic(ends[1]))

    def __iter__(self) -> Iterator[Nic]:
        return iter(self.ends)

    def __getitem__(self, index: int) -> Nic:
        return self.ends[index]
