# SPDX-License-Identifier: GPL-2.0-only
"""TCP and ping through chains of network functions, beside the same of host namespaces.

The stages are route, nat and filter in turn. On the host each is a namespace, a router with the
same rules (which has no bridge: not every host has those), and a veth pair is between two of
them. The sender and the receiver do the same on both sides: read a file, count what comes.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

from rumpel.bench.namespaces import namespaces
from rumpel.bench.nf import command
from rumpel.bench.options import Options
from rumpel.bench.result import Figure, Result
from rumpel.errors import RumpelError

LENGTHS = (1, 2, 4, 8)
RUNS = 3
SIZE = 256 << 20
PINGS = 50
STAGES = ("route", "nat --address 100.64.{}.1", "filter 'tcp dport 22 drop'")
PORT = 9

_WORK = "TCP through {} stages, each a process"
GOODPUT = {
    n: Figure(f"nf-goodput-{n}", "MB/s", 0.5, "netns", _WORK.format(n), more=True) for n in LENGTHS
}
FUSED = {
    n: Figure(f"nf-goodput-fused-{n}", "MB/s", 1, "netns", f"the same, {n} in a process", more=True)
    for n in LENGTHS
}
LATENCY = {
    n: Figure(f"nf-latency-{n}", "us", 10, "netns", f"ping through {n} stages, each a process")
    for n in LENGTHS
}
FUSED_LATENCY = {
    n: Figure(f"nf-latency-fused-{n}", "us", 5, "netns", f"the same, {n} in a process")
    for n in LENGTHS
}


def goodput(options: Options) -> Iterator[Result]:
    """Bytes a second that arrive."""
    with tempfile.NamedTemporaryFile(prefix="rumpel-bench-") as file:
        file.truncate(SIZE)
        for n in LENGTHS:
            pipes, fused, host = [], [], []
            with namespaces(_stages(n)) as at:
                for _ in range(RUNS):
                    pipes.append(_chain_goodput(options, n, file.name))
                    fused.append(_chain_goodput(options, n, file.name, "--fuse"))
                    host.append(_host_goodput(at.client, at.server, at.address, file.name))
            yield GOODPUT[n].result(pipes, host)
            yield FUSED[n].result(fused, host)


def latency(options: Options) -> Iterator[Result]:
    """Round-trip times: the median of many."""
    for n in LENGTHS:
        pipes, fused, host = [], [], []
        with namespaces(_stages(n)) as at:
            for _ in range(RUNS):
                pipes.append(_chain_latency(options, n))
                fused.append(_chain_latency(options, n, "--fuse"))
                ping = ["ping", "-c", str(PINGS), "-i", "0.01", at.address]
                host.append(_median(_output([*at.client, *ping]), r"time=([\d.]+) ms"))
        yield LATENCY[n].result(pipes, host)
        yield FUSED_LATENCY[n].result(fused, host)


def _stages(n: int) -> list[str]:
    return [STAGES[i % len(STAGES)].format(i) for i in range(n)]


def _chain_goodput(options: Options, n: int, path: str, *how: str) -> float:
    ends = f"tcp 10.0.0.2 {PORT} --input {path}", f"host 10.0.0.2 --discard {PORT}"
    text = " | ".join([ends[0], *_stages(n), ends[1]])
    return _rate(_output(command(options, "chain", *how, text)))


def _chain_latency(options: Options, n: int, *how: str) -> float:
    ends = f"ping -c {PINGS} -i 0.01 10.0.0.2", "host 10.0.0.2"
    text = " | ".join([ends[0], *_stages(n), ends[1]])
    return _median(_output(command(options, "chain", *how, text)), r"seq \d+ ([\d.]+) ms")


def _output(words: Sequence[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise RumpelError(f"{words[-1]!r} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout + done.stderr


def _rate(said: str) -> float:
    """What the stage host says of what it discards, and the receiver below."""
    found = re.search(r"(\d+) bytes in .* s: ([\d.]+) MB/s", said)
    if not found or int(found[1]) != SIZE:
        raise RumpelError(f"not all has arrived: {said.strip()}")
    return float(found[2])


def _median(said: str, pattern: str) -> float:
    """Of times in milliseconds, in microseconds."""
    times = [float(x) * 1e3 for x in re.findall(pattern, said)]
    if len(times) < PINGS / 2:
        raise RumpelError(f"only {len(times)} of {PINGS} pings were answered: {said[-200:]}")
    return statistics.median(times)


_RECEIVER = """
import socket, sys, time
server = socket.create_server(("", int(sys.argv[1])))
print("listens", flush=True)
sock, _ = server.accept()
count, start, buffer = 0, time.monotonic(), bytearray(1 << 20)
while got := sock.recv_into(buffer):
    count += got
took = time.monotonic() - start
print(f"{count} bytes in {took:.3f} s: {count / took / 1e6:.1f} MB/s")
"""
_SENDER = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as sock, open(sys.argv[3], "rb") as file:
    while data := file.read(1 << 20):
        sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
    while sock.recv(1 << 18):
        pass
"""  # noqa: E501


def _host_goodput(client: list[str], server: list[str], address: str, path: str) -> float:
    python = [sys.executable, "-c"]
    receiver = [*server, *python, _RECEIVER, str(PORT)]
    with subprocess.Popen(receiver, stdout=subprocess.PIPE, text=True) as listens:
        try:
            assert listens.stdout is not None
            if listens.stdout.readline() != "listens\n":
                raise RumpelError("the host's receiver does not start")
            _output([*client, *python, _SENDER, address, str(PORT), path])
            return _rate(listens.stdout.read())
        except BaseException:
            listens.kill()  # it may wait for ever for somebody to connect
            raise
