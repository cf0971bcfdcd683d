# SPDX-License-Identifier: GPL-2.0-only
"""Which of a program's calls are the library kernel's: the whole table.

A rule is a line of text. The agent asks them in this order, after one that is always
there: a call with a *descriptor* that the kernel has given is the kernel's. The first
that holds makes a call the kernel's; where none does, it is the host's
(``runtime/intercept/agent/policy.c``). ``rumpel run --explain trace`` prints the rule that decided.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import PurePosixPath

__all__ = ["DEFAULT", "FAMILIES", "rules_of"]

FAMILIES = {
    # Address families of socket(2); the numbers are linux/include/linux/socket.h's.
    "unix": 1,
    "inet": 2,
    "ax25": 3,
    "inet6": 10,
    "key": 15,
    "netlink": 16,
    "packet": 17,
    "rds": 21,
    "pppox": 24,
    "can": 29,
    "tipc": 30,
    "vsock": 40,
    "smc": 43,
    "xdp": 44,
    "mctp": 45,
}

DEFAULT = (
    # The network. Sockets of the family unix stay the host's: with them programs talk to
    # others outside, and pass each other descriptors.
    "family inet",
    "family inet6",
    "family key",
    "family netlink",
    "family packet",
    "family pppox",
    "family tipc",
    "family smc",
    "family xdp",
    # What programs read about it, and set. Ioctls about interfaces are the kernel's
    # whatever socket they are made with (agent/descriptors.c).
    "path /proc/net",
    "path /proc/self/net",
    "path /proc/thread-self/net",
    "path /proc/sys/net",
    "path /sys/class/net",
    "path /dev/net/tun",
)


def rules_of(paths: Iterable[str] = (), more: Iterable[str] = ()) -> list[str]:
    """The table with more rules, as the agent takes them: families are numbers.

    Args:
        paths: subtrees that are the library kernel's.
        more: further rules.

    Raises:
        ValueError: if a path is not absolute, a family has no such name, or there is a newline.

    Example:
        >>> rules_of(["/data"])[-1]
        'path /data'
    """
    rules = [*DEFAULT, *(f"path {_absolute(path)}" for path in paths), *more]
    return [_numbered(rule) for rule in rules]


def _absolute(path: str) -> PurePosixPath:
    if not path.startswith("/"):
        raise ValueError(f"a path of the library kernel must be absolute: {path}")
    from pathlib import PurePosixPath

    return PurePosixPath(path)


def _numbered(rule: str) -> str:
    if "\n" in rule:
        raise ValueError(f"a rule, or a path, must have no newline: {rule!r}")
    kind, _, name = rule.partition(" ")
    if kind != "family" or name.isdigit():
        return rule
    if name not in FAMILIES:
        raise ValueError(f"there is no address family of this name: {name}")
    return f"family {FAMILIES[name]}"
