# SPDX-License-Identifier: GPL-2.0-only
"""The descriptors between which a stage is a process."""

from __future__ import annotations

import os
import sys

from rumpel.nf.stage import LEFT, RIGHT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.nf.stage import Side, Stage

__all__ = ["BROKEN_PIPE", "Ends", "descriptors", "let_go"]

BROKEN_PIPE = 128 + 13  # SIGPIPE; to import signal takes its time
"""The exit code of whoever writes what nobody reads."""


class Ends:
    """The descriptors of a stage: what comes in on a side, what goes out there; or None.

    Attributes:
        offload: sides where another kernel is, to which segments and checksums may be left.
        shared: for these, memory that both processes have.
    """

    def __init__(self) -> None:
        self.left_in: int | None = None
        self.left_out: int | None = None
        self.right_in: int | None = None
        self.right_out: int | None = None
        self.offload: set[Side] = set()
        self.shared: dict[Side, int] = {}

    def of(self, side: Side) -> tuple[int | None, int | None]:
        """What comes in on a side, and what goes out there."""
        if side == LEFT:
            return self.left_in, self.left_out
        return self.right_in, self.right_out

    def fds(self) -> set[int]:
        """Those that are there."""
        both = (*self.of(LEFT), *self.of(RIGHT), *self.shared.values())
        return {fd for fd in both if fd is not None}


def let_go(ends: Ends) -> None:
    """Close what the ports have copies of: who reads ours would not see their end."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in ends.fds():
        # Standard input and output keep their places.
        if fd <= 2:
            os.dup2(null, fd)
        else:
            os.close(fd)
    os.close(null)


def descriptors(stage: Stage, returns: dict[Side, str]) -> Ends:
    """Standard input and output, and named pipes for the way back.

    Args:
        stage: whose ports they are for.
        returns: for a side, the path of the named pipe for answers there.
    """
    ends = Ends()
    if LEFT in stage.ports:
        ends.left_in = 0
        if LEFT in returns:
            ends.left_out = os.open(returns[LEFT], os.O_WRONLY | os.O_CLOEXEC)
    if RIGHT in stage.ports:
        ends.right_out = 1
        if RIGHT in returns:
            ends.right_in = os.open(returns[RIGHT], os.O_RDONLY | os.O_CLOEXEC)
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()
    return ends
