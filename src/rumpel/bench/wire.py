# SPDX-License-Identifier: GPL-2.0-only
"""TCP between kernels, beside two of the host's network namespaces with a veth between.

Namespaces are made for a measurement and deleted after it, which takes root.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

from rumpel.bench import native
from rumpel.bench.measure import Work, compare, one_cpu
from rumpel.bench.options import Options
from rumpel.bench.result import Figure, Result
from rumpel.devices.netns import inside
from rumpel.errors import BootError, RumpelError

SIZE = 64 << 10
PEER = "host, veth between namespaces"
TAP_OUT = Figure("tap-tcp-out", "GB/s", 1, PEER, "TCP to the host over TAP", more=True)
TAP_IN = Figure("tap-tcp-in", "GB/s", 0.9, PEER, "TCP from the host over TAP", more=True)
TAP_RR = Figure(
    "tap-rr", "1/s", 1, PEER, "1 byte to the host and back by TCP over TAP, one CPU", more=True
)
TAP_RR_FREE = Figure("tap-rr-free", "1/s", 1, PEER, "the same, not pinned to a CPU", more=True)
PACKET = "a packet socket on a veth"
XDP_RR = Figure(
    "xdp-rr", "1/s", 1, PACKET, "1 byte to the host and back by TCP over AF_XDP, one CPU", more=True
)
XDP_RR_HOST = Figure("xdp-rr-veth", "1/s", 1, PEER, "the same, beside the host's", more=True)
XDP_TCP = Figure("xdp-tcp", "GB/s", 1, PACKET, "TCP to the host over AF_XDP", more=True)
LINK = Figure("link-tcp", "GB/s", 1.5, PEER, "TCP between two kernels of one process", more=True)


def tap_stream(figure: Figure, back: bool) -> Callable[[Options], Iterator[Result]]:
    """A benchmark of TCP in one direction: ``back`` is towards the kernel."""

    def run(options: Options) -> Iterator[Result]:
        with tap(options) as ours, veth() as host:
            yield _streams(figure, ours, host, back)

    return run


def tap_round_trips(options: Options) -> Iterator[Result]:
    """A thread in the kernel and one on the host, that wait for each other."""
    with tap(options) as ours, veth() as host:
        with one_cpu():
            yield compare(TAP_RR, ours.work("trips"), host.work("trips"), scale=1)
        yield compare(TAP_RR_FREE, ours.work("trips"), host.work("trips"), scale=1)


def xdp(options: Options) -> Iterator[Result]:
    """AF_XDP on a veth, beside a packet socket on another, and beside the host alone."""
    with station(options, "xdp") as ours, station(options, "packet") as packet, veth() as host:
        with one_cpu():
            for figure, peer in ((XDP_RR, packet), (XDP_RR_HOST, host)):
                yield compare(figure, ours.work("trips"), peer.work("trips"), scale=1)
        yield _streams(XDP_TCP, ours, packet, False)


def link(options: Options) -> Iterator[Result]:
    """Two kernels, and a thread in either."""
    with linked(options) as ours, veth() as host:
        yield _streams(LINK, ours, host, False)


def _streams(figure: Figure, ours: Wire, host: Wire, back: bool) -> Result:
    works = (wire.work("stream", SIZE, back) for wire in (ours, host))
    return compare(figure, *works, scale=SIZE / 1e9)


class Wire:
    """A connection and what can be done on it: see ``wire.h``."""

    def __init__(self, library: ctypes.CDLL, handle: ctypes.c_void_p) -> None:
        self._library = library
        self._handle = handle

    def work(self, name: str, size: int = 0, back: bool = False) -> Work:
        """Work by a function of ``wire.h``, without ``bench_wire_``."""
        function = getattr(self._library, f"bench_wire_{name}")
        function.argtypes = [ctypes.c_void_p, ctypes.c_bool, ctypes.c_long, ctypes.c_long]
        function.restype = ctypes.c_int64

        def work(rounds: int) -> float:
            ns: int = function(self._handle, back, rounds, size)
            if ns < 0:
                raise OSError(-ns, f"{os.strerror(-ns)} (benchmark {name})")
            return ns / 1e9

        return work


@contextmanager
def _wire(name: str, *arguments: object) -> Iterator[Wire]:
    library = native.load()
    library.bench_wire_close.argtypes = [ctypes.c_void_p]
    library.bench_wire_close.restype = None
    handle, why = ctypes.c_void_p(), ctypes.c_char_p()
    make = getattr(library, f"bench_wire_{name}")
    error = make(*arguments, ctypes.byref(handle), ctypes.byref(why))
    if error:
        reason = why.value.decode() if why.value else os.strerror(-error)
        raise BootError(f"cannot make a network for the benchmark: {reason}")
    try:
        yield Wire(library, handle)
    finally:
        library.bench_wire_close(handle)


@contextmanager
def tap(options: Options) -> Iterator[Wire]:
    """A kernel, and the host in a namespace."""
    from rumpel import _native

    image = os.fsencode(options.path())
    with ExitStack() as stack:
        name = stack.enter_context(_namespace("tap"))
        with inside(name):
            fd, _ = _native.tap_open("tap0")
        stack.callback(os.close, fd)
        _up(name, "tap0", "10.0.0.1/24")
        listener = stack.enter_context(_listener(name))
        yield stack.enter_context(_wire("tap", image, fd, listener.fileno()))


@contextmanager
def station(options: Options, how: Literal["xdp", "packet"]) -> Iterator[Wire]:
    """A kernel at one end of a veth, and the host at the other."""
    image = os.fsencode(options.path())
    with _namespace(how) as name:
        _ip("-n", name, "link", "add", "wire", "type", "veth", "peer", "far")
        _ip("-n", name, "link", "set", "wire", "up")
        _up(name, "far", "10.0.0.1/24")
        with _listener(name) as listener, ExitStack() as stack:
            with inside(name):
                made = _wire("station", image, b"wire", how == "xdp", listener.fileno())
                wire = stack.enter_context(made)
            yield wire


@contextmanager
def linked(options: Options) -> Iterator[Wire]:
    """Two kernels."""
    with _wire("link", os.fsencode(options.path())) as wire:
        yield wire


@contextmanager
def veth() -> Iterator[Wire]:
    """The host, twice."""
    with _namespace("a") as here, _namespace("b") as there:
        _ip("-n", here, "link", "add", "veth0", "type", "veth", "peer", "veth0", "netns", there)
        _up(here, "veth0", "10.0.0.2/24")
        _up(there, "veth0", "10.0.0.1/24")
        with _listener(there) as listener, inside(here):
            client = socket.create_connection(("10.0.0.1", 5000), 10)
            server, _ = listener.accept()
        for sock in (client, server):
            sock.settimeout(None)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with _wire("host", client.detach(), server.detach()) as wire:
            yield wire


@contextmanager
def _namespace(end: str) -> Iterator[str]:
    """A network namespace of the host.

    Raises:
        RumpelError: if this process may not make one, or ip(8) is missing.
    """
    if os.geteuid():
        raise RumpelError("this benchmark makes network namespaces, which takes root")
    name = f"rumpel-bench-{os.getpid()}-{end}"
    _ip("netns", "add", name)
    try:
        yield name
    finally:
        _ip("netns", "delete", name)


def _up(namespace: str, interface: str, address: str) -> None:
    _ip("-n", namespace, "address", "add", address, "dev", interface)
    _ip("-n", namespace, "link", "set", interface, "up")


@contextmanager
def _listener(namespace: str) -> Iterator[socket.socket]:
    with inside(namespace):
        sock = socket.create_server(("10.0.0.1", 5000))
    with sock:
        yield sock


def _ip(*arguments: str) -> None:
    program = shutil.which("ip", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if program is None:
        raise RumpelError("this benchmark needs ip(8); to install: sudo apt-get install iproute2")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RumpelError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
