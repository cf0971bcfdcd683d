# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel nf``: network functions joined by pipes."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from rumpel.nf.stage import LEFT, RIGHT, Option, Side, Stage, StageError, find, names

SIDES: tuple[Side, Side] = (LEFT, RIGHT)


class _Stages(click.Group):
    """A command for each stage, loaded when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return ["chain", *names()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "chain":
            found: click.Command = importlib.import_module("rumpel.cli.nf_chain").command
            return found
        try:
            return stage_command(cmd_name, find(cmd_name))
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


KERNEL = (
    Option("--kernel", metavar="VERSION", help="Which Linux.  [default: 6.12]"),
    Option("--image", metavar="PATH", help="A kernel image instead of a version."),
)
COMMON = (
    Option(
        "--format",
        type=click.Choice(["text", "pcap", "pcapng"]),
        default="text",
        help="How packets are written.",
    ),
    Option("--return-left", metavar="FIFO", help="A named pipe for answers to the left."),
    Option("--return-right", metavar="FIFO", help="A named pipe for answers from the right."),
    Option("--return", metavar="FIFO", help="The same for a stage with one port."),
    *KERNEL,
)


def which(values: dict[str, Any]) -> dict[str, str]:
    """Take the options that choose a kernel out of others."""
    given = {"version": values.pop("kernel"), "image": values.pop("image")}
    return {name: value for name, value in given.items() if value is not None}


def stage_command(name: str, stage: type[Stage]) -> click.Command:
    """Make the command of a stage."""

    def callback(**values: Any) -> None:
        from rumpel.nf.ends import descriptors

        write = values.pop("format")
        linux = which(values)
        returns: dict[Side, str] = {}
        one = values.pop("return")
        paths: dict[Side, str | None] = {side: values.pop(f"return_{side}") for side in SIDES}
        made = stage(**values)
        if one is not None and len(made.ports) > 1:
            raise click.UsageError(f"{name} has two sides: say --return-left or --return-right")
        for side, path in paths.items():
            given = one if path is None and side in made.ports else path
            if given is not None:
                returns[side] = given
        sys.exit(
            made.process(descriptors(made, returns), f"rumpel nf {name}", linux=linux, write=write)
        )

    return click.Command(
        name, params=[*stage.params, *COMMON], callback=callback, help=stage.__doc__
    )


command = _Stages(
    "nf",
    help="Network functions joined by pipes: packets on standard input and output.",
    no_args_is_help=True,
)
