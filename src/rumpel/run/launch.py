# SPDX-License-Identifier: GPL-2.0-only
"""A program and a kernel of its own: all that ``rumpel run`` is asked for."""

from __future__ import annotations

import errno
import os
import time
from itertools import count

from rumpel.build.snapshots import snapshot_file
from rumpel.errors import BootError
from rumpel.run import agent, instance, keeper, limits, nets, policy
from rumpel.run.nets import Net
from rumpel.run.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

    from rumpel.run.explain import Explain, Trap
    from rumpel.run.images import Image

__all__ = ["Options", "launch", "launch_in", "start"]

MEMORY = 256 << 20
_count = count(1)
_OF_A_KERNEL = [
    *["dns", "publish", "sysctl", "mptcp", "pcap"],
    *["log", "name", "paths", "images", "rules"],
]
"""Those of the options that mean nothing without one."""


class Options(Record):
    """How a program is run.

    Attributes:
        nets: the kernel's networks, or what ``--net`` says of them; one of the kind ``host``
            means that there is no kernel.
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
        images: file systems of disk images that are mounted for the program.
        rules: more rules for whose calls are whose (:mod:`rumpel.run.policy`).
    """

    nets: Sequence[Net | str] = ("user",)
    dns: Sequence[str] = ()
    publish: Sequence[str] = ()
    sysctl: Mapping[str, str] = {}
    mptcp: bool = False
    pcap: str | None = None
    version: str = "6.12"
    profile: str = "default"
    memory: int = MEMORY
    log: str | None = None
    name: str | None = None
    paths: Sequence[str] = ()
    images: Sequence[Image] = ()
    rules: Sequence[str] = ()

    @property
    def networks(self) -> list[Net]:
        """Its networks, read.

        Raises:
            ValueError: with a text for people.
        """
        return [Net.parse(net) if isinstance(net, str) else net for net in self.nets]


def launch(
    arguments: Sequence[str],
    options: Options,
    *,
    explain: Explain | None = None,
    explain_fd: int = 2,
    trap: Trap | None = None,
) -> NoReturn:
    """Become a program on a kernel that is made for it; only errors return.

    Args:
        arguments: the program, by name or path, and its arguments.
        options: of the kernel.
        explain: tell who answered its calls.
        explain_fd: where that is written to.
        trap: how calls are caught; by default the best way that this host has.

    Raises:
        FileNotFoundError: if there is no such program.
        BootError: if there is no such kernel.
        OSError: if the program cannot be run, or the host refuses what a network needs.
        ValueError: if an option makes no sense.
    """
    agent.find_program(arguments[0])
    if any(net.kind == "host" for net in options.networks):
        _nothing_of_a_kernel(options)
        agent.execute(arguments, explain=explain, explain_fd=explain_fd, trap=trap)
    made = start(arguments, options)
    agent.execute(
        arguments,
        explain=explain,
        explain_fd=explain_fd,
        trap=trap,
        rules=made.rules,
        kernel=made.first,
        flags=made.flags,
    )


def launch_in(
    name: str,
    arguments: Sequence[str],
    *,
    explain: Explain | None = None,
    explain_fd: int = 2,
    trap: Trap | None = None,
) -> NoReturn:
    """Become a program on a kernel that runs already, by name; only errors return.

    Args:
        name: of the kernel.
        arguments: the program, by name or path, and its arguments.
        explain: tell who answered its calls.
        explain_fd: where that is written to.
        trap: how calls are caught; by default the best way that this host has.

    Raises:
        FileNotFoundError: if there is no such program.
        BootError: if there is no such kernel.
    """
    found = instance.find(name)
    agent.find_program(arguments[0])
    agent.execute(
        arguments,
        explain=explain,
        explain_fd=explain_fd,
        trap=trap,
        rules=found.rules,
        kernel=found.join().first,
        flags=found.flags,
    )


def _nothing_of_a_kernel(options: Options) -> None:
    """See that nobody asks for what there would be no kernel for."""
    default = Options()
    asked = [name for name in _OF_A_KERNEL if getattr(options, name) != getattr(default, name)]
    if asked or len(options.nets) > 1:
        raise ValueError(
            f"the network host has no kernel: {', '.join(asked) or 'others'} cannot be had with it"
        )


