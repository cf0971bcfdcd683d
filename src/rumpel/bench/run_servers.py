# SPDX-License-Identifier: GPL-2.0-only
"""Unmodified servers on a library kernel, and their clients on the host's."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rumpel.bench.lab import TAP, background, namespaces, need, on_kernel
from rumpel.bench.options import Options
from rumpel.bench.result import Figure, Result
from rumpel.errors import RumpelError

RR = Figure("run-rr", "us", 1.0, "veth", "sockperf ping-pong over TAP, half a round trip")
NGINX = {
    size: Figure(name, "1/s", target, "veth", f"wrk, 64 connections, nginx, {what}", more=True)
    for size, name, target, what in (
        (1 << 10, "run-nginx", 0.8, "1 KiB over TAP"),
        (1 << 20, "run-nginx-1m", 1.0, "1 MiB over TAP"),
    )
}
REDIS = {
    (call, depth): Figure(
        "run-redis" + ("-set" if call == "set" else "") + (f"-{depth}" if depth > 1 else ""),
        "1/s",
        target,
        "veth",
        f"redis-benchmark {call.upper()} over TAP" + (f", {depth} at a time" if depth > 1 else ""),
        more=True,
    )
    for depth, target in ((1, 1.5), (16, 0.8))
    for call in ("get", "set")
}
USER = Figure("run-user", "MB/s", 1.0, "slirp4netns", "a download in user mode", more=True)

RUNS, SECONDS = 5, 1
ADDRESSES = "192.0.2.2", "198.51.100.2"
"""Of the library kernel's program, and of the host's."""
SIZE = 256 << 20

NGINX_CONF = """
daemon off; worker_processes 2; pid {at}/{side}.pid; error_log stderr;
events {{ worker_connections 256; }}
http {{
    access_log off; sendfile on; keepalive_requests 1000000;
    client_body_temp_path {at}/b{side}; proxy_temp_path {at}/p{side};
    fastcgi_temp_path {at}/f{side}; uwsgi_temp_path {at}/u{side}; scgi_temp_path {at}/s{side};
    server {{ listen {listen}; root {at}; }}
}}
"""


@contextmanager
def _served(options: Options, *server: str, port: int) -> Iterator[list[str]]:
    """A server on each side; what stands before its clients."""
    with namespaces() as (here, there), ExitStack() as stack:
        sides = ([*here, *on_kernel(options, "--net", TAP)], there)
        for number, (prefix, address) in enumerate(zip(sides, ADDRESSES, strict=True)):
            words = [word.replace("SIDE", str(number)) for word in server]
            ready = [*here, "bash", "-c", f"exec 3<>/dev/tcp/{address}/{port}"]
            stack.enter_context(background([*prefix, *words], lambda at=ready: _succeeds(at)))  # type: ignore[misc]
        yield here


def _succeeds(arguments: list[str]) -> bool:
    return subprocess.run(arguments, stderr=subprocess.DEVNULL, check=False).returncode == 0


def _said(arguments: list[str], pattern: str) -> float:
    """The number that a client says."""
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    found = re.findall(pattern, done.stdout)
    if done.returncode or not found:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise RumpelError(f"{arguments[-1]}: {said[-1] if said else 'it says nothing'}")
    return float(found[-1])


def _alternate(figure: Figure, clients: list[list[str]], pattern: str) -> Result:
    values: tuple[list[float], list[float]] = ([], [])
    for _ in range(RUNS):
        for side, client in enumerate(clients):
            values[side].append(_said(client, pattern))
    return figure.result(*values)


def round_trips(options: Options) -> Iterator[Result]:
    """Single messages to and fro."""
    need("sockperf", "ip")
    server = ["sockperf", "server", "--tcp", "-i", "0.0.0.0", "-p", "11111"]
    with _served(options, *server, port=11111) as here:
        client = [*here, "sockperf", "ping-pong", "--tcp", "-p", "11111", "-t", str(SECONDS)]
        clients = [[*client, "-i", address] for address in ADDRESSES]
        yield _alternate(RR, clients, r"Summary: Latency is ([\d.]+) usec")


def nginx(options: Options) -> Iterator[Result]:
    """Files of two sizes."""
    need("nginx", "wrk", "ip")
    with tempfile.TemporaryDirectory() as directory:
        at = Path(directory)
        at.chmod(0o755)
        for size in NGINX:
            (at / str(size)).write_bytes(os.urandom(size))
        for side in range(2):
            (at / f"{side}.conf").write_text(NGINX_CONF.format(at=at, side=side, listen=80))
        server = ["nginx", "-c", f"{at}/SIDE.conf", "-p", directory]
        with _served(options, *server, port=80) as here:
            for size, figure in NGINX.items():
                client = [*here, "wrk", "-t", "1", "-c", "64", "-d", f"{SECONDS}s"]
                clients = [[*client, f"http://{address}/{size}"] for address in ADDRESSES]
                yield _alternate(figure, clients, r"Requests/sec:\s+([\d.]+)")


def redis(options: Options) -> Iterator[Result]:
    """Short requests, one and many at a time."""
    need("redis-server", "redis-benchmark", "ip")
    server = ["redis-server", "--save", "", "--protected-mode", "no"]
    with _served(options, *server, port=6379) as here:
        for (call, depth), figure in REDIS.items():
            clients = [
                [
                    *[*here, "redis-benchmark", "-h", address, "-t", call, "-q"],
                    *["-P", str(depth), "-n", str(20_000 * depth)],
                ]
                for address in ADDRESSES
            ]
            yield _alternate(figure, clients, r"([\d.]+) requests per second")


def user(options: Options) -> Iterator[Result]:
    """From a server on the host's loopback."""
    need("nginx", "curl", "slirp4netns", "unshare", "nsenter")
    with tempfile.TemporaryDirectory() as directory, _slirp4netns() as inside:
        at = Path(directory)
        at.chmod(0o755)
        with (at / "file").open("wb") as file:
            file.truncate(SIZE)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        conf = NGINX_CONF.format(at=at, side=0, listen=f"127.0.0.1:{port}")
        (at / "conf").write_text(conf)
        url = f"http://10.0.2.2:{port}/file"
        curl = ["curl", "-sf", "-o", "/dev/null", "-w", "%{speed_download}\n", url]
        ready = ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"]
        server = ["nginx", "-c", f"{at}/conf", "-p", directory]
        with background(server, lambda: _succeeds(ready)):
            clients = [[*on_kernel(options, "--net", "user"), *curl], [*inside, *curl]]
            values = [[_said(client, r"(\d+)\n") / 1e6 for client in clients] for _ in range(RUNS)]
    ours, peers = zip(*values, strict=True)
    yield USER.result(ours, peers)


@contextmanager
def _slirp4netns() -> Iterator[list[str]]:
    """What runs a program behind it, as its users have it."""
    spaces = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    holder = subprocess.Popen([*spaces, "sh", "-c", "echo; exec sleep 600"], stdout=subprocess.PIPE)
    with holder:
        try:
            assert holder.stdout
            holder.stdout.readline()
            read, write = os.pipe()
            slirp = subprocess.Popen(
                [
                    *["slirp4netns", "--configure", "--mtu=65520", f"--ready-fd={write}"],
                    *[str(holder.pid), "tap0"],
                ],
                pass_fds=[write],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            os.close(write)
            with slirp:
                try:
                    if os.read(read, 1) != b"1":
                        raise RumpelError("slirp4netns does not start")
                    target = ["nsenter", "-t", str(holder.pid), "--net"]
                    yield (
                        target
                        if os.geteuid() == 0
                        else [*target, "--user", "--preserve-credentials"]
                    )
                finally:
                    os.close(read)
                    slirp.terminate()
        finally:
            holder.send_signal(signal.SIGKILL)
