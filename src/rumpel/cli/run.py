# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel run``."""

from __future__ import annotations

import os
from typing import Any, NoReturn

import click

from rumpel.cli.run_config import configure
from rumpel.errors import RumpelError
from rumpel.run import Explain, Options, Trap, find_program, launch, launch_in
from rumpel.run.nets import Net

NAME_VARIABLE = "RUMPEL_KERNEL"


def _net(text: str) -> Net:
    try:
        return Net.parse(text)
    except ValueError as e:
        raise click.BadParameter(str(e)) from None


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE")
    return name, value


def _path(text: str) -> str:
    path, equals, kernel = text.partition("=")
    if equals and kernel != "kernel":
        raise click.BadParameter(f"{text!r} is not DIR or DIR=kernel")
    return path


@click.command(context_settings={"allow_interspersed_args": False})
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    is_eager=True,
    expose_value=False,
    callback=configure,
    metavar="FILE.toml",
    help="Options from a file; those of the command line come before.",
)
@click.option(
    "--net",
    "nets",
    type=_net,
    multiple=True,
    metavar="KIND[:NAME][,ip=A/N][,gw=A][,mtu=N][,mac=M][,offload=off]",
    help="A network: user (the default), tap, packet:IF, unix:PATH, vde:PATH, pcap:FILE, fd:N, "
    "none; host leaves all calls to the host.",
)
@click.option("--publish", multiple=True, metavar="[ADDR:]HOST:PROGRAM", help="A port, user mode.")
@click.option("--dns", multiple=True, metavar="ADDRESS", help="A name server.")
@click.option("--sysctl", type=_setting, multiple=True, metavar="NAME=VALUE", help="A setting.")
@click.option("--mptcp", is_flag=True, help="Sockets for TCP are for MPTCP.")
@click.option("--pcap", type=click.Path(dir_okay=False), help="Write the first network's frames.")
@click.option(
    "--kernel",
    "version",
    metavar="VERSION",
    help="Which Linux, or an image's path.  [default: 6.12]",
)
@click.option("--profile", metavar="NAME", help="And of which profile.  [default: default]")
@click.option("--memory", type=click.IntRange(32), metavar="MIB", help="Of the kernel.")
@click.option("--log", type=click.Path(dir_okay=False), help="What the kernel prints, appended.")
@click.option("--name", metavar="NAME", help="For rumpel ps, exec and attach.")
@click.option(
    "--path",
    "paths",
    type=_path,
    multiple=True,
    metavar="DIR[=kernel]",
    help="A subtree in the kernel.",
)
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="IMAGE[:PARTITION]:/DIR",
    help="A file system of an image, as a directory that programs see.",
)
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
    explain: str | None,
    explain_to: str | None,
    trap: str,
    arguments: tuple[str, ...],
    **given: Any,
) -> None:
    """Run a program, and all that it starts, on a Linux kernel of its own.

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
    fd = 2
    if explain_to:
        explain = explain or Explain.COUNTS.name
        fd = os.open(explain_to, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    join = os.environ.get(NAME_VARIABLE)
    how: dict[str, Any] = {
        "explain": Explain[explain.upper()] if explain else None,
        "explain_fd": fd,
        "trap": Trap[trap.upper()],
    }
    program(arguments[0])
    try:
        if join and not given["nets"]:
            _refuse_options(join, given)
            launch_in(join, arguments, **how)
        launch(arguments, _options(given), **how)
    except Exception as e:
        fail(e)


def _refuse_options(kernel: str, given: dict[str, Any]) -> None:
    """See that nothing is asked of a kernel that runs already."""
    asked = [
        option.opts[0]
        for option in click.get_current_context().command.params
        if given.get(str(option.name)) not in (None, (), False)
    ]
    if asked:
        raise click.UsageError(
            f"{NAME_VARIABLE}={kernel} joins a kernel that runs: {', '.join(asked)} is for one "
            "that is made (unset it, or give a --net)"
        )


def _options(given: dict[str, Any]) -> Options:
    """What was given on the command line; the rest is as it is by default."""
    given = {name: value for name, value in given.items() if value not in (None, (), False)}
    if "sysctl" in given:
        given["sysctl"] = dict(given["sysctl"])
    if "memory" in given:
        given["memory"] <<= 20
    if "images" in given:
        from rumpel.cli.run_images import find

        given["images"] = [find(name, given) for name in given["images"]]
    return Options(**given)


def fail(error: Exception) -> NoReturn:
    """Say in one line why a program does not start.

    Raises:
        ClickException: that says it.
    """
    if isinstance(error, OSError):
        where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        raise click.ClickException(f"{where}{error.strerror or error}") from None
    if isinstance(error, RumpelError | ValueError):
        raise click.ClickException(str(error)) from None
    raise error


def program(name: str) -> None:
    """See that a program can be run, before anything starts.

    Raises:
        ClickException: with the exit status that shells have for it.
    """
    try:
        find_program(name)
    except OSError as error:
        kind = _NotFound if isinstance(error, FileNotFoundError) else _CannotRun
        raise kind(f"{error.filename}: {error.strerror}") from None


class _CannotRun(click.ClickException):
    exit_code = 126


class _NotFound(click.ClickException):
    exit_code = 127
