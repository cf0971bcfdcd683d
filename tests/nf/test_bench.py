# SPDX-License-Identifier: GPL-2.0-only
"""The benchmarks of chains run, and say something."""

from __future__ import annotations

import pytest

from rumpel.bench import Options, nf


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """One run of each, with few packets."""
    monkeypatch.setattr(nf, "RUNS", 1)
    monkeypatch.setattr(nf, "FRAMES", 20000)
    monkeypatch.setattr(nf, "SCAPY", 50)


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
