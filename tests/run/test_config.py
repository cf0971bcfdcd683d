# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel run --config``: what a file says is what the command line would."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run.conftest import CLI, Done, OnKernel, run, wait_until

ALL = """
dns = "192.0.2.53"
sysctl = {net.ipv4.ip_default_ttl = 7, "net.ipv4.tcp_congestion_control" = "reno"}
mptcp = true
pcap = "PCAP"
memory = 128
log = "LOG"
name = "configured"
path = ["/nowhere"]
[[net]]
kind = "fd"
name = FD
ip = ["10.0.0.1/24", "fd00::1/64"]
gw = "10.0.0.2"
mtu = 1400
mac = "02:00:00:00:00:07"
offload = false
[[net]]
kind = "none"
"""


@pytest.mark.kernel
@pytest.mark.once
def test_all_options(on_kernel: OnKernel, tmp_path: Path) -> None:
    """Networks as tables and as text, settings, lists and flags."""
    import socket

    config = tmp_path / "run.toml"
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        text = ALL.replace("FD", str(theirs.fileno())).replace("LOG", f"{tmp_path}/log")
        config.write_text(text.replace("PCAP", f"{tmp_path}/pcap"))
        script = (
            "cat /etc/resolv.conf /proc/sys/net/ipv4/ip_default_ttl;"
            "cat /proc/sys/net/ipv4/tcp_congestion_control; ip -o addr show eth0;"
            "ip link show eth0; ip route; ls /nowhere; /usr/bin/python3 -c 'import socket as s;"
            "print(s.socket().getsockopt(s.SOL_SOCKET, s.SO_PROTOCOL))'"
        )
        options = ["--config", str(config)]
        done = on_kernel.run(*options, program=["sh", "-c", script], pass_fds=[theirs.fileno()])
    assert done.stdout.startswith("nameserver 192.0.2.53\n7\nreno\n"), done.stderr
    for said in ("10.0.0.1/24", "fd00::1/64", "mtu 1400", "02:00:00:00:00:07", "via 10.0.0.2"):
        assert said in done.stdout
    assert done.stdout.endswith("\n262\n")
    assert "/nowhere" in done.stderr, "it is the kernel's, where it is not"
    assert wait_until(lambda: "Linux version" in (tmp_path / "log").read_text())
    assert (tmp_path / "pcap").stat().st_size >= 24
    # What the command line says counts.
    config.write_text('net = ["tap:nosuch", "none"]\nsysctl = {net.ipv4.ip_default_ttl = 7}')
    done = on_kernel.run(*options, "--net", "none",
                         program=["cat", "/proc/sys/net/ipv4/ip_default_ttl"])  # fmt: skip
    assert done.stdout == "7\n", done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nets = []", "there is no option 'nets'; there are net, publish"),
        ("net = [", "Invalid"),
        ("net = {name = 'tap0'}", "net needs a kind"),
        ("net = 3", "there is no network '3'"),
        ("net = [['tap']]", "net is not ['tap']"),
        ("net = 'color'", "there is no network 'color'"),
        ("net = {kind = 'tap', speed = 9}", "'speed=9' is none of"),
        ("mptcp = 1", "mptcp is true or false, not 1"),
        ("memory = 1", "1 is less than 32M"),
        ("memory = '1000T'", "1000T is more than this host has"),
        ("dns = [[1]]", "dns is not [1]"),
        ("explain = 'all'", "'all' is not one of"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, said: str) -> None:
    """One line, before anything starts."""
    config = tmp_path / "run.toml"
    config.write_text(text)
    done = configured(str(config))
    assert said in done.stderr
    assert (done.stdout, done.returncode) == ("", 2)
    assert done.stderr.count("\n") == 1


def test_no_file() -> None:
    done = configured("/no/such.toml")
    assert "/no/such.toml" in done.stderr
    assert done.returncode == 2


def configured(config: str) -> Done:
    return run([*CLI, "run", "--config", config, "--", "echo", "started"])
