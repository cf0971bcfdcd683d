# SPDX-License-Identifier: GPL-2.0-only
"""What the demo prints: a line for each step while it goes on, a summary at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

__all__ = ["Report"]


class Report:
    """Lines on a console, and a table of figures for the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._figures: list[tuple[str, str]] = []

    @contextmanager
    def part(self, title: str) -> Iterator[None]:
        """A part begins: its title, and how long it took."""
        self._console.print(f"[bold]{title}[/bold]")
        start = time.monotonic()
        yield
        self._console.print(f"  [dim]{time.monotonic() - start:.1f} s[/dim]")

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """A step of it: what is being done, then that it was done."""
        with self._console.status(f"  {text}"):
            yield
        self._console.print(f"  [green]✓[/green] {text}", highlight=False)

    def figure(self, what: str, value: str) -> None:
        """Something for the summary."""
        self._figures.append((what, value))

    def summary(self) -> None:
        """Print all figures."""
        table = Table(box=None, show_header=False, pad_edge=False)
        for what, value in self._figures:
            table.add_row(what, f"[bold]{value}[/bold]")
        self._console.print()
        self._console.print(table, highlight=False)
