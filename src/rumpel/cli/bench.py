# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel bench``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TextIO

import click
from rich.console import Console
from rich.text import Text

from rumpel.bench import BENCHMARKS, Benchmark, Options, Result, find, plot
from rumpel.bench.result import TARGET, Figure
from rumpel.build import DEFAULT_PROFILE, DEFAULT_VERSION

WIDE = 140
"""From this width on, each row also says what is done."""

COLUMNS = {"": 18, "rumpel": 14, "host": 14, "ratio": 7, "target": 12, "spread": 6}
"""Their widths, known before there is a row: each is printed as soon as it is measured."""


class _Command(click.Command):
    """A command whose help names the benchmarks."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List them as the table has them."""
        with formatter.section("Benchmarks"):
            formatter.write_text(", ".join(benchmark.name for benchmark in BENCHMARKS))


@click.command(cls=_Command)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--kernel",
    "--version",
    "version",
    default=DEFAULT_VERSION,
    show_default=True,
    help="Which Linux.",
)
@click.option("--profile", "-p", default=DEFAULT_PROFILE, show_default=True, help="Its profile.")
@click.option("--image", metavar="PATH", help="An image instead of version and profile.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--plot",
    "picture",
    type=click.File("w", lazy=False),
    help="Also draw the ratios, and curves over the length of a chain: an SVG.",
)
def command(
    names: tuple[str, ...],
    version: str,
    profile: str,
    image: str | None,
    as_json: bool,
    picture: TextIO | None,
) -> None:
    """Measure the library kernel beside the host's, each figure in the same run.

    Names choose some; none measures all, which takes some minutes. The disks' peer is a
    loop mount where there is root. A ratio above 1 is better for the library kernel,
    whatever the unit. boot-tiny always has the profile tiny.

    \b
    Examples:
      rumpel bench
      rumpel bench pipe switch --profile tiny
      rumpel bench rr-lo --json
    """
    try:
        chosen = find(names)
    except ValueError as e:
        raise click.UsageError(str(e)) from None
    options = Options(version, profile, image)
    for needed in {profile: None for benchmark in chosen for profile in benchmark.profiles}:
        options.path(needed)
    if as_json:
        results = list(measure(chosen, options))
        click.echo(json.dumps([result.to_json() for result in results], indent=2))
    else:
        results = list(show(chosen, options, Console()))
    if picture:
        picture.write(plot.svg(results, f"{plot.machine()}, {version} {profile}"))


def measure(chosen: list[Benchmark], options: Options) -> Iterator[Result]:
    """Results as they come."""
    for benchmark in chosen:
        yield from benchmark.run(options)


def show(chosen: list[Benchmark], options: Options, console: Console) -> Iterator[Result]:
    """Print each result as soon as it is known, and pass it on."""
    errors = Console(stderr=True)
    load, cpus = os.getloadavg()[0], os.cpu_count() or 1
    if load > cpus / 2:
        errors.print(f"this machine is busy (load {load:.1f}): figures will be noisy")
    wide = console.width >= WIDE
    print_row(console, [*COLUMNS, "what is done"], wide)
    for result in measure(chosen, options):
        print_row(console, row(result), wide)
        yield result


def print_row(console: Console, cells: list[str], wide: bool) -> None:
    """One line. Figures are on the right of their columns."""
    line = Text()
    for cell, (name, width) in zip(cells, COLUMNS.items(), strict=False):
        text = Text.from_markup(cell)
        text.align("right" if name in {"rumpel", "host", "ratio"} else "left", width)
        line.append_text(text).append("  ")
    if wide:
        line.append(cells[-1])
    line.rstrip()
    console.print(line, soft_wrap=True)


def row(result: Result) -> list[str]:
    """A result for people."""
    figure = result.figure
    absolute = figure.peer == TARGET
    color = "green" if result.met else "red"
    return [
        figure.name,
        f"[{color}]{number(result.value, figure.unit)}[/]",
        "" if absolute else number(result.peer_value, figure.unit),
        f"{result.ratio:.2f}",
        number(result.peer_value, figure.unit) if absolute else target(figure),
        f"{result.spread:.0%}",
        figure.work,
    ]


def target(figure: Figure) -> str:
    """The issue's way to put it."""
    return f"{figure.target:g} x" + ("" if figure.more else " time")


def number(value: float, unit: str) -> str:
    """Three digits, and the unit."""
    if value >= 100:
        return f"{value:,.0f} {unit}"
    return f"{value:.{max(0, 2 - int(value >= 10))}f} {unit}"
