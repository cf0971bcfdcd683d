# SPDX-License-Identifier: GPL-2.0-only
"""Rules of iptables: what they become, and what is said of those that become nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from rumpel.nf import StageError
from rumpel.nf.iptables import translated
from rumpel.nf.stages.filter import _by_where_from
from tests.nf.tools import chain


@pytest.mark.parametrize(
    ("rule", "lines"),
    [
        ("-s 10.0.0.1,10.0.0.2 -j DROP", ["ip saddr 10.0.0.1 counter drop"] * 2),
        ("iptables -A FORWARD -s 10.0.0.1 -j DROP", ["ip saddr 10.0.0.1 counter drop"]),
        ("-s fd00::1 -j DROP", ["ip6 saddr fd00::1 counter drop"]),
        ("-p tcp --dport 22 -j REJECT", ["tcp dport 22 counter reject"]),
        (
            "-p tcp -j DROP",
            [
                "ether type ip ip protocol tcp counter drop",
                "ether type ip6 meta l4proto tcp counter drop",
            ],
        ),
        (
            "-j REJECT --reject-with icmp-host-prohibited",
            ["ether type ip counter reject with icmp type host-prohibited"],
        ),
        ("-m comment --comment 'jump over' -j DROP", ['counter drop comment "jump over"']),
    ],
)
def test_rules(rule: str, lines: list[str]) -> None:
    """Each address has one; what is only of one family does not match the other."""
    lines = [line.replace("10.0.0.1 ", f"10.0.0.{n} ") for n, line in enumerate(lines, 1)]
    assert translated(rule) == lines


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("", "it is empty"),
        ("-A INPUT -j DROP", "all that passes goes through the chain FORWARD"),
        ("-P FORWARD DROP", "is dropped with --drop"),
        ("--nonsense", 'unknown option "--nonsense"'),
        ("-j MASQUERADE", "addresses are translated by the stage nat"),
        ("-j SNAT --to 192.0.2.1", "addresses are translated by the stage nat"),
        ("-j NOWHERE", "there is no chain of that name"),
        ("-j NFLOG", "nobody listens to NFLOG"),
        ("-j TRACE", "nobody listens to TRACE"),
        ("-j NOTRACK", "behind the connection tracking"),
        ("-j TEE --gateway 10.0.0.1", "copies are made by the stage tee"),
        ("-j TCPMSS --clamp-mss-to-pmtu", "say --set-mss NUMBER"),
        ("-m addrtype --dst-type LOCAL -j DROP", "a bridge has no routes"),
        ("-m physdev --physdev-in left -j DROP", "the ports are -i left and -i right"),
        ("-m string --string x --algo bm -j DROP", "the stage mangle looks at contents"),
        ("-m recent --set -j DROP", "nftables has nothing like"),
    ],
)
def test_what_makes_no_sense(rule: str, message: str) -> None:
    """It is said why, and what does it instead."""
    with pytest.raises(StageError) as caught:
        translated(rule)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "made"),
    [
        ('oifname "right" tcp dport 22 reject', 'iifname "left" tcp dport 22 reject'),
        ("meta oif left reject", 'iifname "right" reject'),
        ("oifname != right reject", 'iifname != "left" reject'),
        ('reject comment "oifname right"', 'reject comment "oifname right"'),
        ("iifname left reject", "iifname left reject"),
    ],
)
def test_where_it_goes_is_where_it_does_not_come_from(rule: str, made: str) -> None:
    """On a bridge of two ports."""
    assert _by_where_from(rule) == made


def test_what_cannot_be_said_so() -> None:
    """Where Linux rejects, it is not known where a packet goes."""
    with pytest.raises(StageError, match="write iifname"):
        _by_where_from("oifname { left, right } drop")


MODES = pytest.mark.parametrize("mode", ["", "--fuse", "--virtual"])


@pytest.mark.kernel
@pytest.mark.once
@MODES
@pytest.mark.parametrize(
    ("options", "client", "code"),
    [
        ("--iptables '-p tcp --dport 7 -j REJECT'", "tcp 10.0.0.2", 1),
        ("--iptables '-p tcp -o right -j REJECT --reject-with tcp-reset'", "tcp fd00::2", 1),
        ("--iptables '-p udp -m multiport --dports 6,7 -j REJECT'", "udp 10.0.0.2", 1),
        ("'oifname right udp dport 7 reject'", "udp fd00::2", 1),
        ("'tcp dport 7 reject with tcp reset'", "tcp 10.0.0.2", 1),
        ("--iptables '-p tcp -o left -j REJECT --reject-with tcp-reset'", "udp 10.0.0.2", 0),
    ],
)
def test_who_is_rejected_is_told(
    default_image: str, tmp_path: Path, mode: str, options: str, client: str, code: int
) -> None:
    """By a reset, or by ICMP."""
    (tmp_path / "in").write_bytes(b"hello")
    text = f"{client} 7 --input {tmp_path}/in --output {tmp_path}/out | filter {options}"
    done = chain(default_image, f"{text} | host 10.0.0.2 fd00::2 --echo 7", *mode.split())
    assert done.returncode == code, done.stderr
    assert ("Connection refused" in done.stderr) == bool(code)
    assert (tmp_path / "out").read_bytes() == (b"" if code else b"hello")


@pytest.mark.kernel
@pytest.mark.once
@MODES
@pytest.mark.parametrize("address", ["10.0.0.2", "fd00::2"])
def test_a_firewall(default_image: str, tmp_path: Path, mode: str, address: str) -> None:
    """The usual one: what is known passes, one port does, all else does not, and that is logged.

    ARP and neighbour discovery are nothing that iptables would see.
    """
    (tmp_path / "in").write_bytes(b"hello")
    rules = (
        "-m state --state ESTABLISHED,RELATED -j ACCEPT",
        "-A FORWARD -i left -p tcp -m multiport --dports 7,8 -m comment --comment ours -j ACCEPT",
        "-m limit --limit 9/second -j LOG --log-prefix 'not ours: '",
        "-j DROP",
    )
    options = " ".join(f'--iptables "{rule}"' for rule in rules)
    for port, code in ((7, 0), (9, 1)):
        text = f"tcp {address} {port} --timeout 2 --input {tmp_path}/in --output {tmp_path}/out"
        text += f" | filter {options} | host {address} --echo 7 --echo 9"
        done = chain(default_image, text, *mode.split())
        assert done.returncode == code, done.stderr
        assert (tmp_path / "out").read_bytes() == (b"" if code else b"hello")
        logged = [
            x for x in done.stderr.splitlines() if x.startswith("not ours: IN=left OUT=right")
        ]
        assert (any("DPT=9 " in x for x in logged)) == bool(code)
        assert len(logged) == done.stderr.count("not ours")
