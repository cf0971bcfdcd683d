# SPDX-License-Identifier: GPL-2.0-only
"""What the parts of ``kernel.net`` share: connections, and errors in the kernel's own words."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import strerror
from typing import TYPE_CHECKING, Any

from rumpel.netlink import Rtnetlink

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["Client", "Network", "network"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
What = str | Callable[[], str]
"""What an operation is about; a function if it takes asking."""
AF_INET, AF_INET6 = 2, 10


class Client:
    """Opens pyroute2's objects for single operations.

    Each operation has a socket of its own: so it is made in the network namespace in which
    the calling thread is at that moment.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    @contextmanager
    def rtnl(self, what: What = "") -> Iterator[Any]:
        """An IPRoute; errors of the kernel are OSErrors about ``what``."""
        with self.open("IPRoute", what) as ipr:
            yield ipr

    @contextmanager
    def open(self, name: str, what: What = "") -> Iterator[Any]:
        """An object of a class of pyroute2; errors of the kernel are OSErrors about ``what``."""
        with translated(what), getattr(self.kernel.pyroute2, name)(ext_ack=True) as client:
            yield client

    def index(self, name: str) -> int:
        """The number of an interface.

        Raises:
            OSError: ENODEV if there is none of that name.
        """
        with Rtnetlink(self.kernel.os) as netlink:
            return netlink.index(name)

    def name(self, index: int | None) -> str | None:
        """The name of an interface; None if it is gone, or there was none."""
        if not index:
            return None
        with Rtnetlink(self.kernel.os) as netlink:
            try:
                return netlink.name(index)
            except OSError:
                return None


@contextmanager
def translated(what: What) -> Iterator[None]:
    """Turn pyroute2's errors into OSErrors with the kernel's explanation, if it gave one."""
    from pyroute2.netlink.exceptions import NetlinkError  # importing it takes a while

    try:
        yield
    except NetlinkError as error:
        code = abs(error.code)
        said = error.args[1] if len(error.args) > 1 else None
        text = strerror(code)
        if said and said != text:
            text = f"{text}: {said}"
        raise OSError(code, text, (what() if callable(what) else what) or None) from None


def network(text: str | Network | Address, what: str = "network") -> Network:
    """Parse the destination of a route; an address is a network of one.

    Raises:
        ValueError: if it is none, or has bits behind its prefix.

    Example:
        >>> network("10.0.0.0/8")
        IPv4Network('10.0.0.0/8')
    """
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"not a {what}: {text!r} ({error})") from None


def address(text: str | Address, what: str = "address") -> Address:
    """Parse an address.

    Raises:
        ValueError: if it is none.
    """
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        article = "an" if what[0] in "aeiou" else "a"
        raise ValueError(f"not {article} {what}: {text!r}") from None


def family_of(value: Address | Network) -> int:
    """AF_INET or AF_INET6."""
    return AF_INET if value.version == 4 else AF_INET6
