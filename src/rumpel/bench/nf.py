# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel nf`` as whole processes: how soon stages are there, and packets a second.

The streams are captures of equal frames of 64 bytes; what a stage puts out is counted from
its first bytes on, so that its start is not.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rumpel.bench.nf_host import HostRouters, host_routers
from rumpel.bench.options import Options
from rumpel.bench.result import TARGET, Figure, Result
from rumpel.errors import RumpelError
from rumpel.packets import Packet, PacketFormat, PacketWriter

RUNS = 5
FRAMES = 200_000
FUSED = 4
MAC = bytes.fromhex("026e66000001")
SCAPY = 5_000
"""Frames: it takes its time."""

START = Figure("nf-start", "ms", 1, TARGET, "exec of rumpel nf route to the first packet out")
CHAIN = Figure("nf-chain-10", "ms", 1, TARGET, "exec of a chain of ten to the first answer")
FORWARD = Figure(
    "nf-forward", "1/s", 1, TARGET, "64-byte frames through route, pcap to pcap", more=True
)
BESIDE_HOST = Figure(
    "nf-forward-netns",
    "1/s",
    0.5,
    "netns",
    "the same, beside a router that is a namespace",
    more=True,
)
FUSED_FORWARD = Figure(
    "nf-forward-fused",
    "1/s",
    1,
    TARGET,
    "the same through four fused ones: times four, a second of CPU beyond that of their start",
    more=True,
)
TEXT = Figure("nf-text", "1/s", 1, TARGET, "the same as text, through grep -v", more=True)
TCPDUMP = Figure(
    "nf-text-tcpdump", "1/s", 0.75, "tcpdump -n", "text through grep, beside tcpdump's", more=True
)
MANGLE = Figure(
    "nf-mangle", "1/s", 1, TARGET, "frames through mangle, with access to headers", more=True
)
BESIDE_SCAPY = Figure("nf-mangle-scapy", "1/s", 77, "Scapy", "the same, beside Scapy", more=True)
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
"""With the byte code that an earlier run has left, as any installed program has it."""
CODE = "if p.tcp and p.tcp.dport == 80: p.tcp.sequence += 5; p.ip.ttl -= 1"


def command(options: Options, *words: str) -> list[str]:
    """The command line of ``rumpel nf``."""
    program = [sys.executable, "-c", "from rumpel.cli import program; program()", "nf"]
    return [*program, words[0], "--image", options.path(), *words[1:]]


def frame() -> Packet:
    """A segment of TCP in a frame of 64 bytes, the Ethernet checksum included."""
    ip = struct.pack("!HHHHBBH4s4s", 0x4500, 46, 1, 0, 64, 6, 0x66C7, b"\x0a\0\0\1", b"\x0a\0\0\2")
    tcp = struct.pack("!HHIIHHHH6x", 1234, 80, 1, 1, 0x5010, 1000, 0x92C0, 0)
    return Packet(MAC + MAC + b"\x08\0" + ip + tcp)


@contextmanager
def stream(count: int, form: PacketFormat = "pcap") -> Iterator[Path]:
    """A file with so many frames."""
    with tempfile.NamedTemporaryFile(prefix="rumpel-bench-") as file:
        packets = [frame()] * 10_000
        writer = PacketWriter(file, form)
        for start in range(0, count, len(packets)):
            writer.write(packets[: count - start])
        yield Path(file.name)


def start(options: Options) -> Iterator[Result]:
    """One packet through a stage that was just started."""
    times = []
    with stream(1) as file:
        for _ in range(RUNS * 3 + 1):
            with file.open("rb") as stdin:
                before = time.perf_counter()
                process = subprocess.Popen(
                    command(options, "route", "--format", "pcap"),
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    env=ENVIRONMENT,
                )
                _read_until(process, 24 + 16 + 60)
                times.append((time.perf_counter() - before) * 1e3)
                _end(process)
    del times[0]  # it wrote the byte code
    yield START.result(times, [50.0] * len(times))


def chain(options: Options) -> Iterator[Result]:
    """A ping through eight stages."""
    text = "ping -c 1 -W 30 10.0.0.2 | " + "route | " * 8 + "host 10.0.0.2"
    times = []
    for _ in range(RUNS + 1):
        before = time.perf_counter()
        process = subprocess.Popen(
            command(options, "chain", text), stderr=subprocess.PIPE, env=ENVIRONMENT
        )
        assert process.stderr is not None
        line = process.stderr.readline()
        times.append((time.perf_counter() - before) * 1e3)
        if b" bytes from " not in line:
            raise RumpelError(f"rumpel nf chain: {line.decode(errors='replace').strip()}")
        _end(process)
    del times[0]
    yield CHAIN.result(times, [300.0] * len(times))


