# SPDX-License-Identifier: GPL-2.0-only
"""What became of Multipath TCP on its way: did it survive, or fall back to TCP?

Source: RFC 8684 3.7; include/uapi/linux/mptcp.h; net/mptcp/mib.c (names of counters).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["IPPROTO_MPTCP", "acknowledged", "counters", "outcome"]

IPPROTO_MPTCP = 262
_SOL_MPTCP, _MPTCP_INFO = 284, 1
_INFO_FLAGS = slice(8, 12)
_INFO_BYTES_ACKED = slice(72, 80)
_FLAG_FALLBACK = 1


def counters(k: Kernel) -> dict[str, int]:
    """The kernel's counters of MPTCP that are not zero (MPTcpExt of /proc/net/netstat)."""
    with k.open("/proc/net/netstat") as file:
        lines = [line.split() for line in file if line.startswith("MPTcpExt:")]
    if not lines:
        return {}
    names, values = lines[0][1:], lines[1][1:]
    return {name: int(value) for name, value in zip(names, values, strict=True) if value != "0"}


def acknowledged(sock: Any) -> int | None:
    """How many bytes the other end has got; None after a fallback: TCP knows that."""
    try:
        info = sock.getsockopt(_SOL_MPTCP, _MPTCP_INFO, 128)
    except OSError:
        return None
    if int.from_bytes(info[_INFO_FLAGS], "little") & _FLAG_FALLBACK:
        return None
    return int.from_bytes(info[_INFO_BYTES_ACKED], "little")


def outcome(k: Kernel, sock: Any) -> str:
    """Say whether a socket of IPPROTO_MPTCP still has Multipath TCP.

    A socket that fell back is TCP's, which does not know that option.
    """
    try:
        info = sock.getsockopt(_SOL_MPTCP, _MPTCP_INFO, 128)
    except OSError:
        return "fell back to TCP" + said(k)
    if int.from_bytes(info[_INFO_FLAGS], "little") & _FLAG_FALLBACK:
        return "fell back to TCP" + said(k)
    return f"{1 + info[0]} subflow{'s' if info[0] else ''}" + said(k)


def said(k: Kernel) -> str:
    """The counters that tell of a fallback, and why."""
    telling = ("Fallback", "MPFail", "InfiniteMap", "DSSCorruption", "DataCsumErr", "SYNTXDrop")
    found = [f"{n} {v}" for n, v in counters(k).items() if any(word in n for word in telling)]
    return f" ({', '.join(found)})" if found else ""
