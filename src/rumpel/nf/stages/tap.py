# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``tap``."""

from __future__ import annotations

from rumpel.nf.stage import RIGHT, Stage, StageError
from rumpel.nf.wire import bridge
from rumpel.options import Argument, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.devices import Nic
    from rumpel.kernel import Kernel


class Tap(Stage):
    """Be a TAP device of the host, at an end of a chain.

    It ends when the chain does.

    \b
    Example (as root):
      rumpel nf chain 'tap tap0 | nat | host 10.0.0.2'
    """

    ports = (RIGHT,)
    params = (
        Argument("name"),
        Option("--netns", metavar="NAME", help="The host's network namespace that it is in."),
    )

    def nics(self) -> dict[str, Nic]:
        """The device.

        Raises:
            StageError: if it cannot be had.
        """
        from rumpel.devices import Tap as TapNic

        try:
            return {"outside": TapNic(self.options.name, netns=self.options.netns)}
        except (ValueError, OSError) as error:
            raise StageError(f"{self.options.name}: {error}") from None

    def configure(self, k: Kernel) -> None:
        """All of them are joined by a bridge."""
        bridge(k, [*self.ports, "outside"])
