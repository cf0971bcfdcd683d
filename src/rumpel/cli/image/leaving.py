# SPDX-License-Identifier: GPL-2.0-only
"""How commands end, without click."""

from __future__ import annotations

__all__ = ["Failed"]


class Failed(Exception):
    """A command has failed, and has said so.

    Args:
        status: what the process shall exit with.
    """

    def __init__(self, status: int = 1) -> None:
        super().__init__()
        self.status = status
