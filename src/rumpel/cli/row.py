# SPDX-License-Identifier: GPL-2.0-only
"""A row of a table of commands."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """A subcommand: its name, the module whose ``command`` it is, a line of help."""

    name: str
    module: str
    help: str
