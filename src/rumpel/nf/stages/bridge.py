# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``bridge``."""

from __future__ import annotations

from rumpel.nf.stage import Stage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.kernel import Kernel


class Bridge(Stage):
    """Join both sides by an Ethernet bridge of Linux.

    \b
    Example:
      rumpel nf chain 'ping 10.0.0.2 | bridge | host 10.0.0.2'
    """

    def configure(self, k: Kernel) -> None:
        """Two ports and a bridge."""
        self.bridge(k)
