# SPDX-License-Identifier: GPL-2.0-only
"""What ``rumpel run`` does, without click: it takes several times as long to import as a boot.

:func:`quick` runs a line that is right. All else, help, mistakes and what needs more, is click's:
``rumpel.cli.run``, which does the same with what click has read.
"""

from __future__ import annotations

import os
import sys

from rumpel.options import Argument, Choice, Misused, NamedFile, Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

    from rumpel.run.nets import Net

__all__ = ["NAME_VARIABLE", "PARAMS", "Misused", "become", "quick", "reason", "status_of"]

NAME_VARIABLE = "RUMPEL_KERNEL"
_NEED_MORE = ("images", "explain", "explain_to")
"""Options that are for more than a start."""
_LEAST_MEMORY = 32 << 20
_OF_IMAGES = ("password_file", "key_file")


def _net(text: str) -> Net:
    from rumpel.run.nets import Net

    return Net.parse(text)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"{text!r} is not NAME=VALUE")
    return name, value


def _path(text: str) -> str:
    path, equals, kernel = text.partition("=")
    if equals and kernel != "kernel":
        raise ValueError(f"{text!r} is not DIR or DIR=kernel")
    return path


def _memory(text: str) -> int:
    """Bytes."""
    from rumpel.sizes import to_bytes

    size = to_bytes(f"{text}M" if text.isdecimal() else text)
    if size < _LEAST_MEMORY:
        raise ValueError(f"{text} is less than 32M")
    # One part in 64 is written to at once, as the kernel keeps account of all of it.
    host = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > host:
        raise ValueError(f"{text} is more than this host has ({host >> 20}M)")
    return size


PARAMS = (
    Option(
        "--net",
        "nets",
        type=_net,
        multiple=True,
        metavar="KIND[:NAME][,ip=A/N][,gw=A][,mtu=N][,mac=M][,offload=off]",
        help="A network: user (the default), tap, packet:IF, unix:PATH, vde:PATH, pcap:FILE, fd:N, "
        "none; host leaves all calls to the host.",
    ),
    Option("--publish", multiple=True, metavar="[ADDR:]HOST:PROGRAM", help="A port, user mode."),
    Option("--dns", multiple=True, metavar="ADDRESS", help="A name server."),
    Option("--sysctl", type=_setting, multiple=True, metavar="NAME=VALUE", help="A setting."),
    Option("--mptcp", is_flag=True, show_default=False, help="Sockets for TCP are for MPTCP."),
    Option("--pcap", type=NamedFile(), metavar="FILE", help="Write the first network's frames."),
    Option(
        "--kernel",
        "version",
        metavar="VERSION",
        help="Which Linux, or an image's path.  [default: 6.12]",
    ),
    Option("--profile", metavar="NAME", help="And of which profile.  [default: default]"),
    Option(
        "--memory",
        type=_memory,
        metavar="SIZE",
        help="Of the kernel, 32M or more; a number alone is MiB.",
    ),
    Option("--log", type=NamedFile(), metavar="FILE", help="What the kernel prints, appended."),
    Option("--name", metavar="NAME", help="For rumpel ps, exec and attach."),
    Option(
        "--path",
        "paths",
        type=_path,
        multiple=True,
        metavar="DIR[=kernel]",
        help="A subtree in the kernel.",
    ),
    Option(
        "--image",
        "images",
        multiple=True,
        metavar="IMAGE[:PARTITION]:/DIR",
        help="A file system of an image, as a directory that programs see.",
    ),
    Option(
        "--password-file",
        metavar="FILE",
        help="Its first line is the password of an encrypted --image; - is stdin. Otherwise "
        "$RUMPEL_PASSWORD, or what is typed on a terminal.",
    ),
    Option("--key-file", metavar="FILE", help="All of it is the password."),
    Option("--explain", type=Choice(["counts", "trace"]), help="Tell who answered which calls."),
    Option(
        "--explain-to",
        type=NamedFile(),
        metavar="FILE",
        help="A file for that, which is appended to; standard error by default.",
    ),
    Option(
        "--trap",
        type=Choice(["auto", "seccomp"]),
        default="auto",
        help="How calls are caught at first.",
    ),
    Argument("arguments", nargs=-1, required=True),
)


def become(values: dict[str, Any]) -> NoReturn:
    """Become the program; only errors return.

    Args:
        values: of :data:`PARAMS`.

    Raises:
        Misused: if a kernel that runs is to be joined, and options are for one that is made.
        RumpelError: if there is no such kernel.
        OSError: if the program cannot be run, or the host refuses what a network needs.
        ValueError: if an option makes no sense.
    """
    from rumpel.run.launch import Options, launch, launch_in

    given = {name: value for name, value in values.items() if value not in (None, (), False)}
    arguments, trap = given.pop("arguments"), given.pop("trap")
    explain, explain_to = given.pop("explain", None), given.pop("explain_to", None)
    join = os.environ.get(NAME_VARIABLE) if "nets" not in given else None
    if join:
        _refuse_options(join, given)
    more: dict[str, Any] = {}
    if trap != "auto" or explain or explain_to:
        from rumpel.run.explain import Explain, Trap

        more["trap"] = Trap[trap.upper()]
        if explain or explain_to:
            more["explain"] = Explain[(explain or Explain.COUNTS.name).upper()]
        if explain_to:
            how = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            more["explain_fd"] = os.open(explain_to, how, 0o666)
    if join:
        launch_in(join, arguments, **more)
    if "sysctl" in given:
        given["sysctl"] = dict(given["sysctl"])
    if "images" in given:
        from rumpel.cli.run_images import find

        given["images"] = [find(name, given) for name in given["images"]]
    for name in _OF_IMAGES:
        given.pop(name, None)
    launch(arguments, Options(**given), **more)


def _refuse_options(kernel: str, given: dict[str, Any]) -> None:
    """See that nothing is asked of a kernel that runs already."""
    asked = [p.flags[0] for p in PARAMS if isinstance(p, Option) and p.name in given]
    if asked:
        raise Misused(
            f"{NAME_VARIABLE}={kernel} joins a kernel that runs: {', '.join(asked)} is for one "
            "that is made (unset it, or give a --net)"
        )


def reason(error: Exception) -> str:
    """Why a program does not start, in one line.

    Raises:
        Exception: the error itself, if it is none that a user can make.
    """
    from rumpel.errors import RumpelError

    if isinstance(error, OSError):
        where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    if isinstance(error, RumpelError | ValueError):
        return str(error)
    raise error


def status_of(error: OSError) -> int:
    """What a shell exits with if there is no such program, or it cannot be run."""
    return 127 if isinstance(error, FileNotFoundError) else 126


def quick(words: Sequence[str]) -> None:
    """Run ``rumpel run WORDS`` and never return; return if click is to have a look at it."""
    values = parse(PARAMS, words, interspersed=False)
    if values is None or any(values[name] for name in _NEED_MORE):
        return
    from rumpel.run.agent import find_program

    try:
        find_program(values["arguments"][0])
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}", status_of(error))
    try:
        become(values)
    except Misused:
        return
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except Exception as error:
        _fail(reason(error), 1)


def _fail(message: str, status: int) -> NoReturn:
    from rumpel.cli.terminal import escaped

    print(f"rumpel: {escaped(message)}", file=sys.stderr)
    sys.exit(status)
