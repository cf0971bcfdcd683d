# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``tee``."""

from __future__ import annotations

import os

from rumpel.nf.stage import LEFT, RIGHT, Stage, StageError
from rumpel.nf.wire import MTU_MOST, bridge
from rumpel.options import Argument, Choice, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.devices import Nic
    from rumpel.kernel import Kernel

__all__ = ["Tee", "open_end"]


class Tee(Stage):
    """Copy what passes to files or named pipes, as tee(1) does.

    What goes to the right is copied, or to the left, or both. Behind a named pipe may be
    another stage. A reader that is too slow holds up the chain.

    \b
    Example:
      rumpel nf chain 'ping 10.0.0.2 | tee copy | host 10.0.0.2'
    """

    params = (
        Argument("files", nargs=-1, required=True, metavar="FILE..."),
        Option("--direction", type=Choice([RIGHT, LEFT, "both"]), default=RIGHT),
        Option("--as", "form", type=Choice(["text", "pcap", "pcapng"]), default="text"),
    )

    def nics(self) -> dict[str, Nic]:
        """An interface for each copy, which only sends."""
        from rumpel.devices import PipeNic

        made: dict[str, Nic] = {}
        for number, path in enumerate(self.options.files):
            fd = open_end(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            made[f"copy{number}"] = PipeNic(
                None, fd, write=self.options.form, mtu=MTU_MOST, report=2, name="rumpel nf tee"
            )
            os.close(fd)
        return made

    def configure(self, k: Kernel) -> None:
        """A bridge that floods; who is isolated hears nothing of the others that are."""
        copies = [name for name in self.interfaces if name not in (LEFT, RIGHT)]
        apart = {RIGHT: [RIGHT, *copies], LEFT: [LEFT, *copies], "both": []}
        bridge(k, [*self.ports, *copies], apart[self.options.direction])


def open_end(path: str, flags: int) -> int:
    """Open a file or a named pipe.

    Raises:
        StageError: if it cannot be.
    """
    try:
        return os.open(path, flags | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise StageError.of(error) from None
