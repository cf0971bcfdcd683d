# SPDX-License-Identifier: GPL-2.0-only
"""Devices that come and go, change their size or lose their cable, while a kernel runs."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import rumpel
from rumpel import Disk, Entropy, FdNic, Kernel, Link, MemoryDisk

pytestmark = pytest.mark.kernel

Boot = Callable[..., Kernel]


def ext4(path: Path, size: str = "32M") -> Path:
    """An image with an empty file system."""
    command = ["mke2fs", "-q", "-t", "ext4", str(path), size]
    subprocess.run(command, check=True, env={**os.environ, "PATH": os.environ["PATH"] + ":/sbin"})
    return path


def e2fsck(path: Path, *options: str) -> int:
    """What the host's checker says."""
    command = ["e2fsck", "-f", *options, str(path)]
    environment = {**os.environ, "PATH": os.environ["PATH"] + ":/sbin"}
    return subprocess.run(command, capture_output=True, env=environment, check=False).returncode


def interfaces(kernel: Kernel) -> set[str]:
    return {name for _, name in kernel.socket.if_nameindex()}


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """The kernel's own threads do it, soon."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def read(kernel: Kernel, path: str) -> str:
    with kernel.open(path) as file:
        return str(file.read())


def test_a_disk_is_plugged_in_used_and_taken_away(kernel: Kernel, tmp_path: Path) -> None:
    """It appears at once, and what was written is on it afterwards."""
    image = ext4(tmp_path / "disk.img")
    disk = Disk(image)
    assert not kernel.os.path.exists("/dev/vda")
    kernel.plug(disk)
    kernel.mount("/dev/vda", "/mnt", "ext4")
    with kernel.open("/mnt/file", "w") as file:
        file.write("hot")
    kernel.umount("/mnt")
    kernel.unplug(disk)
    assert not kernel.os.path.exists("/dev/vda")
    assert e2fsck(image, "-n") == 0
    # The same one again: it is the caller's.
    kernel.plug(disk)
    kernel.mount("/dev/vda", "/mnt", "ext4")
    assert read(kernel, "/mnt/file") == "hot"


def test_slots_are_used_again(kernel: Kernel) -> None:
    """More devices in the course of time than there are slots."""
    for number in range(100):
        disk = MemoryDisk(1 << 20)
        kernel.plug(disk)
        with kernel.open("/dev/vda", "r+b", buffering=0) as file:
            file.write(bytes([number]) * 4096)
            file.seek(0)
            assert file.read(1) == bytes([number])
        kernel.unplug(disk)


def test_no_slot_is_left(kernel: Kernel) -> None:
    disks = [MemoryDisk(1 << 20) for _ in range(49)]
    for disk in disks[:48]:
        kernel.plug(disk)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        kernel.plug(disks[48])
    kernel.unplug(disks[17])
    kernel.plug(disks[48])
    assert disks[48].stats.received > 0  # its driver looked for partitions


def test_no_driver(tiny: Kernel) -> None:
    """The profile tiny has no disks: an error, and the device is the caller's."""
    disk = MemoryDisk(1 << 20)
    with pytest.raises(OSError, match=os.strerror(errno.ENODEV)):
        tiny.plug(disk)
    with pytest.raises(ValueError, match="not this kernel's"):
        tiny.unplug(disk)


def test_whose_device(boot: Boot) -> None:
    one, other = boot(), boot()
    disk = MemoryDisk(1 << 20)
    one.plug(disk)
    for kernel in (one, other):
        with pytest.raises(ValueError, match="one kernel"):
            kernel.plug(disk)
    with pytest.raises(ValueError, match="not this kernel's"):
        other.unplug(disk)
    one.unplug(disk)
    other.plug(disk)
    other.halt()
    with pytest.raises(rumpel.KernelClosed):
        other.unplug(disk)


def test_a_device_of_the_boot_is_taken_away(boot: Boot) -> None:
    disk = MemoryDisk(1 << 20)
    kernel = boot(disks=[disk], devices=[Entropy()])
    kernel.unplug(disk)
    assert not kernel.os.path.exists("/dev/vda")
    kernel.plug(MemoryDisk(2 << 20))
    assert int(read(kernel, "/sys/block/vda/size")) == 4096


def test_a_buffer_is_kept_as_long_as_its_disk(kernel: Kernel) -> None:
    buffer = bytearray(1 << 20)
    disk = MemoryDisk(buffer)
    kernel.plug(disk)
    with kernel.open("/dev/vda", "r+b") as file:
        file.write(b"mine")
    with pytest.raises(BufferError):
        buffer.clear()
    kernel.unplug(disk)
    assert buffer[:4] == b"mine"
    del disk
    buffer.clear()


