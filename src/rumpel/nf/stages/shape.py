# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``shape``."""

from __future__ import annotations

from rumpel.nf.stage import Stage, StageError
from rumpel.nf.units import to_bits, to_fraction, to_seconds
from rumpel.options import Choice, IntRange, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.kernel import Kernel

_SIDES = {"right": ("right",), "left": ("left",), "both": ("left", "right")}


class Shape(Stage):
    """Delay, lose, reorder, duplicate and damage packets, or slow them down (netem).

    What goes to the right is treated, or to the left, or both. Units are those of tc: 10ms, 1%,
    8mbit; a number alone is in seconds, a fraction of one, or bits a second.

    \b
    Example:
      rumpel nf chain 'ping 10.0.0.2 | shape --delay 20ms --loss 10% | host 10.0.0.2'
    """

    offloads = False
    params = (
        Option("--delay", type=to_seconds, metavar="TIME", help="Each packet's."),
        Option("--jitter", type=to_seconds, metavar="TIME", help="By which it varies."),
        Option("--loss", type=to_fraction, metavar="PART", help="Packets that are lost."),
        Option("--reorder", type=to_fraction, metavar="PART", help="That are not delayed."),
        Option("--duplicate", type=to_fraction, metavar="PART", help="That come twice."),
        Option("--corrupt", type=to_fraction, metavar="PART", help="With one bit wrong."),
        Option("--rate", type=to_bits, metavar="RATE", help="Bits a second."),
        Option(
            "--limit",
            type=IntRange(1, 0xFFFFFFFF),
            default=1000,
            metavar="PACKETS",
            help="That wait at most.",
        ),
        Option(
            "--seed",
            type=IntRange(0, (1 << 64) - 1),
            help="Of chance: the same packets in each run.",
        ),
        Option("--direction", type=Choice(list(_SIDES)), default="right", help="Which way."),
    )

    def configure(self, k: Kernel) -> None:
        """A bridge whose ports have netem as queueing discipline."""
        options = vars(self.options).copy()
        sides = _SIDES[options.pop("direction")]
        options["rate_bps"] = options.pop("rate")
        given = {name: value for name, value in options.items() if value is not None}
        for side in sides:
            try:
                k.net.qdisc.replace(side, "netem", **given)
            except (ValueError, OSError) as error:
                raise StageError(f"netem: {error}") from None
        self.bridge(k)
