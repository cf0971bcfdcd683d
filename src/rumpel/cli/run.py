# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel run``."""

from __future__ import annotations

import os

import click

from rumpel.run import Explain, Trap, execute


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--explain",
    type=click.Choice([e.name.lower() for e in Explain]),
    help="Tell who answered which calls.",
)
@click.option(
    "--explain-to",
    type=click.Path(dir_okay=False, writable=True),
    help="A file for that, which is appended to; standard error by default.",
)
@click.option(
    "--trap",
    type=click.Choice([t.name.lower() for t in Trap]),
    default="auto",
    show_default=True,
    help="How calls are caught at first.",
)
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED)
def command(
    explain: str | None, explain_to: str | None, trap: str, arguments: tuple[str, ...]
) -> None:
    """Run a program with all its system calls intercepted, and those of all that it starts.

    It takes the place of this command: signals, exit status and core are its own.
    For now all calls go on to the host.

    \b
    Examples:
      rumpel run -- python3 -m http.server
      rumpel run --explain counts -- bash -c 'ls | wc -l'
    """
    fd = 2
    if explain_to:
        explain = explain or Explain.COUNTS.name
        fd = os.open(explain_to, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        execute(
            arguments,
            explain=Explain[explain.upper()] if explain else None,
            explain_fd=fd,
            trap=Trap[trap.upper()],
        )
    except FileNotFoundError as e:
        raise _NotFound(f"{e.filename}: {e.strerror}") from None


class _NotFound(click.ClickException):
    """The program is missing: what shells say with this status."""

    exit_code = 127
