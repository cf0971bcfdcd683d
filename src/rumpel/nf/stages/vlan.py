# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``vlan``."""

from __future__ import annotations

import struct

from rumpel.netlink import attribute
from rumpel.nf.stage import LEFT, RIGHT, Side, Stage
from rumpel.nf.wire import add_link, bridge, up, widen
from rumpel.options import Argument, Choice, IntRange, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.kernel import Kernel

_IFLA_VLAN_ID, _IFLA_VLAN_PROTOCOL = 1, 5
_ETHERTYPES = {"802.1Q": 0x8100, "802.1ad": 0x88A8}


class Vlan(Stage):
    """Tag what goes to the right as of a VLAN, and take the tag off on the way back.

    What comes from the tagged side without the tag, or with another, goes nowhere.

    \b
    Example:
      rumpel nf chain 'ping 10.0.0.2 | vlan 7 | vlan 7 --tagged left | host 10.0.0.2'
    """

    params = (
        Argument("id", type=IntRange(1, 4094)),
        Option("--tagged", type=Choice([LEFT, RIGHT]), default=RIGHT, help="Which side."),
        Option("--protocol", type=Choice(list(_ETHERTYPES)), default="802.1Q"),
    )

    def configure(self, k: Kernel) -> None:
        """A bridge between a port and a VLAN of the other one."""
        tagged: Side = self.options.tagged
        data = attribute(_IFLA_VLAN_ID, struct.pack("=H", self.options.id))
        data += attribute(
            _IFLA_VLAN_PROTOCOL, struct.pack("!H", _ETHERTYPES[self.options.protocol])
        )
        widen(k, tagged)
        # First: one that is there already would come up with it, and report its groups.
        up(k, tagged)
        add_link(k, "vlan", "vlan", data, tagged)
        bridge(k, [RIGHT if tagged == LEFT else LEFT, "vlan"])
