# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``bridge``."""

from __future__ import annotations

from rumpel.nf.stage import Stage, StageError
from rumpel.options import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.devices import Nic
    from rumpel.kernel import Kernel


class Bridge(Stage):
    """Join both sides by an Ethernet bridge of Linux, and further ports.

    A further port is two named pipes: what is written to IN by whoever is there, and what is
    read from OUT. Their other ends are opened first. With such ports it is a switch: it
    learns who is where, and sends there only.

    \b
    Examples:
      rumpel nf chain 'ping 10.0.0.2 | bridge | host 10.0.0.2'
      mkfifo in out; rumpel nf host 10.0.0.3 --return in < out &
      rumpel nf chain 'ping 10.0.0.3 | bridge --port in:out | host 10.0.0.2'
    """

    params = (Option("--port", multiple=True, metavar="IN:OUT", help="A further port."),)

    def nics(self) -> dict[str, Nic]:
        """An interface for each further port."""
        made: dict[str, Nic] = {}
        for number, text in enumerate(self.options.port):
            from rumpel.nf.stages.route import pipes
            from rumpel.nf.wire import MTU_MOST

            come, _, go = text.partition(":")
            if not come or not go:
                raise StageError(f"not a port: {text!r} (write in:out)")
            made[f"port{number}"] = pipes(come, go, MTU_MOST)
        return made

    def configure(self, k: Kernel) -> None:
        """The ports and a bridge."""
        from rumpel.nf.wire import bridge

        further = [name for name in self.interfaces if name not in self.ports]
        bridge(k, [*self.ports, *further], learns=bool(further))