def test_a_mounted_file_system_is_taken_away(kernel: Kernel, tmp_path: Path) -> None:
    """EIO and no hang, for files that are open and for new ones; the image can be repaired."""
    image = ext4(tmp_path / "disk.img")
    disk = Disk(image)
    kernel.plug(disk)
    kernel.mount("/dev/vda", "/mnt", "ext4")
    with kernel.open("/mnt/before", "wb") as file:
        file.write(b"x" * 100_000)
        kernel.os.fsync(file.fileno())
    fd = kernel.os.open("/mnt/open", os.O_RDWR | os.O_CREAT)
    kernel.os.write(fd, b"y" * 100_000)
    kernel.unplug(disk)
    for use in (
        lambda: kernel.os.write(fd, b"z"),
        lambda: kernel.os.fsync(fd),
        lambda: kernel.os.open("/mnt/new", os.O_RDWR | os.O_CREAT),
        lambda: kernel.os.mkdir("/mnt/directory"),
    ):
        with pytest.raises(OSError, match=r"Input/output error|Read-only|No such device"):
            use()
    kernel.os.close(fd)
    kernel.umount("/mnt")
    kernel.halt()
    assert e2fsck(image, "-y") in (0, 1)
    found = subprocess.run(
        ["/sbin/debugfs", "-R", "cat /before", str(image)], capture_output=True, check=True
    )
    assert found.stdout == b"x" * 100_000


def test_a_busy_disk_is_taken_away(kernel: Kernel, tmp_path: Path) -> None:
    """Threads write to it and sync all the time: they get errors, and all end."""
    image = ext4(tmp_path / "disk.img", "64M")
    disk = Disk(image)
    kernel.plug(disk)
    kernel.mount("/dev/vda", "/mnt", "ext4")
    going, errors = threading.Event(), []

    def write(number: int) -> None:
        fd = kernel.os.open(f"/mnt/{number}", os.O_RDWR | os.O_CREAT)
        try:
            while True:
                kernel.os.pwrite(fd, os.urandom(65536), 0)
                kernel.os.fsync(fd)
                going.set()
        except OSError as error:
            errors.append(error.errno)
        finally:
            kernel.os.close(fd)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    assert going.wait(30)
    kernel.unplug(disk)
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert set(errors) <= {errno.EIO, errno.EROFS, errno.ENXIO}
    kernel.umount("/mnt")
    assert kernel.os.listdir("/mnt") == []


def test_an_interface_is_plugged_in_and_taken_away(boot: Boot) -> None:
    """With a connection over it: the other side keeps its interface."""
    kernels = [boot(), boot()]
    link = Link()
    for kernel, end, address in zip(kernels, link, ("10.0.0.1", "10.0.0.2"), strict=True):
        kernel.plug(end)
        kernel.ifup("eth0", f"{address}/24")
    server = kernels[1].socket.create_server(("10.0.0.2", 80))
    client = kernels[0].socket.create_connection(("10.0.0.2", 80))
    connection, _ = server.accept()
    client.sendall(b"over a new wire")
    assert connection.recv(100) == b"over a new wire"
    kernels[0].unplug(link[0])
    assert "eth0" not in interfaces(kernels[0])
    assert "eth0" in interfaces(kernels[1])
    connection.send(b"nobody hears this")
    kernels[0].plug(link[0])
    kernels[0].ifup("eth0", "10.0.0.1/24")
    # The connection lives on: its packets are sent again.
    assert client.recv(100) == b"nobody hears this"
    for sock in (client, connection, server):
        sock.close()


def test_an_interface_with_traffic_is_taken_away(boot: Boot) -> None:
    kernels = [boot(), boot()]
    for round_ in range(5):
        link = Link()
        for kernel, end, address in zip(kernels, link, ("10.0.0.1", "10.0.0.2"), strict=True):
            kernel.plug(end)
            kernel.ifup("eth0", f"{address}/24")
        stop = threading.Event()

        def flood(kernel: Kernel, to: str, stop: threading.Event = stop) -> None:
            with kernel.socket.socket(kernel.socket.AF_INET, kernel.socket.SOCK_DGRAM) as sock:
                while not stop.is_set():
                    try:
                        sock.sendto(bytes(1000), (to, 9))
                    except OSError as error:
                        if error.errno not in (errno.ENETUNREACH, errno.ENOBUFS, errno.EAGAIN):
                            raise

        threads = [
            threading.Thread(target=flood, args=(kernels[0], "10.0.0.2")),
            threading.Thread(target=flood, args=(kernels[1], "10.0.0.1")),
        ]
        for thread in threads:
            thread.start()
        wait_for(lambda link=link: link[0].stats.sent > 50, "traffic")  # type: ignore[misc]
        kernels[round_ % 2].unplug(link[round_ % 2])
        kernels[1 - round_ % 2].unplug(link[1 - round_ % 2])
        stop.set()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert all("eth0" not in interfaces(kernel) for kernel in kernels)


