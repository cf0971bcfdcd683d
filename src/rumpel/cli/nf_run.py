# SPDX-License-Identifier: GPL-2.0-only
"""What the commands of ``rumpel nf`` do, without click: it takes longer to import than a boot.

:func:`quick` runs a line that is right. All else, help and mistakes, is click's:
``rumpel.cli.nf``, which does the same with what click has read.
"""

from __future__ import annotations

import sys

from rumpel.cli import collect_garbage
from rumpel.errors import RumpelError
from rumpel.nf.ending import Ended, ended_by_signals
from rumpel.nf.stage import LEFT, RIGHT, StageError, find, is_stage
from rumpel.options import Argument, Choice, Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from rumpel.cli.nf_start import Start
    from rumpel.nf.members import Make
    from rumpel.nf.stage import Side, Stage

__all__ = ["CHAIN", "COMMON", "Misused", "quick", "run_chain_command", "run_stage"]

_SIDES: tuple[Side, Side] = (LEFT, RIGHT)
_FORMATS = Choice(["text", "pcap", "pcapng"])
_KERNEL = (
    Option("--kernel", metavar="VERSION", help="Which Linux.  [default: 6.12]"),
    Option("--image", metavar="PATH", help="A kernel image instead of a version."),
)
COMMON = (
    Option("--format", type=_FORMATS, default="text", help="How packets are written."),
    Option("--return-left", metavar="FIFO", help="A named pipe for answers to the left."),
    Option("--return-right", metavar="FIFO", help="A named pipe for answers from the right."),
    Option("--return", metavar="FIFO", help="The same for a stage with one port."),
    *_KERNEL,
)
"""Of all stages."""
CHAIN = (
    Argument("chain", required=False),
    Option("--file", metavar="FILENAME", help="Read the chain from a file."),
    Option("--fuse", is_flag=True, help="All stages in one process: much faster."),
    Option("--virtual", is_flag=True, help="The same, on a virtual clock: no time passes."),
    Option(
        "--format",
        "write",
        type=_FORMATS,
        default="text",
        help="How packets are written, if the last stage has a right side.",
    ),
    *_KERNEL,
)


def _which(values: dict[str, Any]) -> dict[str, str]:
    """Take the options that choose a kernel out of others."""
    given = {"version": values.pop("kernel"), "image": values.pop("image")}
    return {name: value for name, value in given.items() if value is not None}


class Misused(StageError):
    """Options that are not for this, or not together: click says so, with the way to the help."""


def run_stage(
    name: str, stage: type[Stage], values: dict[str, Any], start: Start | None = None
) -> int:
    """Be a stage between standard input and output; the exit code.

    Args:
        name: the stage's.
        stage: its class.
        values: of its own options and of :data:`COMMON`.
        start: has its kernel, if it is there already.
    """
    from rumpel.nf.ends import descriptors

    write = values.pop("format")
    linux = _which(values)
    returns: dict[Side, str] = {}
    one = values.pop("return")
    paths: dict[Side, str | None] = {side: values.pop(f"return_{side}") for side in _SIDES}
    made = stage(**values)
    if one is not None and len(made.ports) > 1:
        raise Misused(f"{name} has two sides: say --return-left or --return-right")
    for side, path in paths.items():
        given = one if path is None and side in made.ports else path
        if given is not None:
            returns[side] = given
    with ended_by_signals():
        try:
            ends = descriptors(made, returns)
            kernel = start.take(linux) if start else None
            full = f"rumpel nf {name}"
            # All is imported when it is ready.
            return made.process(
                ends, full, linux=linux, write=write, ready=collect_garbage, kernel=kernel
            )
        except Ended as error:
            return error.code


def run_chain_command(make: Make, values: dict[str, Any], start: Start | None = None) -> int:
    """Run a chain; the exit code.

    Args:
        make: makes a stage of its name and its line.
        values: of :data:`CHAIN`.
        start: has the kernel whose copies the stages get, if it is there already.
    """
    from rumpel.nf.chain import run_chain
    from rumpel.nf.members import parse as parse_chain

    text, file = values["chain"], values["file"]
    if (text is None) == (file is None):
        raise Misused("give either a chain or --file")
    linux = _which(values)
    stages = parse_chain(text if file is None else _read(file), make)
    collect_garbage()  # nearly all is imported
    if not (values["fuse"] or values["virtual"]):
        take = (lambda: start.take(linux)) if start else None
        return run_chain(stages, linux=linux, write=values["write"], take=take)
    from rumpel.clock import VirtualClock
    from rumpel.nf.fused import run_fused

    clock = VirtualClock() if values["virtual"] else None
    return run_fused(stages, linux=linux, clock=clock, write=values["write"])


def _read(path: str) -> str:
    try:
        if path == "-":
            return sys.stdin.read()
        with open(path) as file:
            return file.read()
    except UnicodeDecodeError:
        raise StageError(f"{path} is not a chain: it is no text") from None


class _NotQuick(Exception):
    """Something that click is to say."""


def _make(name: str, words: list[str]) -> Stage:
    stage = find(name)
    values = parse(stage.params, words)
    if values is None:
        raise _NotQuick
    return stage(**values)


def quick(words: Sequence[str], start: Start) -> None:
    """Run ``rumpel nf WORDS`` and exit; return if click is to have a look at it.

    Args:
        words: the command's.
        start: may have its kernel.
    """
    if not words or (words[0] != "chain" and not is_stage(words[0])):
        return
    name, *rest = words
    try:
        if name == "chain":
            values = parse(CHAIN, rest)
            if values is None:
                return
            code = run_chain_command(_make, values, start)
        else:
            try:
                stage = find(name)
            except StageError:
                return
            values = parse((*stage.params, *COMMON), rest)
            if values is None:
                return
            code = run_stage(name, stage, values, start)
    except (_NotQuick, Misused):
        return
    except (RumpelError, OSError) as error:
        from rumpel.cli.terminal import escaped

        said = str(error)
        if isinstance(error, OSError) and error.filename and error.strerror:
            said = f"{error.filename}: {error.strerror}"
        print(f"rumpel: {escaped(said)}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("rumpel: interrupted", file=sys.stderr)
        code = 130
    finally:
        start.close()
    sys.exit(code)
