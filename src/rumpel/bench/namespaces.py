# SPDX-License-Identifier: GPL-2.0-only
"""Network namespaces of the host, one behind the other: what chains are measured beside."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import NamedTuple

from rumpel.errors import RumpelError

__all__ = ["Namespaces", "namespaces"]

_RULES = {
    "nat": """table ip nat {
        chain post { type nat hook postrouting priority 100; oifname right masquerade; }
    }""",
    "filter": """table ip filter {
        chain forward { type filter hook forward priority 0; tcp dport 22 drop; }
    }""",
}


class Namespaces(NamedTuple):
    """A client, routers and a server.

    Attributes:
        client, server, routers: the words that run a program there.
        address: the server's.
    """

    client: list[str]
    server: list[str]
    address: str
    routers: list[list[str]]


@contextmanager
def namespaces(stages: Sequence[str]) -> Iterator[Namespaces]:
    """A client, routers and a server, each in a namespace of the host with veth pairs between.

    Args:
        stages: what the routers are, as the command lines of stages begin.

    Raises:
        RumpelError: for who is not root.
    """
    n = len(stages)
    if os.geteuid():
        raise RumpelError("this benchmark makes network namespaces, for which it must be root")
    names = [f"rumpel-bench-{os.getpid()}-{i}" for i in range(n + 2)]
    made: list[str] = []
    try:
        for name in names:
            _ip(f"netns add {name}")
            made.append(name)
        for link, (here, there) in enumerate(pairwise(names)):
            _ip(f"-n {here} link add right type veth peer name left netns {there}")
            for at, side, last in ((here, "right", 1), (there, "left", 2)):
                _ip(f"-n {at} addr add 10.77.{link}.{last}/24 dev {side}")
                _ip(f"-n {at} link set {side} up")
        for number, name in enumerate(names):
            if number < n:
                _ip(f"-n {name} route add 10.77.{n}.0/24 via 10.77.{number}.2")
            for link in range(number - 1):
                _ip(f"-n {name} route add 10.77.{link}.0/24 via 10.77.{number - 1}.1")
        for name, stage in zip(names[1:], stages, strict=False):
            _run([*_inside(name), "sysctl", "-q", "net.ipv4.ip_forward=1"])
            rules = _RULES.get(stage.split()[0])
            if rules:
                _run([*_inside(name), "nft", rules])
        client, *routers, server = map(_inside, names)
        yield Namespaces(client, server, f"10.77.{n}.2", routers)
    finally:
        for name in made:
            _ip(f"netns del {name}")


def _inside(name: str) -> list[str]:
    return ["ip", "netns", "exec", name]


def _ip(text: str) -> None:
    _run(["ip", *text.split()])


def _run(words: Sequence[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RumpelError(
            f"{' '.join(words)!r} ended with {done.returncode}: {done.stderr.strip()}"
        )
