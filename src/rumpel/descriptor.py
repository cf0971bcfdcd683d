# SPDX-License-Identifier: GPL-2.0-only
"""Descriptors that know their kernel.

An event loop over a kernel waits for the host's descriptors and the kernel's alike, and
``fileno()`` is all that it is told. So what the sockets and files of a kernel return there is an
integer like any other, with a class attribute that says whose it is.
"""

from __future__ import annotations

from typing import ClassVar

from rumpel import _native

__all__ = ["Descriptor", "descriptors_of"]


class Descriptor(int):
    """A descriptor of a kernel; :func:`descriptors_of` makes the class of each.

    Attributes:
        kernel: whose it is.
    """

    __slots__ = ()
    kernel: ClassVar[_native.Kernel]


def descriptors_of(kernel: _native.Kernel) -> type[Descriptor]:
    """Make the class of a kernel's descriptors.

    Args:
        kernel: the binding's object.
    """
    return type("Descriptor", (Descriptor,), {"__slots__": (), "kernel": kernel})
