# SPDX-License-Identifier: GPL-2.0-only
"""A neighbour that is a Python object."""

from __future__ import annotations

import socket as host
import time
from collections.abc import Callable
from typing import Any

import dpkt

from rumpel import Kernel, PythonNic

MAC = b"\2\0\0\0\0\x99"
ADDRESS = host.inet_aton("10.0.0.9")


class Responder(PythonNic):
    """A neighbour at 10.0.0.9 that answers ARP, pings, and UDP with what it got."""

    def transmit(self, frames: list[bytes]) -> None:
        answers = [self.answer(dpkt.ethernet.Ethernet(frame)) for frame in frames]
        self.receive([bytes(answer) for answer in answers if answer is not None])

    def answer(self, frame: dpkt.ethernet.Ethernet) -> dpkt.ethernet.Ethernet | None:
        packet = frame.data
        if isinstance(packet, dpkt.arp.ARP) and packet.tpa == ADDRESS:
            reply: Any = dpkt.arp.ARP(op=2, sha=MAC, spa=ADDRESS, tha=packet.sha, tpa=packet.spa)
        elif isinstance(packet, dpkt.ip.IP) and packet.dst == ADDRESS:
            if isinstance(packet.data, dpkt.icmp.ICMP):
                packet.data.type, packet.data.sum = 0, 0
            elif isinstance(packet.data, dpkt.udp.UDP):
                udp = packet.data
                udp.sport, udp.dport, udp.sum = udp.dport, udp.sport, 0
            reply = packet
            reply.src, reply.dst, reply.sum = packet.dst, packet.src, 0
        else:
            return None
        return dpkt.ethernet.Ethernet(dst=frame.src, src=MAC, type=frame.type, data=reply)


def echo(kernel: Kernel, data: bytes) -> bytes:
    """Send data to the responder's UDP port 7."""
    with kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock:
        sock.settimeout(30)
        sock.sendto(data, ("10.0.0.9", 7))
        return bytes(sock.recv(70_000))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
