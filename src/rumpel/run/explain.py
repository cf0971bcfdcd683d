# SPDX-License-Identifier: GPL-2.0-only
"""What can be asked of the agent, for those who want to see it at work."""

from __future__ import annotations

import enum

from rumpel.run.agent import FLAG_COUNTS, FLAG_SECCOMP, FLAG_TRACE

__all__ = ["Explain", "Trap"]


class Explain(enum.Enum):
    """How much is told about who answered the program's calls."""

    COUNTS = FLAG_COUNTS
    """When a process ends or executes another program: how often which call."""
    TRACE = FLAG_TRACE
    """Each call, and the rule that decided."""


class Trap(enum.Enum):
    """How calls are caught where the program's text was not rewritten."""

    AUTO = 0
    """Syscall user dispatch, or else seccomp."""
    SECCOMP = FLAG_SECCOMP
    """A seccomp filter, which every host has; setuid programs lose their power for it."""
