# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``shape``."""

from __future__ import annotations

from rumpel.nf.stage import Stage, StageError
from rumpel.options import Choice, FloatRange, IntRange, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.kernel import Kernel

_SIDES = {"right": ("right",), "left": ("left",), "both": ("left", "right")}


class Shape(Stage):
    """Delay, lose, reorder, duplicate and damage packets, or slow them down (netem).

    What goes to the right is treated, or to the left, or both. Probabilities are fractions
    of one.

    \b
    Example:
      rumpel nf chain 'ping 10.0.0.2 | shape --delay 0.02 --loss 0.1 | host 10.0.0.2'
    """

    offloads = False
    params = (
        Option("--delay", type=FloatRange(0), metavar="SECONDS", help="Each packet's."),
        Option("--jitter", type=FloatRange(0), metavar="SECONDS", help="By which it varies."),
        Option("--loss", type=FloatRange(0), metavar="FRACTION", help="Packets that are lost."),
        Option("--reorder", type=FloatRange(0), metavar="FRACTION", help="That are not delayed."),
        Option("--duplicate", type=FloatRange(0), metavar="FRACTION", help="That come twice."),
        Option("--corrupt", type=FloatRange(0), metavar="FRACTION", help="With one bit wrong."),
        Option("--rate", type=FloatRange(0), metavar="BITS", help="Bits a second."),
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
