# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel nf``: network functions joined by pipes. Its help, and what is wrong with a line."""

from __future__ import annotations

import sys
from typing import Any

import click

from rumpel.cli.nf_run import CHAIN, COMMON, Misused, run_chain_command, run_stage
from rumpel.cli.params import params
from rumpel.cli.sections import Sectioned
from rumpel.nf.stage import Stage, StageError, find, names

_CHAIN_HELP = """\
Join stages, and programs between them, in both directions.

A program sees what goes to the right as lines of text; marked with < what goes to the
left, with <> both. A file may have line breaks and comments.

\b
Examples:
  rumpel nf chain 'ping 10.0.0.2 | nat | host 10.0.0.2'
  rumpel nf chain 'ping 10.0.0.2 | < grep -v "seq 2" | host 10.0.0.2'
"""


_HELP = """\
Network functions joined by pipes: packets on standard input and output.

\b
Examples:
  rumpel nf ping 10.0.0.2 | rumpel nf nat --format pcap | tcpdump -nr -
  rumpel nf chain 'ping 10.0.0.2 | nat | host 10.0.0.2'
"""


class _Stages(click.Group):
    """A command for each stage, loaded when it is called."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List them with whole sentences: click would cut them off."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, c.get_short_help_str(300)) for name, c in commands if c])

    def list_commands(self, ctx: click.Context) -> list[str]:
        return ["chain", *names()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "chain":
            return _chain()
        try:
            return _stage(cmd_name, find(cmd_name))
        except StageError:
            return None  # one of others' that is broken is not in the list

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            try:
                find(args[0])
            except StageError as error:
                raise click.UsageError(str(error), ctx) from None
            raise


class _Command(Sectioned):
    shared = frozenset(option.name for option in COMMON)
    heading = "Options of all stages"


def _stage(name: str, stage: type[Stage]) -> click.Command:
    def callback(**values: Any) -> None:
        try:
            sys.exit(run_stage(name, stage, values))
        except Misused as error:
            raise click.UsageError(str(error)) from None

    declared = params([*stage.params, *COMMON])
    return _Command(name, params=declared, callback=callback, help=stage.__doc__)


def _chain() -> click.Command:
    def make(name: str, words: list[str]) -> Stage:
        stage = find(name)
        command = click.Command(name, params=params(stage.params), help=stage.__doc__)
        with command.make_context(f"rumpel nf {name}", words) as context:
            return stage(**context.params)

    def callback(**values: Any) -> None:
        try:
            sys.exit(run_chain_command(make, values))
        except Misused as error:
            raise click.UsageError(str(error)) from None

    return click.Command("chain", params=params(CHAIN), callback=callback, help=_CHAIN_HELP)


command = _Stages(
    "nf",
    help=_HELP,
    no_args_is_help=True,
)
