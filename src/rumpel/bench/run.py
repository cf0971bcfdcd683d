# SPDX-License-Identifier: GPL-2.0-only
"""Unmodified programs on a library kernel, beside the same on the host's."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator

from rumpel.bench.lab import TAP, namespaces, need, on_kernel
from rumpel.bench.options import Options
from rumpel.bench.result import TARGET, Figure, Result
from rumpel.errors import RumpelError

START = Figure("run-start", "ms", 1.0, TARGET, "rumpel run -- true, more than true takes")
LOCAL = Figure("run-local", "1/s", 1.0, "host", "redis-benchmark GET, both on loopback", more=True)
LOCAL_DEEP = Figure("run-local-16", "1/s", 1.0, "host", "the same, 16 at a time", more=True)
IPERF = Figure("run-iperf3", "Gbit/s", 1.0, "veth", "iperf3 to the program, over TAP", more=True)
IPERF_BACK = Figure("run-iperf3-back", "Gbit/s", 1.0, "veth", "from the program", more=True)

STARTS, RUNS, SECONDS = 11, 5, 1
START_MS = 40.0
PORT = "6379"


def start(options: Options) -> Iterator[Result]:
    """The whole process, with and without."""
    ours = [*on_kernel(options, "--net", "none"), "true"]
    took = [_seconds(ours) - _seconds(["true"]) for _ in range(STARTS)]
    yield START.result([s * 1e3 for s in took], [START_MS] * STARTS)


def local(options: Options) -> Iterator[Result]:
    """A server and its clients on one kernel."""
    need("redis-server", "redis-benchmark")
    for figure, depth in ((LOCAL, 1), (LOCAL_DEEP, 16)):
        values: tuple[list[float], list[float]] = ([], [])
        for _ in range(RUNS):
            for side, prefix in enumerate((on_kernel(options, "--net", "none"), [])):
                values[side].append(_redis(prefix, depth))
        yield figure.result(*values)


def iperf3(options: Options) -> Iterator[Result]:
    """Between network namespaces, one of which is the library kernel's."""
    need("iperf3", "ip")
    with namespaces() as (here, there):
        tap = on_kernel(options, "--net", TAP)
        sides = ((here, [*here, *tap], "192.0.2.2"), (here, there, "198.51.100.2"))
        for figure, back in ((IPERF, []), (IPERF_BACK, ["-R"])):
            values: tuple[list[float], list[float]] = ([], [])
            for _ in range(RUNS):
                for side, (client, server, address) in enumerate(sides):
                    values[side].append(_iperf3(client, server, address, back))
            yield figure.result(*values)


def _seconds(arguments: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(arguments, check=True)
    return time.perf_counter() - begin


def _redis(prefix: list[str], depth: int) -> float:
    """Requests in a second."""
    script = f"""
        redis-server --port {PORT} --save "" >/dev/null & server=$!
        until redis-cli -p {PORT} ping >/dev/null 2>&1; do sleep 0.05; done
        redis-benchmark -p {PORT} -t get -n {20000 * depth} -P {depth} -q
        kill $server; wait $server
    """
    done = subprocess.run(
        [*prefix, "bash", "-c", script], check=True, capture_output=True, text=True, timeout=120
    )
    found = re.findall(r"([\d.]+) requests per second", done.stdout)
    if not found:
        raise RumpelError(f"redis-benchmark failed: {done.stderr.strip()}")
    return float(found[-1])


def _iperf3(client: list[str], server: list[str], address: str, more: list[str]) -> float:
    """Gbit in a second."""
    with subprocess.Popen(
        [*server, "iperf3", "-s", "-1", "--forceflush"], stdout=subprocess.PIPE
    ) as listens:
        assert listens.stdout
        while b"listening" not in (line := listens.stdout.readline()):
            if not line:
                raise RumpelError("iperf3 does not start")
        done = subprocess.run(
            [*client, "iperf3", "-J", "-c", address, "-t", str(SECONDS), *more],
            check=True,
            capture_output=True,
            timeout=60,
        )
        listens.stdout.read()
    bits: float = json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]
    return bits / 1e9
