# SPDX-License-Identifier: GPL-2.0-only
"""Guest memory that runs out is an error of the call, and of nothing else."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.api.test_disks import ext4
from tests.conftest import Boot

NO_MEMORY = (errno.ENOMEM, errno.ENFILE, errno.EAGAIN)
"""What an allocation's failure is called is the system call's choice."""


@pytest.mark.kernel
def test_no_memory_is_an_error_of_the_call(boot: Boot, tiny_image: str) -> None:
    k = boot(image=tiny_image, memory="16M")
    descriptors: list[int] = []
    with pytest.raises(OSError, match=r"memory|files|temporarily") as caught:
        for _ in range(10_000):
            reader, writer = k.os.pipe()
            descriptors += [reader, writer]
            k.os.set_blocking(writer, False)
            k.os.write(writer, b"x" * 65536)
    assert caught.value.errno in NO_MEMORY
    assert len(descriptors) > 100
    for descriptor in descriptors:
        k.os.close(descriptor)
    reader, writer = k.os.pipe()
    assert k.os.write(writer, b"x" * 65536) == 65536


@pytest.mark.kernel
def test_tcp_has_memory_for_many_connections(boot: Boot, default_image: str) -> None:
    """A megabyte in each of 30 connections; with Linux's own limit segments get dropped."""
    k = boot(image=default_image)
    text = b"x" * 1_000_000
    with k.socket.create_server(("127.0.0.1", 80), backlog=30) as server:
        clients = [k.socket.create_connection(("127.0.0.1", 80)) for _ in range(30)]
        served = [server.accept()[0] for _ in clients]
        with ThreadPoolExecutor(len(served)) as threads:
            sent = [threads.submit(peer.sendall, text) for peer in served]
            for client in clients:
                with client, client.makefile("rb") as file:
                    assert file.read(len(text)) == text
            for each in sent:
                each.result()
        for peer in served:
            peer.close()
    names, values = (line.split() for line in k.open("/proc/net/netstat").readlines()[:2])
    counts = dict(zip(names, values, strict=True))
    assert counts["TCPMemoryPressures"] == counts["TCPRcvQDrop"] == "0"


@pytest.mark.kernel
def test_little_memory_is_not_kept_back(boot: Boot) -> None:
    """Linux would keep 4 MiB more free where memory is fragmented, which is a sixth of 24 MiB."""
    assert boot(memory="24M").sysctl["vm.watermark_boost_factor"] == "0"


@pytest.mark.kernel
def test_kernel_threads_find_memory_that_callers_cannot_use_up(boot: Boot) -> None:
    """Their maker found none, nor anybody to kill for it: the kernel panicked."""
    k = boot(memory="48M")
    with pytest.raises(OSError, match=r"memory|files|temporarily|space"):
        for number in range(100_000):
            k.net.add_link(f"a{number}", kind="veth", peer=f"b{number}")
    assert k.os.getpid() == 1


@pytest.mark.kernel
def test_writers_of_files_find_memory_or_an_error(boot: Boot, tmp_path: Path) -> None:
    """Six threads, a disk, and little memory; with 16 MiB Linux itself may wait for ever."""
    k = boot(memory="24M", disks=[ext4(tmp_path / "disk.img", None, "256M")])
    k.mount("/dev/vda", "/mnt", "ext4")
    errors: list[OSError] = []

    def write(number: int) -> None:
        try:
            with k.open(f"/mnt/{number}", "wb", buffering=0) as file:
                for _ in range(30):
                    file.write(bytes(1 << 20))
        except MemoryError:  # the kernel has none for the thread's task
            pass
        except OSError as error:
            errors.append(error)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(write, range(6)))
    assert {error.errno for error in errors} <= {*NO_MEMORY, errno.ENOSPC}
    assert k.os.getpid() == 1
