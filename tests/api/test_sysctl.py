# SPDX-License-Identifier: GPL-2.0-only
"""Kernel parameters as a mapping."""

from __future__ import annotations

import pytest

from rumpel import Kernel
from rumpel.sysctl import _path

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("kernel.ostype", "/proc/sys/kernel/ostype"),
        ("kernel/ostype", "/proc/sys/kernel/ostype"),
        ("net.ipv4.conf.eth0/5.forwarding", "/proc/sys/net/ipv4/conf/eth0.5/forwarding"),
        ("net/ipv4/conf/eth0.5/forwarding", "/proc/sys/net/ipv4/conf/eth0.5/forwarding"),
        ("vm", "/proc/sys/vm"),
    ],
)
def test_names(name: str, path: str) -> None:
    assert _path(name) == path


def test_reading_and_writing(kernel: Kernel) -> None:
    sysctl = kernel.sysctl
    assert sysctl["kernel.ostype"] == "Linux"
    sysctl["net.ipv4.ip_forward"] = 1
    assert sysctl["net.ipv4.ip_forward"] == "1"
    sysctl["net.ipv4.tcp_congestion_control"] = "bbr"
    assert sysctl["net/ipv4/tcp_congestion_control"] == "bbr"
    sysctl["net.ipv4.ip_local_port_range"] = "20000 30000"
    assert sysctl["net.ipv4.ip_local_port_range"].split() == ["20000", "30000"]
    sysctl["kernel.hostname"] = "x"
    assert kernel.os.uname().nodename == "x"


def test_it_is_a_mapping(kernel: Kernel) -> None:
    sysctl = kernel.sysctl
    names = list(sysctl)
    assert len(names) == len(sysctl) > 200
    assert "net.ipv4.ip_forward" in names
    assert "net.ipv4.ip_forward" in sysctl
    assert "net.ipv4.nonsense" not in sysctl
    assert sysctl.get("no.such.thing") is None
    sysctl.update({"vm.swappiness": "17", "net.core.somaxconn": "99"})
    assert sysctl["vm.swappiness"] == "17"


def test_names_with_dots(kernel: Kernel) -> None:
    names = [n for n in kernel.sysctl if n.startswith("net.ipv4.conf.")]
    assert "net.ipv4.conf.lo.forwarding" in names
    assert all(_path(n).startswith("/proc/sys/net/ipv4/conf/") for n in names)


def test_mistakes(kernel: Kernel) -> None:
    sysctl = kernel.sysctl
    for name in ("no.such.thing", "kernel.ostype.x", "kernel", "", "kernel..ostype.."):
        with pytest.raises(KeyError):
            sysctl[name]
    with pytest.raises(KeyError, match=r"no\.such\.thing"):
        sysctl["no.such.thing"] = 1
    with pytest.raises(OSError, match="Invalid argument: '/proc/sys/net/ipv4/ip_forward'"):
        sysctl["net.ipv4.ip_forward"] = "nonsense"
    with pytest.raises(FileNotFoundError, match="tcp_congestion_control"):
        sysctl["net.ipv4.tcp_congestion_control"] = "nonsense"
    with pytest.raises(PermissionError):
        sysctl["kernel.ostype"] = "Hurd"
    with pytest.raises(TypeError, match="cannot be deleted"):
        del sysctl["kernel.ostype"]
