# SPDX-License-Identifier: GPL-2.0-only
"""Servers of Debian under the agent, with real clients on loopback."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.run.conftest import installed, intercepted, run, under

NGINX = """
daemon off; worker_processes 2; {user}
pid {dir}/pid; error_log {dir}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off; sendfile on;
    client_body_temp_path {dir}/1; proxy_temp_path {dir}/2; fastcgi_temp_path {dir}/3;
    uwsgi_temp_path {dir}/4; scgi_temp_path {dir}/5;
    server {{ listen {host}:{files}; root {dir}; }}
    server {{ listen {host}:{proxy}; location / {{ proxy_pass http://{behind}:{files}; }} }}
}}
"""


HOST = str(ipaddress.ip_address("127.64.0.0") + os.getpid())
"""An address of this process: a port that is free there stays free until the server is up."""


def free_port() -> int:
    with socket.create_server((HOST, 0)) as s:
        port: int = s.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Until somebody listens."""
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection((HOST, port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextmanager
def server(
    arguments: list[str], port: int, stop: signal.Signals
) -> Iterator[subprocess.Popen[bytes]]:
    """A server under the agent, which ends by itself when it is asked to."""
    process = subprocess.Popen(under(arguments), stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for(port)
        yield process
        process.send_signal(stop)
        assert process.wait(60) == 0
    finally:
        # Workers too.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def get(port: int, name: str) -> bytes:
    with urllib.request.urlopen(f"http://{HOST}:{port}/{name}", timeout=60) as answer:
        content: bytes = answer.read()
        return content


def test_nginx(tmp_path: Path) -> None:
    """Two workers serve files and proxy them, are replaced at SIGHUP, and end at SIGQUIT."""
    nginx = installed("nginx")
    files, proxy = free_port(), free_port()
    content = os.urandom(1 << 20)
    (tmp_path / "file").write_bytes(content)
    # pytest's directory is its user's alone.
    user = "" if os.geteuid() else "user root;"
    (tmp_path / "conf").write_text(
        NGINX.format(host=HOST, behind=HOST, dir=tmp_path, files=files, proxy=proxy, user=user)
    )
    arguments = [nginx, "-c", str(tmp_path / "conf"), "-p", str(tmp_path)]
    with server(arguments, proxy, signal.SIGQUIT) as process:
        for _ in range(10):
            assert get(files, "file") == content
            assert get(proxy, "file") == content
        workers = set(children(process.pid))
        assert len(workers) == 2
        process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 60
        while workers & set(children(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(set(children(process.pid)) - workers) == 2
        assert get(proxy, "file") == content


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_redis(tmp_path: Path) -> None:
    """A server and its benchmark, both under the agent; a fork saves what it holds."""
    port = free_port()
    command = installed("redis-cli")
    arguments = [
        installed("redis-server"),
        "--bind",
        HOST,
        "--port",
        str(port),
        "--dir",
        str(tmp_path),
    ]
    with server([*arguments, "--save", ""], port, signal.SIGTERM):
        bench = [
            installed("redis-benchmark"),
            "-h",
            HOST,
            "-p",
            str(port),
            "-n",
            "2000",
            "-t",
            "set,get",
            "-q",
        ]
        for more in ([], ["-P", "16"], ["--threads", "2"]):
            done = intercepted([*bench, *more])
            assert done.returncode == 0, done.stderr
            assert done.stdout.count("requests per second") == 2
        assert run([command, "-h", HOST, "-p", str(port), "set", "key", "value"]).stdout == "OK\n"
        run([command, "-h", HOST, "-p", str(port), "bgsave"])
        deadline = time.monotonic() + 60
        while not (tmp_path / "dump.rdb").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert b"value" in (tmp_path / "dump.rdb").read_bytes()


def test_python_http(tmp_path: Path) -> None:
    """Python's server, with curl under the agent too."""
    port = free_port()
    (tmp_path / "page").write_text("hello")
    arguments = ["/usr/bin/python3", "-m", "http.server", "-b", HOST, str(port)]
    process = subprocess.Popen(
        under([*arguments, "-d", str(tmp_path)]),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        done = intercepted([installed("curl"), "-s", f"http://{HOST}:{port}/page"])
        assert done.stdout == "hello"
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130, -signal.SIGINT)
