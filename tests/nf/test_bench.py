# SPDX-License-Identifier: GPL-2.0-only
"""The benchmarks of chains run, and say something."""

from __future__ import annotations

import os
import subprocess
from xml.etree import ElementTree

import pytest

from rumpel.bench import Options, curves, nf, nf_goodput, plot
from rumpel.bench.result import Result


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """One run of each, with few packets."""
    monkeypatch.setattr(nf, "RUNS", 1)
    monkeypatch.setattr(nf, "FRAMES", 100_000)  # enough to tell them from the start
    monkeypatch.setattr(nf, "SCAPY", 50)
    monkeypatch.setattr(nf_goodput, "RUNS", 1)
    monkeypatch.setattr(nf_goodput, "LENGTHS", (4,))
    monkeypatch.setattr(nf_goodput, "SIZE", 4 << 20)
    monkeypatch.setattr(nf_goodput, "PINGS", 5)


def test_the_stream_is_what_it_says() -> None:
    """Frames with right checksums, so that no stage drops them."""
    packet = nf.frame()
    assert len(packet) == 60
    assert packet.ip
    assert packet.tcp
    before = packet.ip.checksum, packet.tcp.checksum
    packet.ip.daddr = "10.0.0.9"
    packet.ip.daddr = "10.0.0.2"
    assert (packet.ip.checksum, packet.tcp.checksum) == before


@pytest.mark.kernel
@pytest.mark.parametrize("name", ["start", "forward", "text", "mangle"])
def test_each_runs(name: str, default_image: str) -> None:
    """All figures are there, and none is nothing."""
    results = list(getattr(nf, name)(Options(image=default_image)))
    assert results
    assert all(result.value > 0 and result.peer_value > 0 for result in results)


@pytest.mark.kernel
@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces are made by root")
@pytest.mark.parametrize("name", ["goodput", "latency"])
def test_lengths_of_chains(name: str, default_image: str) -> None:
    """Both ways of a chain, beside namespaces of the host, which are removed."""
    results = list(getattr(nf_goodput, name)(Options(image=default_image)))
    assert [r.figure.name for r in results] == [f"nf-{name}-4", f"nf-{name}-fused-4"]
    assert all(result.value > 0 and result.peer_value > 0 for result in results)
    names = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    assert f"rumpel-bench-{os.getpid()}-" not in names


def test_curves_are_drawn() -> None:
    """Of what was measured at several lengths, beneath the ratios of all."""
    results: list[Result] = []
    for n in (1, 2, 4, 8):
        results.append(nf_goodput.GOODPUT[n].result([400.0 / n], [1000.0 / n]))
        results.append(nf_goodput.FUSED[n].result([900.0 / n], [1000.0 / n]))
        results.append(nf_goodput.LATENCY[n].result([100.0 * n], [20.0 * n]))
    unit, found = curves.panels(results)["nf-goodput"]
    assert unit == "MB/s"
    assert found["fused"] == {1: 900.0, 2: 450.0, 4: 225.0, 8: 112.5}
    assert found["host namespaces"][8] == 125.0
    picture = ElementTree.fromstring(plot.svg(results, "this machine"))
    lines = [e for e in picture.iter() if e.tag.endswith("polyline")]
    assert len(lines) == 5
    height = float(picture.attrib["height"])
    for line in lines:
        for point in line.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert 0 < x < float(picture.attrib["width"])
            assert 0 < y < height
