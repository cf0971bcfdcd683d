# SPDX-License-Identifier: GPL-2.0-only
"""A program and a kernel of its own: all that ``rumpel run`` is asked for."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from rumpel.errors import BootError
from rumpel.run import agent, instance, keeper, policy
from rumpel.run.nets import Net, plan

__all__ = ["Options", "launch", "launch_in"]

MEMORY = 256 << 20


@dataclass
class Options:
    """How a program is run.

    Attributes:
        nets: the kernel's networks; one of the kind ``host`` means that there is no kernel.
        dns: name servers that the program sees; none: those of its networks.
        publish: ports of the host that are the program's, in user mode.
        sysctl: settings of the kernel, by name.
        mptcp: sockets for TCP are for MPTCP.
        pcap: a file for the frames of the first network.
        version: of Linux, or the path of an image.
        profile: of its image.
        memory: of the kernel, in bytes.
        log: a file for what the kernel prints.
        name: under which others find it; None makes one up.
        paths: subtrees that are the kernel's.
        rules: more rules for whose calls are whose (:mod:`rumpel.run.policy`).
    """

    nets: Sequence[Net] = (Net("user"),)
    dns: Sequence[str] = ()
    publish: Sequence[str] = ()
    sysctl: dict[str, str] = field(default_factory=dict)
    mptcp: bool = False
    pcap: str | None = None
    version: str = "6.12"
    profile: str = "default"
    memory: int = MEMORY
    log: str | None = None
    name: str | None = None
    paths: Sequence[str] = ()
    rules: Sequence[str] = ()


def launch(
    arguments: Sequence[str],
    options: Options,
    *,
    explain: agent.Explain | None = None,
    explain_fd: int = 2,
    trap: agent.Trap = agent.Trap.AUTO,
) -> NoReturn:
    """Become a program on a kernel that is made for it; only errors return.

    Args:
        arguments: the program, by name or path, and its arguments.
        options: of the kernel.
        explain: tell who answered its calls.
        explain_fd: where that is written to.
        trap: how calls are caught.

    Raises:
        FileNotFoundError: if there is no such program.
        BootError: if there is no such kernel.
        OSError: if the host refuses what a network needs.
        ValueError: if an option makes no sense.
    """
    if any(net.kind == "host" for net in options.nets):
        agent.execute(arguments, explain=explain, explain_fd=explain_fd, trap=trap)
    agent.find_program(arguments[0])
    made = _start(arguments, options)
    agent.execute(
        arguments,
        explain=explain,
        explain_fd=explain_fd,
        trap=trap,
        rules=made.rules,
        kernel=made.kernel,
        flags=made.flags,
    )


def launch_in(name: str, arguments: Sequence[str]) -> NoReturn:
    """Become a program on a kernel that runs already, by name; only errors return.

    Raises:
        FileNotFoundError: if there is no such program.
        BootError: if there is no such kernel.
    """
    found = instance.find(name)
    agent.find_program(arguments[0])
    agent.execute(arguments, rules=found.rules, kernel=found.join(), flags=found.flags)


@dataclass
class _Made:
    kernel: int
    rules: list[str]
    flags: int


def _start(arguments: Sequence[str], options: Options) -> _Made:
    from rumpel.booting import image_path

    version = options.version
    image = version if "/" in version else image_path(version, options.profile)
    if not Path(image).is_file():
        raise BootError(f"no kernel: {image}: {os.strerror(errno.ENOENT)}")
    rules = policy.rules_of(options.paths, options.rules)
    flags = agent.FLAG_MPTCP if options.mptcp else 0
    settings = [_sysctl(name, value) for name, value in options.sysctl.items()]
    name = options.name or instance.name_for(arguments[0])
    made = plan(options.nets, options.publish, options.pcap)
    files: list[Path] = []
    try:
        servers = options.dns or made.dns
        resolv = instance.directory() / f"{name}.resolv"
        if servers:
            rules.append(f"instead /etc/resolv.conf {resolv}")
        # First: as long as the name may be another's, so may the files that go by it.
        listener, records = instance.register(
            instance.Instance(
                name, os.getpid(), list(arguments), options.version, time.time(), rules, flags
            )
        )
        files += records
        with listener:
            if servers:
                files.append(resolv)
                resolv.write_text("".join(f"nameserver {server}\n" for server in servers))
            extra = [f"memory={options.memory}", f"listen={listener.fileno()}"]
            extra += [f"remove={path}" for path in files]
            fds = [*made.fds, listener.fileno()]
            if options.log is not None:
                fds.append(_open_log(options.log))
                made.fds.append(fds[-1])
                extra.append(f"log={fds[-1]}")
            if made.cmdline:
                extra.append("cmdline=" + " ".join(made.cmdline))
            first = keeper.start(image, [*extra, *made.arguments, *settings], fds)
    except BaseException:
        for path in files:
            path.unlink(missing_ok=True)
        raise
    finally:
        made.close()
    return _Made(first, rules, flags)


def _sysctl(name: str, value: str) -> str:
    """See sysctl(8): dots or slashes separate."""
    path = name if "/" in name else name.replace(".", "/")
    if not path.strip("/") or ".." in path.split("/") or "," in path:
        raise ValueError(f"{name!r} is not a setting")
    return f"write=/proc/sys/{path.strip('/')},{value}"


def _open_log(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
