# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel nf chain``."""

from __future__ import annotations

import sys
from typing import IO, Any

import click

from rumpel.cli.nf import KERNEL, stage_command, which
from rumpel.nf.chain import parse, run_chain
from rumpel.nf.stage import Stage, find
from rumpel.packets import PacketFormat


def make(name: str, words: list[str]) -> Stage:
    """Make a stage of a chain, which has its options as a command has."""
    stage = find(name)
    command = stage_command(name, stage)
    command.params = [p for p in command.params if p in stage.params]
    with command.make_context(f"rumpel nf {name}", words) as context:
        return stage(**context.params)


@click.command("chain")
@click.argument("chain", required=False)
@click.option("--file", type=click.File(), help="Read the chain from a file.")
@click.option("--fuse", is_flag=True, help="All stages in one process: much faster.")
@click.option("--virtual", is_flag=True, help="The same, on a virtual clock: no time passes.")
@click.option(
    "--format",
    "write",
    type=click.Choice(["text", "pcap", "pcapng"]),
    default="text",
    show_default=True,
    help="How packets are written, if the last stage has a right side.",
)
def command(
    chain: str | None,
    file: IO[str] | None,
    fuse: bool,
    virtual: bool,
    write: PacketFormat,
    **kernel: Any,
) -> None:
    """Join stages, and programs between them, in both directions.

    A program sees what goes to the right as lines of text; marked with < what goes to the
    left, with <> both. A file may have line breaks and comments.

    \b
    Examples:
      rumpel nf chain 'ping 10.0.0.2 | nat | host 10.0.0.2'
      rumpel nf chain 'ping 10.0.0.2 | < grep -v "seq 2" | host 10.0.0.2'
    """
    if (chain is None) == (file is None):
        raise click.UsageError("give either a chain or --file")
    text = chain if chain is not None else file.read() if file else ""
    stages = parse(text, make)
    linux = which(kernel)
    if not (fuse or virtual):
        sys.exit(run_chain(stages, linux=linux, write=write))
    from rumpel.clock import VirtualClock
    from rumpel.nf.fused import run_fused

    sys.exit(run_fused(stages, linux=linux, clock=VirtualClock() if virtual else None, write=write))


command.params += KERNEL
