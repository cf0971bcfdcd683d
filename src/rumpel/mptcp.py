# SPDX-License-Identifier: GPL-2.0-only
"""Which addresses take part in the MPTCP connections of a kernel.

A connection begins as one subflow; the kernel adds more over the endpoints that it is
told here, as ``ip mptcp`` does on a host. The socket's protocol is IPPROTO_MPTCP.

Source: include/uapi/linux/mptcp_pm.h.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from rumpel.netlink import Netlink, attribute, attributes, parse_address

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["IPPROTO_MPTCP", "add_endpoint", "set_limits"]

IPPROTO_MPTCP = 262

_NETLINK_GENERIC, _GENL_ID_CTRL, _CTRL_CMD_GETFAMILY = 16, 16, 3
_CTRL_ATTR_FAMILY_ID, _CTRL_ATTR_FAMILY_NAME = 1, 2
_VERSION = 1
_CMD_ADD_ADDR, _CMD_SET_LIMITS = 1, 5
_ATTR_ADDR, _ATTR_RCV_ADD_ADDRS, _ATTR_SUBFLOWS = 1, 2, 3
_ADDR_FAMILY, _ADDR_ADDR4, _ADDR_ADDR6, _ADDR_FLAGS = 1, 3, 4, 6
_FLAG_SIGNAL, _FLAG_SUBFLOW, _FLAG_BACKUP = 1, 2, 4
_NESTED = 0x8000
_HEADER = struct.Struct("=BBH")


def _command(kernel: Kernel, command: int, payload: bytes, what: str) -> None:
    with Netlink(kernel.os, _NETLINK_GENERIC) as netlink:
        head = _HEADER.pack(_CTRL_CMD_GETFAMILY, _VERSION, 0)
        name = attribute(_CTRL_ATTR_FAMILY_NAME, b"mptcp_pm\0")
        answer = netlink.request(_GENL_ID_CTRL, 0, head + name, "mptcp_pm")[0]
        (family,) = struct.unpack("=H", attributes(answer[_HEADER.size :])[_CTRL_ATTR_FAMILY_ID])
        netlink.request(family, 0, _HEADER.pack(command, _VERSION, 0) + payload, what)


def set_limits(kernel: Kernel, subflows: int = 8, announced: int = 8) -> None:
    """Say how many subflows a connection may have besides the first.

    Args:
        kernel: whose connections.
        subflows: at most, 8 is the kernel's own limit.
        announced: how many of the addresses that a peer announces to use.

    Raises:
        OSError: ENOENT if the kernel has no MPTCP; EINVAL if a limit is too high.
    """
    payload = attribute(_ATTR_RCV_ADD_ADDRS, struct.pack("=I", announced))
    payload += attribute(_ATTR_SUBFLOWS, struct.pack("=I", subflows))
    _command(kernel, _CMD_SET_LIMITS, payload, "MPTCP limits")


def add_endpoint(
    kernel: Kernel,
    address: str,
    *,
    signal: bool = False,
    subflow: bool = False,
    backup: bool = False,
) -> None:
    """Let an address of the kernel take part in its connections.

    Args:
        kernel: whose address.
        address: IPv4 or IPv6.
        signal: announce it to peers.
        subflow: connect from it to peers.
        backup: use it only if there is no other way.

    Raises:
        OSError: as the kernel says.
        ValueError: if it is no address.
    """
    family, packed, _ = parse_address(address)
    flags = signal * _FLAG_SIGNAL | subflow * _FLAG_SUBFLOW | backup * _FLAG_BACKUP
    inner = attribute(_ADDR_FAMILY, struct.pack("=H", family))
    inner += attribute(_ADDR_ADDR4 if family == socket.AF_INET else _ADDR_ADDR6, packed)
    inner += attribute(_ADDR_FLAGS, struct.pack("=I", flags))
    _command(kernel, _CMD_ADD_ADDR, attribute(_ATTR_ADDR | _NESTED, inner), address)
