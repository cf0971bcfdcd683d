# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel demo``: a kernel at work on real input, and every result checked.

``disk`` writes and reads an ext4 image, ``page`` fetches from a server of the host,
``pair`` moves data between two kernels; ``report`` is what is printed, ``tools``
what they share.
"""

from __future__ import annotations

from rumpel.demo.parts import run
from rumpel.demo.tools import DemoError

__all__ = ["DemoError", "run"]
