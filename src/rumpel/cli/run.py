# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel run``: its help, and what is wrong with a line."""

from __future__ import annotations

from typing import Any, NoReturn

import click

from rumpel.cli.params import params
from rumpel.cli.run_config import configure
from rumpel.cli.run_quick import NAME_VARIABLE, PARAMS, Misused, become, reason, status_of
from rumpel.run import find_program

__all__ = ["NAME_VARIABLE", "command", "fail", "program"]

_CONFIG = click.Option(
    ["--config"],
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    is_eager=True,
    expose_value=False,
    callback=configure,
    metavar="FILE.toml",
    help="Options from a file; those of the command line come before.",
)
_HELP = """\
Run a program, and all that it starts, on a Linux kernel of its own.

It takes the place of this command: signals, exit status and core are its own. Its
sockets are the kernel's, all else is the host's. With RUMPEL_KERNEL=NAME in the
environment, and no --net, it joins the kernel of that name instead.

\b
Examples:
  rumpel run -- curl http://example.org/
  rumpel run --publish 8080:80 -- nginx -g 'daemon off;'
  rumpel run --net tap:tap0,ip=192.0.2.2/24,gw=192.0.2.1 -- iperf3 -s
  rumpel run --sysctl net.ipv4.tcp_congestion_control=bbr -- wget http://example.org/
  rumpel run --image disk.img:2:/data -- sqlite3 /data/music.db .tables
  rumpel run --config web.toml -- nginx -g 'daemon off;'
  rumpel run --explain counts --net host -- bash -c 'ls | wc -l'
"""


def _run(**values: Any) -> None:
    program(values["arguments"][0])
    try:
        become(values)
    except Misused as e:
        raise click.UsageError(str(e)) from None
    except Exception as e:
        fail(e)


command = click.Command(
    "run",
    params=[_CONFIG, *params(PARAMS)],
    callback=_run,
    help=_HELP,
    context_settings={"allow_interspersed_args": False},
)


def fail(error: Exception) -> NoReturn:
    """Say in one line why a program does not start.

    Raises:
        ClickException: that says it.
    """
    if isinstance(error, click.ClickException):
        raise error
    raise click.ClickException(reason(error)) from None


def program(name: str) -> None:
    """See that a program can be run, before anything starts.

    Raises:
        ClickException: with the exit status that shells have for it.
    """
    try:
        find_program(name)
    except OSError as error:
        kind = _NotFound if status_of(error) == _NotFound.exit_code else _CannotRun
        raise kind(f"{error.filename}: {error.strerror}") from None


class _CannotRun(click.ClickException):
    exit_code = 126


class _NotFound(click.ClickException):
    exit_code = 127
