# SPDX-License-Identifier: GPL-2.0-only
"""Command lines of stages: read without click, as click reads them."""

from __future__ import annotations

import shlex
from typing import Any

import click
import pytest

from rumpel.cli.nf import command
from rumpel.cli.nf_run import COMMON
from rumpel.nf import find
from rumpel.options import parse

RIGHT = [
    "ping 10.0.0.2",
    "ping -c 3 10.0.0.2 -i0.5",
    "ping --count=3 -W 2 -- 10.0.0.2",
    "host 10.0.0.2 fd00::2 --echo 7 --echo 8 --mptcp",
    "filter 'ip daddr 10.0.0.9 drop' --drop 'tcp dport 22 accept' --iptables '-s 1.2.3.4 -j DROP'",
    "filter",
    "shape --delay 0.1 --loss=0.5 --direction both --seed 3",
    "shape --delay 20ms --jitter 500us --loss 1% --rate 8mbit",
    "pcap -w trace --as pcapng",
    "pcap -rtrace --speed 2 --flood",
    "mangle 'p.ip.ttl = 9' --keep-checksums",
    "mangle --file /etc/passwd --format pcap --return-left back",
    "tcp 10.0.0.2 80 --input -",
    "vlan 7 --kernel 7.2",
]
WRONG = [
    "ping",
    "ping a b",
    "ping a -c 0",
    "ping a -c",
    "ping a -c x",
    "ping a --cound 3",
    "host",
    "host 10.0.0.2 --mptcp=yes",
    "shape --direction up",
    "shape --delay 10min",
    "shape --loss 1.5",
    "shape --rate inf",
    "shape --seed -3",
    "shape --limit 0",
    "pcap -r x --speed 0",
    "mangle --file /nowhere",
    "mangle --file /etc",
    "tcp 10.0.0.2 http",
    "tcp 10.0.0.2 65536",
    "tcp 10.0.0.2 80 --timeout inf",
    "ping 10.0.0.2 -i nan",
    "ping 10.0.0.2 -i -1",
    "ping -h",
    "ping --help",
]


def words(line: str) -> tuple[str, list[str]]:
    """The stage, and its line."""
    name, *rest = shlex.split(line)
    return name, rest


def by_click(line: str) -> dict[str, Any]:
    """The values that click reads."""
    name, rest = words(line)
    made = command.get_command(click.Context(command), name)
    assert made is not None
    with made.make_context(name, rest) as context:
        return context.params


def by_us(line: str) -> dict[str, Any] | None:
    """The same of ours."""
    name, rest = words(line)
    return parse((*find(name).params, *COMMON), rest)


@pytest.mark.parametrize("line", RIGHT)
def test_what_is_right(line: str) -> None:
    """Both read the same."""
    assert by_us(line) == by_click(line)


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong(line: str) -> None:
    """Click says what, for we leave it to click."""
    assert by_us(line) is None
    with pytest.raises((click.UsageError, click.exceptions.Exit)):
        by_click(line)