def test_a_socket_that_is_watched_is_taken_away(kernel: Kernel) -> None:
    """While the kernel sleeps on its descriptor; the host's end then hears of it."""
    for _ in range(20):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        nic = FdNic(theirs)
        theirs.close()
        kernel.plug(nic)
        kernel.ifup("eth0", "10.0.0.1/24")
        kernel.sleep(0.002)
        kernel.unplug(nic)
        del nic
        ours.settimeout(20)
        while ours.recv(2000):
            pass  # what it said before it went
        ours.close()


def test_the_cable_is_pulled(boot: Boot) -> None:
    """The kernel sees it as lost carrier, and as carrier again; frames meanwhile are lost."""
    link = Link()
    link[0].link_up = True  # its driver shall look for a state
    left, right = boot(nics=[link[0]]), boot(nics=[link[1]])
    with pytest.raises(OSError, match="set link_up, to True or False, before"):
        link[1].link_up = False
    assert link[1].link_up
    left.ifup("eth0", "10.0.0.1/24")
    right.ifup("eth0", "10.0.0.2/24")
    assert link[0].link_up
    wait_for(lambda: read(left, "/sys/class/net/eth0/carrier") == "1\n", "carrier at first")
    link[0].link_up = False
    assert not link[0].link_up
    wait_for(lambda: read(left, "/sys/class/net/eth0/carrier") == "0\n", "no carrier")
    assert read(right, "/sys/class/net/eth0/carrier") == "1\n"
    receiver = left.socket.socket(left.socket.AF_INET, left.socket.SOCK_DGRAM)
    receiver.bind(("10.0.0.1", 9))
    with right.socket.socket(right.socket.AF_INET, right.socket.SOCK_DGRAM) as sender:
        sender.sendto(b"lost", ("10.0.0.1", 9))
        link[0].link_up = True
        wait_for(lambda: read(left, "/sys/class/net/eth0/carrier") == "1\n", "carrier")
        receiver.settimeout(1)
        while True:
            sender.sendto(b"arrives", ("10.0.0.1", 9))
            try:
                assert receiver.recv(100) in (b"arrives", b"lost")  # ARP may have kept one
                break
            except TimeoutError:
                continue
    receiver.close()


def test_a_disk_grows_and_shrinks(kernel: Kernel, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(1 << 20))
    for disk in (Disk(image), MemoryDisk("1M")):
        kernel.plug(disk)
        for size in (8 << 20, 2 << 20, 3 << 20):
            disk.resize(size)
            wait_for(
                lambda size=size: int(read(kernel, "/sys/block/vda/size")) == size // 512,  # type: ignore[misc]
                "the kernel hears of the size",
            )
            with kernel.open("/dev/vda", "r+b", buffering=0) as file:
                file.seek(size - 4096)
                assert file.write(b"e" * 4096) == 4096
                kernel.os.fsync(file.fileno())
        kernel.unplug(disk)
    assert image.stat().st_size == 3 << 20
    assert image.read_bytes()[-4096:] == b"e" * 4096


def test_a_file_system_grows_with_its_disk(kernel: Kernel, tmp_path: Path) -> None:
    """As a virtual machine's would: the disk, then the file system while it is mounted."""
    image = ext4(tmp_path / "disk.img", "16M")
    disk = Disk(image)
    kernel.plug(disk)
    kernel.mount("/dev/vda", "/mnt", "ext4")
    disk.resize("64M")
    wait_for(lambda: int(read(kernel, "/sys/block/vda/size")) == (64 << 20) // 512, "size")
    before = kernel.os.statvfs("/mnt").f_blocks
    blocks = (64 << 20) // kernel.os.statvfs("/mnt").f_bsize
    ext4_ioc_resize_fs = 0x40086610
    fd = kernel.os.open("/mnt", os.O_RDONLY)
    kernel.syscall("ioctl", fd, ext4_ioc_resize_fs, blocks.to_bytes(8, "little"))
    kernel.os.close(fd)
    assert kernel.os.statvfs("/mnt").f_blocks > 3 * before
    kernel.umount("/mnt")
    kernel.halt()
    assert e2fsck(image, "-n") == 0


def test_sizes_that_are_refused(kernel: Kernel, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(1 << 20))
    disk = Disk(image)
    for size in (0, 513):
        with pytest.raises(ValueError, match="resize"):
            disk.resize(size)
    disk.resize("2M")  # before any kernel has it
    assert image.stat().st_size == 2 << 20
    with pytest.raises(OSError, match=os.strerror(errno.EOPNOTSUPP)):
        MemoryDisk(bytearray(4096)).resize(8192)
    del disk
    with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
        Disk(image, read_only=True).resize("4M")


def test_on_a_virtual_clock(boot: Boot) -> None:
    """Plugging takes no time, and what is plugged in works."""
    clock = rumpel.VirtualClock()
    kernel = boot(clock=clock)
    disk = MemoryDisk("1M")
    kernel.plug(disk)
    with kernel.open("/dev/vda", "r+b") as file:
        file.write(b"x" * 4096)
    kernel.unplug(disk)
    assert not kernel.os.path.exists("/dev/vda")