def forward(options: Options) -> Iterator[Result]:
    """Frames through route, and through four of them in one process."""
    fused = " | ".join(["route"] * FUSED)
    alone, together, host = [], [], []
    with stream(FRAMES) as file, stream(1) as one, contextlib.ExitStack() as stack:
        # Who is not root has no namespaces.
        peer = None if os.geteuid() else stack.enter_context(host_routers(1, frame(), FRAMES))
        for _ in range(RUNS):
            alone.append(_rate(command(options, "route", "--format", "pcap"), file))
            words = command(options, "chain", "--fuse", "--format", "pcap", fused)
            # To start and to end is not to forward.
            idle, _ = _cost(words, one)
            # What is too much for a cable is lost, as on any: what came through counts.
            took, passed = _cost(words, file)
            together.append(passed * FUSED / (took - idle))
            if peer:
                host.append(_host_rate(peer))
    yield FORWARD.result(alone, [300_000.0] * RUNS)
    if peer:
        yield BESIDE_HOST.result(alone, host)
    yield FUSED_FORWARD.result(together, [1_000_000.0] * RUNS)


def _host_rate(routers: HostRouters) -> float:
    with routers.run() as receiver:
        assert receiver.stdout is not None
        count, took = _count(receiver.stdout.fileno())
    if count < FRAMES / 2:
        raise RumpelError(f"only {count:.0f} packets came through the host's namespaces")
    return count / took


def text(options: Options) -> Iterator[Result]:
    """Frames as text through grep, beside tcpdump's text."""
    ours, theirs = [], []
    with stream(FRAMES) as file:
        for _ in range(RUNS):
            ours.append(_rate(command(options, "route"), file, text=True))
            theirs.append(_rate(["tcpdump", "-nr", str(file)], file, text=True))
    yield TEXT.result(ours, [200_000.0] * RUNS)
    yield TCPDUMP.result(ours, theirs)


def mangle(options: Options) -> Iterator[Result]:
    """Frames through Python code, and through Scapy."""
    ours, theirs = [], []
    words = command(options, "mangle", "--format", "pcap", CODE)
    with stream(FRAMES) as file, stream(SCAPY) as few:
        for _ in range(RUNS):
            ours.append(_rate(words, file))
            theirs.append(_scapy(few))
    yield MANGLE.result(ours, [100_000.0] * RUNS)
    yield BESIDE_SCAPY.result(ours, theirs)


def _scapy(file: Path) -> float:
    try:
        from scapy.layers.inet import IP, TCP
        from scapy.utils import PcapReader
    except ImportError:
        raise RumpelError("this benchmark measures beside Scapy: pip install scapy") from None
    count = 0
    with PcapReader(str(file)) as reader:
        before = time.perf_counter()
        for packet in reader:
            if TCP in packet and packet[TCP].dport == 80:
                packet[TCP].seq += 5
                packet[IP].ttl -= 1
                del packet[TCP].chksum, packet[IP].chksum
            count += len(bytes(packet)) > 0
    return count / (time.perf_counter() - before)


def _rate(words: Sequence[str], file: Path, *, text: bool = False) -> float:
    """Frames a second that a program makes of a file of them."""
    count, took = _pass(words, file, text=text)
    if count < FRAMES / 2:
        raise RumpelError(f"{' '.join(words[3:])}: only {count:.0f} packets came through")
    return count / took


def _pass(words: Sequence[str], file: Path, *, text: bool = False) -> tuple[float, float]:
    """Frames that come out of a program behind the first ones, and the seconds that it took.

    Args:
        words: the program.
        file: its standard input.
        text: lines, which go through grep; else a capture.
    """
    with file.open("rb") as stdin:
        program = subprocess.Popen(
            words, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    last = program
    if text:
        grep = ["grep", "-v", "nothing of the kind"]
        last = subprocess.Popen(grep, stdin=program.stdout, stdout=subprocess.PIPE)
        assert program.stdout is not None
        program.stdout.close()
    assert last.stdout is not None
    result = _count(last.stdout.fileno(), text=text)
    for process in (last, program):
        if process.wait() and process is last:
            raise RumpelError(f"{words[-1]!r} ended with {process.returncode}")
    last.stdout.close()
    return result


def _count(fd: int, *, text: bool = False) -> tuple[float, float]:
    """Frames that are read behind the first ones, and the seconds between these and the last."""
    first = last = 0.0
    skipped = total = 0
    while data := os.read(fd, 1 << 18):
        total += data.count(b"\n") if text else len(data)
        last = time.perf_counter()
        if not first:
            first, skipped = last, total
    return (total - skipped) / (1 if text else 76), last - first


def _cost(words: Sequence[str], file: Path) -> tuple[float, float]:
    """Seconds of CPU that a program takes for a file of frames, and how many come through."""
    before = _cpu()
    passed, _ = _pass(words, file)
    return _cpu() - before, passed


def _cpu() -> float:
    """Seconds of CPU of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _read_until(process: subprocess.Popen[bytes], size: int) -> None:
    assert process.stdout is not None
    got = 0
    while got < size:
        if not select.select([process.stdout], [], [], 60)[0]:
            raise RumpelError("no packet came through in a minute")
        data = os.read(process.stdout.fileno(), 65536)
        if not data:
            raise RumpelError("the stage ended before a packet came through")
        got += len(data)


def _end(process: subprocess.Popen[bytes]) -> None:
    for file in (process.stdout, process.stderr):
        if file is not None:
            file.close()
    process.wait()
