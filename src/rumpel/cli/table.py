# SPDX-License-Identifier: GPL-2.0-only
"""Commands from a table, loaded when called; errors as one line."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import ModuleType

import click

from rumpel.cli import collect_garbage
from rumpel.cli.row import Row
from rumpel.cli.terminal import escaped, flush
from rumpel.errors import RumpelError


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, not to be listed."""

    def __init__(self, name: str, rows: Sequence[Row], help: str) -> None:
        super().__init__(name, help=help, no_args_is_help=True)
        self._rows = {row.name: row for row in rows}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the table's order."""
        return list(self._rows)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        row = self._rows.get(cmd_name)
        if row is None:
            return None
        command = self.made(row, importlib.import_module(row.module))
        if not isinstance(command, click.Command):
            raise TypeError(f"{row.module}.command is no click command")
        if not isinstance(command, LazyGroup):
            collect_garbage()  # all is imported
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; of one that there is not, say which was meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            meant = [] if args[0].startswith("-") else self._meant(ctx, args[0])
            if not meant:
                raise
            message = f"there is no command {args[0]!r}: did you mean {' or '.join(meant)}?"
            raise click.UsageError(message, ctx) from None

    def _meant(self, ctx: click.Context, name: str) -> list[str]:
        """What is written nearly so, or is so called in one of the groups."""
        from difflib import get_close_matches

        inside = []
        for row in self._rows.values():
            command = self.get_command(ctx, row.name)
            if isinstance(command, click.Group) and name in command.list_commands(ctx):
                inside.append(f"{row.name} {name}")
        return inside or get_close_matches(name, self._rows)

    def made(self, row: Row, module: ModuleType) -> object:
        """The command of a module."""
        command: object = module.command
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; if nobody reads what it prints, end as SIGPIPE would have it."""
        try:
            result: object = super().invoke(ctx)
            flush()
        except BrokenPipeError:
            # click would make it 1. What is left in the buffer shall not fail at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise SystemExit(128 + signal.SIGPIPE) from None
        return result

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(row.name, row.help) for row in self._rows.values()])


def run(group: click.Group) -> None:
    """Run a group as the whole program: a user's mistake is one line, not a traceback."""
    from rumpel import __version__

    group = click.version_option(__version__, prog_name="rumpel")(group)
    try:
        # What a command returns; the status, if it has asked to exit with one.
        status = group.main(standalone_mode=False)
        if isinstance(status, int):
            sys.exit(status)
    except click.exceptions.NoArgsIsHelpError as e:
        e.show()
        sys.exit(2)
    except click.UsageError as e:
        where = f" (see {e.ctx.command_path} --help)" if e.ctx else ""
        fail(e.format_message() + where, 2)
    except click.ClickException as e:
        fail(e.format_message(), e.exit_code)
    except (click.Abort, KeyboardInterrupt):
        fail("interrupted", 130)
    except RumpelError as e:
        fail(str(e), 1)
    except OSError as e:
        # Those of click, about standard output, have no name.
        where = f"{e.filename}: " if e.filename else ""
        fail(f"{where}{e.strerror or e}", 1)


def fail(message: str, code: int) -> None:
    """Say what is wrong and leave."""
    print(f"rumpel: {escaped(message)}", file=sys.stderr)
    sys.exit(code)