def start(program: Sequence[str], options: Options) -> instance.Joined:
    """Boot a kernel for programs: this process has its descriptors, and may execute them.

    Args:
        program: what ``rumpel ps`` says of it.
        options: of the kernel.

    Raises:
        BootError: if there is no such kernel, or too few addresses are allowed.
        OSError: if the host refuses what a network needs.
        ValueError: if an option makes no sense.
    """
    image = options.version
    if "/" not in image:
        from rumpel.build.lookup import image_path

        image = image_path(image, options.profile)
    if not os.path.isfile(image):  # noqa: PTH113
        raise BootError(f"no kernel: {image}: {os.strerror(errno.ENOENT)}")
    meanings = {
        _sysctl(name, value): f"sysctl {name}={value}" for name, value in options.sysctl.items()
    }
    settings, more = list(meanings), options.rules
    # A capture takes a descriptor, too.
    devices = sum({"none": 0, "pcap": 2}.get(net.kind, 1) for net in options.networks)
    if options.images:
        from rumpel.run import images

        more = [*images.rules(options.images), *more]
        devices += len(images.disks(options.images))
    if devices > keeper.DEVICES:
        raise ValueError(f"{devices} networks and images are too many: {keeper.DEVICES} at most")
    rules = policy.rules_of(options.paths, more)
    flags = agent.FLAG_MPTCP if options.mptcp else 0
    name = options.name
    if name is None:
        name = instance.name_for(program[0], next(_count))
    dns = _servers(options.dns)
    made = nets.plan(options.networks, options.publish, options.pcap)
    files: list[str] = []
    alive = -1
    try:
        if made.asking:
            alive, end = os.pipe()
            made.fds.append(end)
        if options.images:
            from rumpel.run import images

            settings += images.arguments(options.images, made.fds)
        servers = dns or made.dns
        resolv = f"{instance.directory()}/{name}.resolv"
        asks = bool(made.asking) and not servers
        if servers or asks:
            rules.append(f"instead /etc/resolv.conf {resolv}")
        # First: as long as the name may be another's, so may the files that go by it.
        listener, records = instance.register(
            instance.Instance(
                name, os.getpid(), list(program), options.version, time.time(), rules, flags
            )
        )
        files += records
        try:
            if servers or asks:
                files.append(resolv)
                _write(resolv, "".join(f"nameserver {server}\n" for server in servers))
            extra = [f"memory={options.memory}", f"listen={listener.fileno()}"]
            extra += [f"remove={path}" for path in files]
            snapshot = snapshot_file(image, options.memory, keeper.KEEPER)
            if snapshot:
                extra.append(f"snapshot={snapshot}")
            fds = [*made.fds, listener.fileno()]
            if options.log is not None:
                fds.append(_open_log(options.log))
                made.fds.append(fds[-1])
                extra.append(f"log={fds[-1]}")
            meanings |= made.meanings
            with limits.more_addresses(limits.room(options.memory)):
                first = _boot(image, [*extra, *made.arguments, *settings], fds, meanings)
            joined = instance.Joined(name, rules, flags, first)
        finally:
            listener.close()
    except BaseException:
        instance.remove(files)
        if alive >= 0:
            os.close(alive)
        raise
    finally:
        made.close()
    try:
        if options.images:
            from rumpel.run import images

            images.mount(options.images, joined)
        if made.asking:
            from rumpel.run import autoconf

            told = autoconf.configure(joined, made.asking, alive)
            if asks:
                _write(resolv, told if "nameserver " in told else _read("/etc/resolv.conf"))
    except BaseException:
        joined.close()
        raise
    finally:
        if alive >= 0:
            os.close(alive)
    return joined


def _boot(
    image: str, arguments: Sequence[str], fds: Sequence[int], meanings: Mapping[str, str]
) -> int:
    """Start the keeper, whose complaints are about its arguments."""
    try:
        return keeper.start(image, arguments, fds)
    except BootError as e:
        for argument, meaning in meanings.items():
            if str(e).startswith(f"no kernel: {argument}: "):
                reason = str(e).removeprefix(f"no kernel: {argument}: ")
                raise BootError(f"{meaning}: {reason}") from None
        raise


def _sysctl(name: str, value: str) -> str:
    """See sysctl(8): dots or slashes separate."""
    path = name if "/" in name else name.replace(".", "/")
    if not path.strip("/") or ".." in path.split("/") or "," in path:
        raise ValueError(f"{name!r} is not a setting")
    return f"write=/proc/sys/{path.strip('/')},{value}"


def _servers(names: Sequence[str]) -> list[str]:
    """Addresses, as nothing else gets into a line of resolv.conf(5)."""
    if not names:
        return []
    import ipaddress  # takes long

    return [str(ipaddress.ip_address(name)) for name in names]


def _open_log(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
