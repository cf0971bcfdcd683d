# SPDX-License-Identifier: GPL-2.0-only
"""What stands for the module :mod:`pyroute2`: ``kernel.pyroute2``."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any

import pyroute2
from pyroute2.netlink.core import SyncAPI
from pyroute2.netlink.nlsocket import AsyncNetlinkSocket

from rumpel.net.transport import on_kernel

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["Pyroute2"]


class Pyroute2:
    """The module pyroute2 on a kernel: its classes that speak netlink, and its exceptions.

    The module itself still speaks to the host, in the same process and at the same time.

    Example:
        >>> with rumpel.boot() as k:  # doctest: +SKIP
        ...     with k.pyroute2.IPRoute() as ipr:
        ...         ipr.link("add", ifname="br0", kind="bridge")
        ...     with k.pyroute2.WireGuard() as wg:
        ...         wg.info("wg0")
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._known: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        """Make the class when it is first used."""
        value = getattr(pyroute2, name, None)
        if not isinstance(value, type):
            raise AttributeError(f"kernel.pyroute2 has no {name!r}")
        if issubclass(value, SyncAPI | AsyncNetlinkSocket):
            value = self.on_kernel(value)
        elif name in _COMPOUND:
            value = _COMPOUND[name](self, value)
        elif not issubclass(value, Exception):
            raise AttributeError(f"pyroute2.{name} does not speak netlink: it is the host's only")
        self.__dict__[name] = value
        return value

    def on_kernel(self, cls: Any) -> Any:
        """Derive one of pyroute2's classes, or your own class made of one, for the kernel."""
        return on_kernel(self._kernel, cls, self._known)


def _with_globals(cls: Any, **names: Any) -> Any:
    """Derive a class whose methods see other things under some global names."""
    body: dict[str, Any] = {
        name: FunctionType(
            method.__code__,
            {**method.__globals__, **names},
            method.__name__,
            method.__defaults__,
            method.__closure__,
        )
        for name, method in vars(cls).items()
        if isinstance(method, FunctionType)
    }
    return type(cls.__name__, (cls,), {"__doc__": cls.__doc__, **body})


def _ndb(owner: Pyroute2, cls: Any) -> Any:
    """The network database, whose sources are on the kernel."""
    from pyroute2.ndb.source import Source
    from pyroute2.ndb.view import SourcesView

    source = _with_globals(Source, AsyncIPRoute=owner.AsyncIPRoute)
    return _with_globals(cls, SourcesView=_with_globals(SourcesView, Source=source))


def _ethtool(owner: Pyroute2, cls: Any) -> Any:
    """Settings of interfaces, by netlink and by an older call."""
    from pyroute2.ethtool.ioctl import IoctlEthtool

    kernel = owner._kernel
    calls = _with_globals(IoctlEthtool, socket=kernel.socket, fcntl=kernel.fcntl)
    return _with_globals(cls, IoctlEthtool=calls, NlEthtool=owner.NlEthtool)


_COMPOUND = {"NDB": _ndb, "Ethtool": _ethtool}
"""Classes that are no sockets but have some."""
