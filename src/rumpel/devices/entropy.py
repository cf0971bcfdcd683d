# SPDX-License-Identifier: GPL-2.0-only
"""A source of random numbers."""

from __future__ import annotations

from rumpel import _native
from rumpel.devices.device import Device

__all__ = ["Entropy"]


class Entropy(Device):
    """A source of random numbers: /dev/hwrng."""

    def __init__(self) -> None:
        super().__init__(_native.entropy())
