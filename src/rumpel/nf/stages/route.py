# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``route``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rumpel.nf.stage import Stage

if TYPE_CHECKING:
    from rumpel.kernel import Kernel


class Route(Stage):
    """Route what comes in on one side out on the other.

    Time to live goes down by one, packets that are too large are reported to their
    senders, and so on: it is Linux's forwarding, of IPv4 and IPv6. Nobody has to know the
    router's address.
    """

    def configure(self, k: Kernel) -> None:
        """Two ports and routes between them."""
        self.route(k)
