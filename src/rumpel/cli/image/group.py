# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image`` as click has it."""

from __future__ import annotations

from types import ModuleType

import click

from rumpel.cli.image import COMMANDS, HELP
from rumpel.cli.image.clicked import command_of
from rumpel.cli.row import Row
from rumpel.cli.table import LazyGroup


class _Images(LazyGroup):
    def made(self, row: Row, module: ModuleType) -> object:
        """Also a command that was declared without click."""
        if hasattr(module, "PARAMS"):
            return command_of(row.name, module.run, module.PARAMS)
        command: click.Command = module.command
        return command


command = _Images("image", COMMANDS, HELP)
