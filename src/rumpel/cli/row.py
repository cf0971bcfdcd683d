# SPDX-License-Identifier: GPL-2.0-only
"""A row of a table of commands."""

from __future__ import annotations


class Row:
    """A subcommand.

    Args:
        name: its name.
        module: the one whose ``command`` it is.
        help: a line.
    """

    def __init__(self, name: str, module: str, help: str) -> None:
        self.name = name
        self.module = module
        self.help = help
