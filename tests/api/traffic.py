# SPDX-License-Identifier: GPL-2.0-only
"""Much data from a kernel to the host."""

from __future__ import annotations

import hashlib
import socket as host
import threading

from rumpel import Kernel


def send_to(
    kernel: Kernel, address: tuple[str, int], server: host.socket, data: bytes, times: int
) -> None:
    """Send it to a server of the host, at its address for the kernel; it must arrive unchanged."""
    digest = hashlib.sha256()

    def take() -> None:
        with server.accept()[0] as peer:
            while part := peer.recv(1 << 20):
                digest.update(part)
            peer.send(b"done")

    thread = threading.Thread(target=take)
    thread.start()
    with kernel.socket.create_connection(address, timeout=30) as sock:
        for _ in range(times):
            sock.sendall(data)
        sock.shutdown(host.SHUT_WR)
        assert sock.recv(10) == b"done"
    thread.join(10)
    assert digest.digest() == hashlib.sha256(data * times).digest()
