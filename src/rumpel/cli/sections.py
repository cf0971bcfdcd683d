# SPDX-License-Identifier: GPL-2.0-only
"""Commands that share many options: in the help, their own come first."""

from __future__ import annotations

import click

__all__ = ["Sectioned"]


class Sectioned(click.Command):
    """A command whose help has the options that it shares with others under a heading of their own.

    Attributes:
        shared: the names of their values.
        heading: what the help has above them.
    """

    shared: frozenset[str] = frozenset()
    heading = "Options of all commands"

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, its own first."""
        own: list[tuple[str, str]] = []
        others: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and not isinstance(param, click.Argument):
                (others if param.name in self.shared else own).append(record)
        for heading, records in (("Options", own), (self.heading, others)):
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)
