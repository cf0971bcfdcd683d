# SPDX-License-Identifier: GPL-2.0-only
"""The benchmarks, by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rumpel.bench import (
    aio,
    boot,
    calls,
    clone,
    copying,
    disks,
    images,
    intercept,
    memory,
    mounts,
    nf,
    nf_goodput,
    run,
    run_servers,
    sockets,
    switching,
    tcp,
    trees,
    wire,
)
from rumpel.bench.options import Options
from rumpel.bench.result import Figure, Result


@dataclass(frozen=True)
class Benchmark:
    """A benchmark.

    Attributes:
        name: what the user calls it.
        figures: what it says, in this order.
        run: measures.
        profiles: of the kernels that it boots; None is what the user chose.
    """

    name: str
    figures: tuple[Figure, ...]
    run: Callable[[Options], Iterator[Result]]
    profiles: tuple[str | None, ...] = (None,)


BENCHMARKS = (
    Benchmark("boot", (boot.BOOT,), boot.booting(boot.BOOT, None, 10.0)),
    Benchmark("boot-tiny", (boot.BOOT_TINY,), boot.booting(boot.BOOT_TINY, "tiny", 3.0), ("tiny",)),
    Benchmark("start", (boot.START,), boot.starting),
    Benchmark("memory", (*memory.FIGURES.values(), memory.IDLE_CPU), memory.memory, (None, "tiny")),
    Benchmark("getpid-c", (calls.GETPID_C,), calls.getpid_c),
    Benchmark("getpid-python", (calls.GETPID_PYTHON,), calls.getpid_python),
    Benchmark("pipe", (calls.PIPE,), calls.pipe),
    Benchmark("switch", (switching.SWITCH,), switching.switch),
    Benchmark("handoff", (switching.HANDOFF, switching.HANDOFF_FREE), switching.handoff),
    *(Benchmark(f.name, (f,), tcp.stream(kib)) for kib, f in tcp.STREAMS.items()),
    Benchmark("tcp-lo-threads", tuple(tcp.THREADS.values()), tcp.threads),
    Benchmark("rr-lo", (tcp.ROUND_TRIP,), tcp.round_trip),
    Benchmark("udp-lo", (sockets.UDP, sockets.LOST), sockets.udp),
    Benchmark("python-send-recv", (sockets.PYTHON,), sockets.python),
    Benchmark("tap-tcp-out", (wire.TAP_OUT,), wire.tap_stream(wire.TAP_OUT, back=False)),
    Benchmark("tap-tcp-in", (wire.TAP_IN,), wire.tap_stream(wire.TAP_IN, back=True)),
    Benchmark("tap-rr", (wire.TAP_RR, wire.TAP_RR_FREE), wire.tap_round_trips),
    Benchmark("xdp-rr", (wire.XDP_RR, wire.XDP_RR_HOST, wire.XDP_TCP), wire.xdp),
    Benchmark("link-tcp", (wire.LINK,), wire.link),
    Benchmark("copy-in", (copying.COPY_IN, copying.COPY_OUT), copying.copying),
    Benchmark("blk-write", (disks.WRITE, disks.READ), disks.stream),
    Benchmark("blk-files", (disks.FILES,), disks.files),
    Benchmark("image-start", (images.IMAGE_START,), images.start),
    Benchmark("image-list", tuple(trees.FIGURES.values()), trees.trees),
    Benchmark("image-read", (images.READ, images.WRITE), images.files),
    Benchmark("image-fs", tuple(trees.FS_FIGURES.values()), trees.kinds),
    Benchmark("image-mount", mounts.FIGURES, mounts.mounts),
    Benchmark("aio-1000", (aio.AIO,), aio.thousand),
    Benchmark("clone", (clone.CLONE, clone.PYTHON), clone.clone),
    Benchmark("nf-start", (nf.START,), nf.start),
    Benchmark("nf-chain-10", (nf.CHAIN,), nf.chain),
    Benchmark("nf-forward", (nf.FORWARD, nf.BESIDE_HOST, nf.FUSED_FORWARD), nf.forward),
    Benchmark("nf-text", (nf.TEXT, nf.TCPDUMP), nf.text),
    Benchmark(
        "nf-goodput",
        (*nf_goodput.GOODPUT.values(), *nf_goodput.FUSED.values()),
        nf_goodput.goodput,
    ),
    Benchmark(
        "nf-latency",
        (*nf_goodput.LATENCY.values(), *nf_goodput.FUSED_LATENCY.values()),
        nf_goodput.latency,
    ),
    Benchmark("nf-mangle", (nf.MANGLE, nf.BESIDE_SCAPY), nf.mangle),
    Benchmark("intercept", (intercept.KNOWN, intercept.UNKNOWN), intercept.intercept, ()),
    Benchmark("run-start", (run.START,), run.start),
    Benchmark("run-local", (run.LOCAL, run.LOCAL_DEEP), run.local),
    Benchmark("run-iperf3", (run.IPERF, run.IPERF_BACK), run.iperf3),
    Benchmark("run-rr", (run_servers.RR,), run_servers.round_trips),
    Benchmark("run-nginx", tuple(run_servers.NGINX.values()), run_servers.nginx),
    Benchmark("run-redis", tuple(run_servers.REDIS.values()), run_servers.redis),
    Benchmark("run-user", (run_servers.USER,), run_servers.user),
)


def find(names: Sequence[str]) -> list[Benchmark]:
    """Choose benchmarks, in the table's order.

    Args:
        names: of benchmarks or of their figures, or "nf" for all of chains, "run" for all of
            programs, "images" for all of images; none chooses all.

    Raises:
        ValueError: if there is none of a name; the message has those that look alike.
    """
    if not names:
        return list(BENCHMARKS)
    known = {name: b for b in BENCHMARKS for name in (*(f.name for f in b.figures), b.name)}
    groups = {g: [b for b in BENCHMARKS if b.name.startswith(f"{g}-")] for g in ("nf", "run")}
    groups["run"] += [known["intercept"]]
    groups["images"] = [b for b in BENCHMARKS if b.name.startswith("image-")]
    for name in names:
        if name not in known and name not in groups:
            raise ValueError(f"there is no benchmark {name!r}; {_hint(name, list(known))}")
    chosen = {b.name for name in names for b in groups.get(name) or [known[name]]}
    return [b for b in BENCHMARKS if b.name in chosen]


def _hint(name: str, known: list[str]) -> str:
    near = [other for other in known if name in other]
    near = near or difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"there are: {', '.join(b.name for b in BENCHMARKS)}"
