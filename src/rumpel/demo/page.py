# SPDX-License-Identifier: GPL-2.0-only
"""A page of a real server on the host, over the library kernel's own TCP/IP."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rumpel.demo.report import Report
from rumpel.demo.tools import DemoError, check, size
from rumpel.devices import UserNet
from rumpel.kernel import Kernel
from rumpel.swapped import private_copy

__all__ = ["page"]

_LARGE = 100 << 20

Boot = Callable[..., Kernel]


def page(boot: Boot, report: Report, work: Path) -> None:
    """Fetch pages through a user-mode network and compare them with the files.

    Args:
        boot: boots the kernel.
        report: hears what was done.
        work: a directory for the pages.

    Raises:
        DemoError: if a byte differs.
    """
    pages = work / "pages"
    pages.mkdir()
    (pages / "index.html").write_text("<h1>A page of the host</h1>\n")
    (pages / "large").write_bytes(os.urandom(1 << 20) * (_LARGE >> 20))
    with _server(pages) as port:
        net = UserNet()
        with boot(nics=[net]) as kernel:
            kernel.ifup("eth0", net.address, net.gateway)
            # The standard library's module, with one import swapped.
            client = private_copy("http.client", {"socket": kernel.socket})
            connection = client.HTTPConnection(net.gateway, port, timeout=60)
            with report.step(f"http.client, unchanged, fetches http://{net.gateway}:{port}/"):
                taken = {}
                for name in ("index.html", "large"):
                    start = time.monotonic()
                    connection.request("GET", f"/{name}")
                    answer = connection.getresponse()
                    body = answer.read()
                    taken[name] = time.monotonic() - start
                    check(answer.status == 200, f"the server answers {answer.status}")
                    check(body == (pages / name).read_bytes(), f"{name} came with other bytes")
            connection.close()
    report.figure(
        "HTTP from the host",
        f"a page in {taken['index.html'] * 1e3:.1f} ms; {size(_LARGE)} at "
        f"{size(_LARGE / taken['large'])}/s; every byte as it should be",
    )


@contextmanager
def _server(directory: Path) -> Iterator[int]:
    """Python's web server, as a process of its own on a free port of the loopback."""
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        # Serving HTTP on 127.0.0.1 port 40001 (http://127.0.0.1:40001/) ...
        words = server.stdout.readline().split()
        if "port" not in words:
            raise DemoError("python3 -m http.server did not start")
        yield int(words[words.index("port") + 1])
    finally:
        server.terminate()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()
