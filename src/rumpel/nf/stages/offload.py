# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``offload``."""

from __future__ import annotations

import errno

from rumpel.nf import wire
from rumpel.nf.stage import Stage, StageError
from rumpel.options import Choice, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.kernel import Kernel

_SWITCHES = {
    "checksum": (wire.ETHTOOL_STXCSUM,),
    "segmentation": (wire.ETHTOOL_STSO, wire.ETHTOOL_SGSO),
    "gro": (wire.ETHTOOL_SGRO,),
}
"""The commands of each."""


class Offload(Stage):
    """Switch on or off what network cards do for the kernel.

    With --segmentation off segments of TCP are cut before they leave the stage, with
    --checksum off they are summed, with --gro off those that come are not put together.
    In a fused chain segments are whole and without sums from one end to the other unless
    a stage needs them otherwise; on pipes all packets are plain, and only --gro tells.

    \b
    Example:
      rumpel nf chain --fuse 'tcp 10.0.0.2 7 | offload --segmentation off | host 10.0.0.2 --echo 7'
    """

    params = tuple(
        Option(f"--{name}", type=Choice(["on", "off"]), show_default=False, help=text)
        for name, text in (
            ("segmentation", "Leave it to the next stage (TSO, GSO)."),
            ("checksum", "The same for sums."),
            ("gro", "Put segments together that come."),
        )
    )

    def configure(self, k: Kernel) -> None:
        """A bridge whose ports have these features."""
        with k.socket.socket(k.socket.AF_INET, k.socket.SOCK_DGRAM) as sock:
            for name, commands in _SWITCHES.items():
                wanted = getattr(self.options, name)
                for command in commands if wanted else ():
                    for port in self.ports:
                        try:
                            wire.ethtool(k, sock.fileno(), port, command, on=wanted == "on")
                        except OSError as error:
                            if wanted == "off" and error.errno == errno.EOPNOTSUPP:
                                continue  # it never was on
                            raise StageError(f"{name} of {port}: {error}") from None
        self.bridge(k)
