# SPDX-License-Identifier: GPL-2.0-only
"""Buffers that calls want to be pages of the kernel, and rings that it shares with a program."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
import time
from pathlib import Path

import pytest

from rumpel import Kernel
from tests.api.mapped import PAGE, make_file

pytestmark = pytest.mark.kernel


def test_direct_io(mounted: Kernel, image: Path) -> None:
    """With the kernel's memory it works; other memory is refused, and nothing is written."""
    k = mounted
    fd = k.os.open("/mnt/direct", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    with k.mmap.mmap(-1, 64 * PAGE) as buffer:
        content = os.urandom(64 * PAGE)
        buffer[:] = content
        with memoryview(buffer) as view:
            assert k.os.pwritev(fd, [view], 0) == 64 * PAGE
            k.os.fsync(fd)
            assert content[: 4 * PAGE] in image.read_bytes()
        buffer[:] = bytes(64 * PAGE)
        with memoryview(buffer) as view:
            assert k.os.preadv(fd, [view], 0) == 64 * PAGE
        assert buffer[:] == content
    with k.mmap.mmap(-1, 16 * PAGE) as untouched, memoryview(untouched) as view:
        assert k.os.preadv(fd, [view], 0) == 16 * PAGE
        assert view == content[: 16 * PAGE]
    ours = mmap.mmap(-1, PAGE)
    with pytest.raises(OSError, match=os.strerror(errno.EFAULT)) as refused:
        k.os.pwritev(fd, [ours], 0)
    assert "O_DIRECT" in refused.value.__notes__[0]
    assert "k.mmap.mmap(-1, size)" in refused.value.__notes__[0]
    k.os.close(fd)


def test_vmsplice(kernel: Kernel) -> None:
    """Pages go into a pipe without a copy; other memory is refused."""
    r, w = kernel.os.pipe()
    with kernel.mmap.mmap(-1, 2 * PAGE) as m:
        m[:] = b"v" * 2 * PAGE
        vector = struct.pack("QQ", m.address, 2 * PAGE)
        assert kernel.syscall("vmsplice", w, vector, 1, 0) == 2 * PAGE
        m[0] = ord("w")  # the pipe has the page itself
        assert kernel.os.read(r, 10) == b"w" + b"v" * 9

    ours = ctypes.create_string_buffer(PAGE)
    with pytest.raises(OSError, match=os.strerror(errno.EFAULT)):
        kernel.syscall("vmsplice", w, struct.pack("QQ", ctypes.addressof(ours), PAGE), 1, 0)


def test_zero_copy_send(kernel: Kernel) -> None:
    """MSG_ZEROCOPY, with the notification that the memory is free again."""
    s = kernel.socket
    server = s.create_server(("127.0.0.1", 0))
    client = s.create_connection(server.getsockname())
    peer, _ = server.accept()
    so_zerocopy, msg_zerocopy = 60, 0x4000000
    client.setsockopt(s.SOL_SOCKET, so_zerocopy, 1)
    content = os.urandom(16 * PAGE)
    with kernel.mmap.mmap(-1, 16 * PAGE) as m:
        m[:] = content
        with memoryview(m) as view:
            assert client.send(view, msg_zerocopy) == 16 * PAGE
        received = b""
        while len(received) < len(content):
            received += peer.recv(1 << 20)
        assert received == content
        _, ancillary, flags, _ = client.recvmsg(0, 200, s.MSG_ERRQUEUE)
        assert flags & s.MSG_ERRQUEUE
        _, _, data = ancillary[0]
        assert struct.unpack_from("IBBBBII", data)[1] == 5  # SO_EE_ORIGIN_ZEROCOPY
    with pytest.raises(OSError, match=os.strerror(errno.EFAULT)):
        client.send(bytes(16 * PAGE), msg_zerocopy)
    for sock in (client, peer, server):
        sock.close()


def test_a_packet_ring(kernel: Kernel) -> None:
    """PACKET_RX_RING: frames of the loopback interface, read where the kernel puts them."""
    s = kernel.socket
    sol_packet, packet_rx_ring = 263, 5
    ring = s.socket(17, s.SOCK_RAW, socket_htons(3))
    frames, size = 64, 2048
    ring.setsockopt(sol_packet, packet_rx_ring, struct.pack("IIII", PAGE, 32, size, frames))
    ring.bind(("lo", 3))
    with kernel.mmap.mmap(ring.fileno(), 32 * PAGE) as m:
        sender = s.socket(s.AF_INET, s.SOCK_DGRAM)
        for number in range(5):
            sender.sendto(b"frame %d" % number, ("127.0.0.1", 9))
        found: list[bytes] = []

        def all_there() -> bool:
            return all(any(b"frame %d" % n in frame for frame in found) for n in range(5))

        deadline = time.monotonic() + 60
        while not all_there() and time.monotonic() < deadline:
            for frame in range(frames):
                status, _, snaplen, mac = struct.unpack_from("LIIH", m, frame * size)
                if status & 1:
                    start = frame * size + mac
                    found.append(m[start : start + snaplen])
                    m[frame * size : frame * size + 8] = bytes(8)
            kernel.sleep(0.001)
        assert all_there()
        sender.close()
    ring.close()


def socket_htons(value: int) -> int:
    """The order of the network."""
    return int.from_bytes(value.to_bytes(2, "little"), "big")


# ---- io_uring, as a program would use it: io_uring_setup(2), io_uring_enter(2) ----

IORING_OP_READ, IORING_OP_WRITE, IORING_OP_POLL_ADD, IORING_OP_READ_FIXED = 22, 23, 6, 4
IORING_ENTER_GETEVENTS = 1


IORING_REGISTER_BUFFERS = 0


class Ring:
    """An io_uring whose rings are read and written by Python."""

    def __init__(self, kernel: Kernel, entries: int) -> None:
        self.kernel = kernel
        params = bytearray(120)
        self.fd = kernel.syscall("io_uring_setup", entries, params)
        words = struct.unpack("30I", params)
        self.entries, completions = words[0], words[1]
        self.sq = struct.unpack_from(
            "10I", params, 40
        )  # head tail mask entries flags dropped array
        self.cq = struct.unpack_from("10I", params, 80)  # head tail mask entries overflow cqes
        m = kernel.mmap
        self.sq_ring = m.mmap(self.fd, self.sq[6] + self.entries * 4)
        self.cq_ring = m.mmap(self.fd, self.cq[5] + completions * 16, offset=0x8000000)
        self.sqes = m.mmap(self.fd, self.entries * 64, offset=0x10000000)

    def submit(self, opcode: int, fd: int, offset: int, address: int, n: int, data: int) -> None:
        """Put an entry on the submission queue."""
        (tail,) = struct.unpack_from("I", self.sq_ring, self.sq[1])
        index = tail & (self.entries - 1)
        events = 1 if opcode == IORING_OP_POLL_ADD else 0
        sqe = struct.pack("BBHiQQIIQHHIQQ", opcode, 0, 0, fd, offset, address, n, events, data,
                          0, 0, 0, 0, 0)  # fmt: skip
        self.sqes[index * 64 : (index + 1) * 64] = sqe
        struct.pack_into("I", self.sq_ring, self.sq[6] + index * 4, index)
        struct.pack_into("I", self.sq_ring, self.sq[1], tail + 1)

    def enter(self, submitted: int, wanted: int) -> int:
        """Let the kernel work, and wait for so many to be complete."""
        flags = IORING_ENTER_GETEVENTS if wanted else 0
        return self.kernel.syscall("io_uring_enter", self.fd, submitted, wanted, flags, None, 0)

    def completed(self) -> dict[int, int]:
        """What has ended: results by the data that was submitted."""
        head, tail = (struct.unpack_from("I", self.cq_ring, self.cq[i])[0] for i in (0, 1))
        results = {}
        while head != tail:
            at = self.cq[5] + (head & self.cq_mask()) * 16
            data, result, _ = struct.unpack_from("QiI", self.cq_ring, at)
            results[data] = result
            head += 1
        struct.pack_into("I", self.cq_ring, self.cq[0], head)
        return results

    def cq_mask(self) -> int:
        return int(struct.unpack_from("I", self.cq_ring, self.cq[2])[0])

    def close(self) -> None:
        for ring in (self.sq_ring, self.cq_ring, self.sqes):
            ring.close()
        self.kernel.os.close(self.fd)


def test_io_uring(mounted: Kernel) -> None:
    """A read and a write of a file and a poll, all by rings."""
    k = mounted
    ring = Ring(k, 8)
    fd = make_file(k, "/mnt/file", b"from the file" + bytes(PAGE))
    r, w = k.os.pipe()
    with k.mmap.mmap(-1, 2 * PAGE) as m:
        m[:7] = b"by ring"
        ring.submit(IORING_OP_READ, fd, 0, m.address + PAGE, 13, 1)
        ring.submit(IORING_OP_WRITE, fd, 100, m.address, 7, 2)
        ring.submit(IORING_OP_POLL_ADD, r, 0, 0, 0, 3)
        assert ring.enter(3, 2) == 3
        assert ring.completed() == {1: 13, 2: 7}
        assert m[PAGE : PAGE + 13] == b"from the file"
        assert k.os.pread(fd, 7, 100) == b"by ring"
        assert ring.completed() == {}
        k.os.write(w, b"x")
        ring.enter(0, 1)
        assert ring.completed() == {3: 1}
        # Memory of the host is as good where pages need not be held.
        ours = bytearray(13)

        where = ctypes.addressof(ctypes.c_char.from_buffer(ours))
        ring.submit(IORING_OP_READ, fd, 0, where, 13, 4)
        ring.enter(1, 1)
        assert ring.completed() == {4: 13}
        assert ours == b"from the file"
        # Registered buffers are held: the kernel's memory only.
        vector = struct.pack("QQ", m.address, PAGE)
        k.syscall("io_uring_register", ring.fd, IORING_REGISTER_BUFFERS, vector, 1)
        ring.submit(IORING_OP_READ_FIXED, fd, 0, m.address, 13, 5)
        ring.enter(1, 1)
        assert ring.completed() == {5: 13}
        assert m[:13] == b"from the file"
        vector = struct.pack("QQ", where, 13)
    ring.close()
    k.os.close(fd)


def test_a_bpf_ring_buffer(kernel: Kernel) -> None:
    """The consumer's page can be written to, the producer's only read."""
    bpf_map_create, bpf_map_type_ringbuf = 0, 27
    attributes = struct.pack("IIII", bpf_map_type_ringbuf, 0, 0, PAGE) + bytes(56)
    fd = kernel.syscall("bpf", bpf_map_create, attributes, len(attributes))
    with kernel.mmap.mmap(fd, PAGE) as consumer:
        consumer[:8] = bytes(8)
        with kernel.mmap.mmap(fd, 3 * PAGE, prot=mmap.PROT_READ, offset=PAGE) as producer:
            assert producer[:8] == bytes(8)
    with pytest.raises(OSError, match=os.strerror(errno.EPERM)):
        kernel.mmap.mmap(fd, 3 * PAGE, offset=PAGE)
    kernel.os.close(fd)


def test_tables_are_given_back(kernel: Kernel) -> None:
    """Memory that held tables of mappings is as any other afterwards: rings may lie there."""

    def tables() -> str:
        with kernel.open("/proc/meminfo") as file:
            return next(str(line) for line in file if line.startswith("PageTables"))

    with kernel.mmap.mmap(-1, 4 * PAGE) as m:
        m[0] = 1
    before = tables()
    for _ in range(20):
        with kernel.mmap.mmap(-1, 4 * PAGE) as m:
            m[0] = 1
    assert tables() == before
