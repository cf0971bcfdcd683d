# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel nf``: network functions joined by pipes. Its help, and what is wrong with a line."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import click

from rumpel.cli.nf_run import CHAIN, COMMON, Misused, run_chain_command, run_stage
from rumpel.nf.options import Argument, Choice, ExistingFile, FloatRange, IntRange, Option
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


class _Stages(click.Group):
    """A command for each stage, loaded when it is called."""

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


def _stage(name: str, stage: type[Stage]) -> click.Command:
    def callback(**values: Any) -> None:
        try:
            sys.exit(run_stage(name, stage, values))
        except Misused as error:
            raise click.UsageError(str(error)) from None

    params = _params([*stage.params, *COMMON])
    return click.Command(name, params=params, callback=callback, help=stage.__doc__)


def _chain() -> click.Command:
    def make(name: str, words: list[str]) -> Stage:
        stage = find(name)
        command = click.Command(name, params=_params(stage.params), help=stage.__doc__)
        with command.make_context(f"rumpel nf {name}", words) as context:
            return stage(**context.params)

    def callback(**values: Any) -> None:
        try:
            sys.exit(run_chain_command(make, values))
        except Misused as error:
            raise click.UsageError(str(error)) from None

    return click.Command("chain", params=_params(CHAIN), callback=callback, help=_CHAIN_HELP)


def _params(params: Sequence[Option | Argument]) -> list[click.Parameter]:
    """What a stage declares, as click has it."""
    return [_argument(p) if isinstance(p, Argument) else _option(p) for p in params]


def _argument(p: Argument) -> click.Argument:
    return click.Argument(
        [p.name], type=_type(p.type), nargs=p.nargs, required=p.required, metavar=p.metavar
    )


def _option(p: Option) -> click.Option:
    attributes: dict[str, Any] = {"help": p.help, "show_default": p.show_default}
    if p.is_flag:
        return click.Option([*p.flags, p.name], is_flag=True, **attributes)
    if not p.multiple:
        attributes["default"] = p.missing
    return click.Option(
        [*p.flags, p.name],
        type=_type(p.type),
        multiple=p.multiple,
        metavar=p.metavar,
        **attributes,
    )


def _type(type: Any) -> Any:
    match type:
        case Choice():
            return click.Choice(type.choices)
        case IntRange():
            return click.IntRange(type.min, type.max)
        case FloatRange():
            return _Finite(type.min, min_open=type.min_open)
        case ExistingFile():
            return click.Path(exists=True, dir_okay=False)
    return type


class _Finite(click.FloatRange):
    """Without inf and nan, which Python takes for numbers."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


command = _Stages(
    "nf",
    help="Network functions joined by pipes: packets on standard input and output.",
    no_args_is_help=True,
)
