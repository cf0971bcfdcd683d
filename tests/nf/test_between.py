# SPDX-License-Identifier: GPL-2.0-only
"""Stages without a kernel in a fused chain: the same as between pipes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.nf.tools import RUMPEL, chain, echo_request, flood, install, line, shell

pytestmark = [pytest.mark.kernel, pytest.mark.once]

MODES = pytest.mark.parametrize("mode", ["--fuse", "--virtual"])

HOLD = '''\
from rumpel.nf import PacketStage
class Hold(PacketStage):
    """Keep all pings until the end, then let them go, the last one first."""
    def begin(self):
        self.held = {"left": [], "right": []}
    def packets(self, items, side):
        self.held[side] += [p for p in items if p.icmp]
        return [p for p in items if not p.icmp]
    def drain(self, side):
        return self.held[side][::-1]
'''


@MODES
def test_tcp_through_boxes(default_image: str, tmp_path: Path, mode: str) -> None:
    """Mangle changes both directions, stats counts them with round-trip times."""
    data = bytes(range(256)) * 4000
    (tmp_path / "in").write_bytes(data)
    text = (
        f"tcp 10.0.0.2 7 --input {tmp_path}/in --output {tmp_path}/out |"
        " mangle 'rewrite_sequence(p, 1000000)' | mangle 'split(p, 500)' | stats --json | route |"
        " host 10.0.0.2 --echo 7"
    )
    done = chain(default_image, text, mode)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_bytes() == data
    (flow,) = [x for x in json.loads(done.stderr)["flows"] if x["flow"].startswith("tcp")]
    assert flow["right"]["packets"] > len(data) / 500
    assert flow["right"]["bytes"] > len(data) < flow["left"]["bytes"]
    assert flow["right"]["rtt_min"] >= 0


def test_virtual_time_is_the_same_in_every_run(default_image: str, tmp_path: Path) -> None:
    """All packets behind Python code, with their times; and what stats says."""
    (tmp_path / "in").write_bytes(bytes(30_000))
    runs = []
    for run in ("first", "second"):
        text = (
            f"tcp 10.0.0.2 9 --input {tmp_path}/in | shape --delay 0.02 --loss 0.1 --seed 3 |"
            f" mangle 'split(p, 300)' | stats --json | pcap -w {tmp_path}/{run} |"
            " host 10.0.0.2 --discard 9"
        )
        done = chain(default_image, text, "--virtual")
        assert done.returncode == 0, done.stderr
        runs.append(((tmp_path / run).read_bytes(), done.stderr))
    assert len(runs[0][0]) > 30_000
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    ("mode", "count", "size"), [("--fuse", 65_000, 32), ("--virtual", 16_000, 1100)]
)
def test_a_flood_waits_for_python(
    default_image: str, tmp_path: Path, mode: str, count: int, size: int
) -> None:
    """More packets than all queues hold, into code slower than both kernels: none is lost.

    On a virtual clock it is more bytes than those that wait for a kernel in real time.
    """
    flood(tmp_path / "flood", count, size)
    # Where the one behind is known before the flood begins: until it has answered, Linux keeps
    # some thirty thousand frames, and on a busy host that may take longer.
    pausing = f"head -n 1 {tmp_path}/flood; sleep 2; tail -n +2 {tmp_path}/flood"
    text = "route | mangle 'sum(range(999)); p' | route"
    with subprocess.Popen(["sh", "-c", pausing], stdout=subprocess.PIPE) as feeder:
        done = chain(default_image, text, mode, stdin=feeder.stdout)
    assert done.returncode == 0, done.stderr
    assert sum("ICMP echo request" in x for x in done.stdout.splitlines()) == count


@MODES
def test_at_both_ends(default_image: str, mode: str) -> None:
    """A chain that has no kernel of its own reads and writes all the same."""
    frames = "".join(line(echo_request("10.0.0.2", n)) for n in range(1, 6))
    text = "mangle 'p.icmp.sequence != 3' | mangle 'setattr(p.ip, \"ttl\", 9)'"
    done = chain(default_image, text, mode, input=frames)
    assert done.returncode == 0, done.stderr
    seen = [x.split() for x in done.stdout.splitlines()]
    assert [x[-1] for x in seen] == ["1", "2", "4", "5"]
    assert all(bytes.fromhex(x[2])[22] == 9 for x in seen)


@MODES
def test_an_error_ends_the_chain(default_image: str, mode: str) -> None:
    """With the name of the stage and the line, and not after all the pings."""
    text = "ping -c 1000000 10.0.0.2 | mangle 'p.icmp and 1 / 0' | host 10.0.0.2"
    done = chain(default_image, text, mode)
    assert done.returncode == 1
    assert "rumpel: mangle: <code>, line 1: ZeroDivisionError: division by zero\n" in done.stderr
    assert "1000000 sent" not in done.stderr


@MODES
def test_what_is_held_back(default_image: str, tmp_path: Path, mode: str) -> None:
    """A stage's last packets leave it when nothing more comes, as between pipes."""
    environment = install(tmp_path, HOLD, "hold = my_package:Hold")
    frames = "".join(line(echo_request("10.0.0.2", n)) for n in range(1, 6))
    runs = []
    for options in ("", mode):
        command = f"{RUMPEL} nf chain {options} --image {default_image} 'route | hold | route'"
        done = shell(command, input=frames, env=environment)
        assert done.returncode == 0, done.stderr
        runs.append([x.split()[-1] for x in done.stdout.splitlines() if "echo request" in x])
    assert runs == [["5", "4", "3", "2", "1"]] * 2
