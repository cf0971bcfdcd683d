# SPDX-License-Identifier: GPL-2.0-only
"""IPv6 through stages that route: neighbours are found, addresses translated."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.nf.tools import chain

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("mode", ["", "--fuse", "--virtual"])
def test_routers_are_found_and_forward(default_image: str, mode: str) -> None:
    """A router answers neighbour solicitations for everybody, and a second one behind it."""
    text = "ping -c 2 -i 0.05 -W 20 fd00::2 | route | route | host fd00::2"
    done = chain(default_image, text, *mode.split())
    assert "2 sent, 2 answered" in done.stderr, done.stderr


def test_what_is_too_large_is_in_fragments(default_image: str) -> None:
    """Made by the sender, put together by the receiver."""
    text = "ping -c 1 -s 4000 -W 20 fd00::2 | route | <> tee /dev/stderr | host fd00::2"
    done = chain(default_image, text)
    assert "4008 bytes from fd00::2" in done.stderr
    assert "fragment at" in done.stderr


def test_a_router_says_nothing_of_its_own(default_image: str) -> None:
    """No reports of multicast groups: what is on a wire is what was forwarded."""
    text = "ping -c 1 -W 20 10.0.0.2 | route | < tee /dev/stderr | route | host 10.0.0.2"
    done = chain(default_image, text)
    assert "1 answered" in done.stderr
    assert "IP6" not in done.stderr


def test_nat_hides_who_is_behind_it(default_image: str) -> None:
    """IPv6 as IPv4: only the address of nat is seen on its right."""
    text = "ping -c 2 -i 0.05 -W 20 fd00::2 | nat | <> tee /dev/stderr | host fd00::2"
    done = chain(default_image, text)
    assert done.returncode == 0, done.stderr
    seen = re.findall(r"(?:IP6 (\S+) > (\S+) ICMP6 echo (\S+))", done.stderr)
    assert set(seen) == {("fd64::1", "fd00::2", "request"), ("fd00::2", "fd64::1", "reply")}


def test_a_forwarded_port(default_image: str, tmp_path: Path) -> None:
    """Of the address of nat, to a host behind it."""
    (tmp_path / "in").write_text("through the nat")
    text = (
        f"host fd00::1 --echo 7 | nat --forward tcp:70:[fd00::1]:7 |"
        f" tcp fd64::1 70 --input {tmp_path}/in --output {tmp_path}/out"
    )
    done = chain(default_image, text)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_text() == "through the nat"
