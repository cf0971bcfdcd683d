# SPDX-License-Identifier: GPL-2.0-only
"""Services on a virtual clock, and how stages end: all that came in goes out."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import cast

import pytest

import rumpel
from rumpel.nf.runner import look, settle
from rumpel.nf.stages.bridge import Bridge
from rumpel.nf.work import Work
from tests.conftest import Boot
from tests.nf.tools import chain, echo_request, flood, line

pytestmark = pytest.mark.kernel


def test_services_give_the_same_bytes_in_every_run(default_image: str, tmp_path: Path) -> None:
    """Echo over TCP that loses packets, and a web page with its date: two runs are one."""
    (tmp_path / "page").write_text("a page\n" * 2000)
    (tmp_path / "in").write_bytes(b"GET /page HTTP/1.0\r\n\r\n")
    runs = []
    for run in ("first", "second"):
        text = (
            f"tcp 10.0.0.2 80 --input {tmp_path}/in --output {tmp_path}/{run} | nat |"
            f" pcap -w {tmp_path}/{run}.pcap | shape --delay 0.02 --loss 0.1 --seed 5 |"
            f" host 10.0.0.2 --http 80:{tmp_path} --echo 7"
        )
        done = chain(default_image, text, "--virtual")
        assert done.returncode == 0, done.stderr
        runs.append((tmp_path / run).read_bytes())
    head, _, page = runs[0].partition(b"\r\n\r\n")
    assert page == b"a page\n" * 2000
    assert b"\r\nDate: Sat, 01 Jan 2000 " in head
    assert runs[0] == runs[1]
    # And so are all packets, with their times.
    captures = [(tmp_path / f"{run}.pcap").read_bytes() for run in ("first", "second")]
    assert len(captures[0]) > 14000
    assert captures[0] == captures[1]


def test_datagrams_come_back(default_image: str, tmp_path: Path) -> None:
    """Udp and the echo of host, through nat; silence ends it."""
    (tmp_path / "in").write_bytes(bytes(range(250)) * 20)
    for mode in ("--virtual", "--fuse"):
        text = (
            f"udp 10.0.0.2 7 --size 1000 --input {tmp_path}/in --output {tmp_path}/out"
            " --wait 3 | nat | host 10.0.0.2 --echo 7"
        )
        done = chain(default_image, text, mode)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "out").read_bytes() == bytes(range(250)) * 20


def test_datagrams_to_nobody(default_image: str, tmp_path: Path) -> None:
    """Who says that there is nobody is heard."""
    (tmp_path / "in").write_bytes(b"x")
    text = f"udp 10.0.0.2 9 --input {tmp_path}/in --wait 5 | host 10.0.0.2"
    done = chain(default_image, text, "--virtual")
    assert done.returncode == 1
    assert "Connection refused" in done.stderr


def test_a_flood_waits_for_an_address(default_image: str, tmp_path: Path) -> None:
    """More packets than a queue holds, for somebody who is still looked for."""
    count = 40_000
    flood(tmp_path / "flood", count)
    with (tmp_path / "flood").open() as file:
        done = chain(default_image, "route | route", "--virtual", stdin=file)
    assert done.returncode == 0, done.stderr
    seen = [int(x.split()[-1]) for x in done.stdout.splitlines() if "echo request" in x]
    assert seen == list(range(count))


def test_what_waits_for_long_is_not_lost(default_image: str) -> None:
    """Input ends a hundred seconds before its last packet has left."""
    frames = "".join(line(echo_request("10.0.0.2", number)) for number in range(1, 6))
    done = chain(default_image, "bridge | shape --delay 100", "--virtual", input=frames)
    assert done.returncode == 0, done.stderr
    assert [x for x in range(1, 6) if f" seq {x}\n" in done.stdout] == [1, 2, 3, 4, 5]
    assert float(done.stdout.split()[0]) >= 100


def test_who_goes_on_to_send_is_not_waited_for(
    boot: Boot, capsys: pytest.CaptureFixture[str]
) -> None:
    """After ten seconds it is said how many packets were left behind; nobody else gives up."""
    clock = rumpel.VirtualClock()
    cable = rumpel.Link()
    sender, stage = (boot(nics=[end], clock=clock) for end in cable)
    sender.ifup("eth0", "10.0.0.1/24")
    stage.ifup("eth0", "10.0.0.2/24")
    stage.net.qdisc.replace("eth0", "netem", delay=60)

    class Busy:
        def sleep(self, seconds: float) -> None:
            sock.sendto(b"once more", ("10.0.0.2", 9))
            sender.sleep(seconds)

    start, seen = clock.now, partial(look, stage, {"eth0": cable[1]})
    with sender.socket.socket(sender.socket.AF_INET, sender.socket.SOCK_DGRAM) as sock:
        settle(cast(Work, Busy()), stage, [cable[1]], "a stage", seen)
    assert 10 < clock.now - start < 12
    assert re.fullmatch(
        r"a stage: ended while \d+ packets were on their way\n", capsys.readouterr().err
    )
    # Nobody sends any more: what waits is waited for.
    with Work(stage, [Bridge()]) as work:
        settle(work, stage, [cable[1]], "a stage", seen)
    assert clock.now - start > 60
    assert capsys.readouterr().err == ""
