# SPDX-License-Identifier: GPL-2.0-only
"""The options of queueing disciplines, classes and filters, as the kernel takes them.

Times are seconds, probabilities fractions of one, rates (``_bps``) bits a second and sizes
bytes.

Source: include/uapi/linux/pkt_sched.h, pkt_cls.h; tc-netem(8), tc-tbf(8), tc-htb(8), ...
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from rumpel.netlink import attribute

__all__ = ["KINDS", "class_options", "discipline_options", "handle"]

_TICK_NS = 64
"""The unit of times in older structures, PSCHED_TICKS2NS(1): the same on every kernel."""
_NS, _US = 1_000_000_000, 1_000_000
_U32 = 0xFFFFFFFF
_ETHERNET = 1
"""The link layer; with it the kernel computes what used to be tables."""

Options = dict[str, Any]


def _check_number(value: object, what: str, unit: str) -> None:
    if not isinstance(value, int | float):
        raise TypeError(f"{what} is a number {unit}, not {value!r}")


def _probability(value: float, what: str) -> int:
    _check_number(value, what, "between 0 and 1")
    if not 0 <= value <= 1:
        raise ValueError(f"{what} is a fraction between 0 and 1, not {value!r}")
    return round(value * _U32)


def _time(value: float, unit: int, what: str) -> int:
    _check_number(value, what, "of seconds")
    if value < 0:
        raise ValueError(f"{what} cannot be negative: {value!r}")
    return round(value * unit)


def _bytes_a_second(value: float, what: str) -> int:
    _check_number(value, what, "of bits a second")
    if value < 8:
        raise ValueError(f"{what} is in bits a second, at least 8, not {value!r}")
    return int(value) // 8


def _ratespec(rate: int, overhead: int = 0) -> bytes:
    return struct.pack("=BBHhHI", 0, _ETHERNET, overhead, -1, 0, min(rate, _U32))


def _u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def _u64(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=Q", value))


def _netem(
    *,
    delay: float = 0.0,
    jitter: float = 0.0,
    delay_correlation: float = 0.0,
    loss: float = 0.0,
    loss_correlation: float = 0.0,
    duplicate: float = 0.0,
    duplicate_correlation: float = 0.0,
    reorder: float = 0.0,
    reorder_correlation: float = 0.0,
    gap: int = 0,
    corrupt: float = 0.0,
    corrupt_correlation: float = 0.0,
    rate_bps: float | None = None,
    limit: int = 1000,
    ecn: bool = False,
    seed: int | None = None,
) -> bytes:
    if reorder and not delay:
        raise ValueError("reordering needs a delay that packets can overtake in")
    data = struct.pack(
        "=IIIIII",
        *(0, limit, _probability(loss, "loss"), gap or bool(reorder)),
        *(_probability(duplicate, "duplicate"), 0),
    )
    correlations = (delay_correlation, loss_correlation, duplicate_correlation)
    parts = [_probability(value, "correlation") for value in correlations]
    data += attribute(1, struct.pack("=III", *parts))
    for kind, name, chance, correlation in (
        (3, "reorder", reorder, reorder_correlation),
        (4, "corrupt", corrupt, corrupt_correlation),
    ):
        pair = _probability(chance, name), _probability(correlation, "correlation")
        data += attribute(kind, struct.pack("=II", *pair))
    if rate_bps is not None:
        rate = _bytes_a_second(rate_bps, "rate_bps")
        data += attribute(6, struct.pack("=IiIi", min(rate, _U32), 0, 0, 0))
        if rate >= _U32:
            data += _u64(8, rate)
    if ecn:
        data += _u32(7, 1)
    data += _u64(10, _time(delay, _NS, "delay")) + _u64(11, _time(jitter, _NS, "jitter"))
    if seed is not None:
        data += _u64(14, seed)
    return data


def _tbf(
    *,
    rate_bps: float,
    burst: int,
    latency: float | None = None,
    limit: int | None = None,
    peak_bps: float | None = None,
    mtu: int = 1514,
) -> bytes:
    if (latency is None) == (limit is None):
        raise TypeError("tbf takes either latency, in seconds, or limit, in bytes")
    rate = _bytes_a_second(rate_bps, "rate_bps")
    peak = None if peak_bps is None else _bytes_a_second(peak_bps, "peak_bps")
    if limit is None:
        assert latency is not None
        limit = int(rate * latency) + burst
    data = attribute(1, _ratespec(rate) + _ratespec(peak or 0) + struct.pack("=III", limit, 0, mtu))
    data += _u32(6, burst)
    if rate >= _U32:
        data += _u64(4, rate)
    if peak is not None:
        data += _u32(7, mtu)
        if peak >= _U32:
            data += _u64(5, peak)
    return data


def _htb(*, default: int | str = 0, r2q: int = 10, direct_qlen: int | None = None) -> bytes:
    minor = handle(default) & 0xFFFF if isinstance(default, str) else default
    data = attribute(2, struct.pack("=IIIII", 3, r2q, minor, 0, 0))
    return data if direct_qlen is None else data + _u32(5, direct_qlen)


def _htb_class(
    *,
    rate_bps: float,
    ceil_bps: float | None = None,
    burst: int | None = None,
    cburst: int | None = None,
    prio: int = 0,
    quantum: int = 0,
    overhead: int = 0,
) -> bytes:
    rate = _bytes_a_second(rate_bps, "rate_bps")
    ceil = rate if ceil_bps is None else _bytes_a_second(ceil_bps, "ceil_bps")

    def buffer(speed: int, size: int | None) -> int:
        # As tc: what the rate is worth in a jiffy, and a packet.
        size = speed // 1000 + 1600 if size is None else size
        return min(size * _NS // speed // _TICK_NS, _U32)

    data = _ratespec(rate, overhead) + _ratespec(ceil, overhead)
    buffers = buffer(rate, burst), buffer(ceil, cburst)
    data = attribute(1, data + struct.pack("=IIIII", *buffers, quantum, 0, prio))
    data += _u64(6, rate) if rate >= _U32 else b""
    return data + (_u64(7, ceil) if ceil >= _U32 else b"")


def _fifo(*, limit: int) -> bytes:
    return struct.pack("=I", limit)


def _sfq(*, quantum: int = 0, perturb: int = 0, limit: int = 0, flows: int = 0) -> bytes:
    return struct.pack("=IiIII", quantum, perturb, limit, 0, flows)


def _prio(*, bands: int = 3, priomap: tuple[int, ...] = ()) -> bytes:
    table = priomap or (1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)
    if len(table) != 16:
        raise ValueError(f"priomap has 16 bands, one for each priority, not {len(table)}")
    return struct.pack("=i16B", bands, *table)


_Row = tuple[int, str]
# Attribute and what it is: s seconds in us, b bits a second, B in 64 bits, I and i numbers.
_TABLES: dict[str, dict[str, _Row]] = {
    "codel": {
        "target": (1, "s"),
        "limit": (2, "I"),
        "interval": (3, "s"),
        "ecn": (4, "I"),
        "ce_threshold": (5, "s"),
    },
    "fq_codel": {
        "target": (1, "s"),
        "limit": (2, "I"),
        "interval": (3, "s"),
        "ecn": (4, "I"),
        "flows": (5, "I"),
        "quantum": (6, "I"),
        "ce_threshold": (7, "s"),
        "drop_batch": (8, "I"),
        "memory_limit": (9, "I"),
    },
    "fq": {
        "limit": (1, "I"),
        "flow_limit": (2, "I"),
        "quantum": (3, "I"),
        "initial_quantum": (4, "I"),
        "pacing": (5, "I"),
        "maxrate_bps": (7, "b"),
    },
    "cake": {
        "bandwidth_bps": (2, "B"),
        "diffserv": (3, "I"),
        "overhead": (6, "i"),
        "rtt": (7, "s"),
        "target": (8, "s"),
        "memlimit": (10, "I"),
        "nat": (11, "I"),
        "wash": (13, "I"),
        "mpu": (14, "I"),
        "ack_filter": (16, "I"),
        "split_gso": (17, "I"),
        "fwmark": (18, "I"),
    },
}


def _from_table(kind: str, options: Options) -> bytes:
    table = _TABLES[kind]
    data = b""
    for name, value in options.items():
        if name not in table:
            raise TypeError(f"{kind} has no option {name!r}, but {', '.join(table)}")
        number, form = table[name]
        if form == "s":
            data += _u32(number, _time(value, _US, name))
        elif form == "b":
            data += _u32(number, min(_bytes_a_second(value, name), _U32))
        elif form == "B":
            data += _u64(number, _bytes_a_second(value, name))
        else:
            data += attribute(number, struct.pack("=" + form, int(value)))
    return data


_BUILT: dict[str, Callable[..., bytes]] = {
    "netem": _netem,
    "tbf": _tbf,
    "htb": _htb,
    "pfifo": _fifo,
    "bfifo": _fifo,
    "sfq": _sfq,
    "prio": _prio,
}
_PLAIN = ("ingress", "clsact", "noqueue", "pfifo_fast", "mq")
KINDS = (*_BUILT, *_TABLES, *_PLAIN)
"""The queueing disciplines whose options are known here."""


def discipline_options(kind: str, options: Options) -> bytes:
    """Encode the options of a queueing discipline.

    Raises:
        TypeError: if it has no such option.
        ValueError: if one is out of range, or the kind is not known.
    """
    if kind in _TABLES:
        return _from_table(kind, options)
    if kind in _BUILT:
        if kind in ("pfifo", "bfifo") and not options:
            return b""
        return _encoded(kind, _BUILT[kind], options)
    if kind not in _PLAIN:
        raise ValueError(
            f"the options of {kind!r} are not known here; k.iproute().tc() knows more kinds"
        )
    if options:
        raise TypeError(f"{kind} has no options")
    return b""


def class_options(kind: str, options: Options) -> bytes:
    """Encode the options of a class; of the disciplines above only htb has any."""
    if kind != "htb":
        raise ValueError(f"{kind!r} has no classes that can be made here; see k.iproute().tc()")
    return _encoded("a class of htb", _htb_class, options)


def _encoded(kind: str, encode: Callable[..., bytes], options: Options) -> bytes:
    """Call a function whose keywords are the options that there are."""
    code = encode.__code__
    known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    for name in options:
        if name not in known:
            raise TypeError(f"{kind} has no option {name!r}, but {', '.join(known)}")
    for name in known:
        if name not in options and name not in (encode.__kwdefaults__ or {}):
            raise TypeError(f"{kind} needs {name}")
    return encode(**options)


def handle(text: str) -> int:
    """The number of a discipline or class.

    Example:
        >>> hex(handle("1:10"))
        '0x10010'
    """
    major, colon, minor = text.partition(":")
    try:
        if colon:
            number = int(major or "0", 16) << 16 | int(minor or "0", 16)
            if number <= _U32:
                return number
    except ValueError:
        pass
    raise ValueError(f"not a handle: {text!r} (write 1: for a discipline, 1:10 for a class)")
