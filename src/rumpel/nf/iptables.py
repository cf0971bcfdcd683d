# SPDX-License-Identifier: GPL-2.0-only
"""Rules of iptables and ip6tables as rules of nftables for a bridge.

iptables-translate(8) does most of it. What it leaves is said: what nftables has nothing like, and
what makes no sense on a bridge.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence

from rumpel.nf.stage import StageError

__all__ = ["translated"]

_PROGRAMS = {"ip": "iptables-translate", "ip6": "ip6tables-translate"}
_RULE = re.compile(r"add rule ip6? filter FORWARD\s+(.*)")
_NONSENSE = (
    (r"\b[sd]nat\b|\bmasquerade\b|\bredirect\b", "addresses are translated by the stage nat"),
    (r"\b(?:jump|goto) \S+", "there is no chain of that name; --file has whole rulesets of nft"),
    (r"\blog group\b", "nobody listens to NFLOG and ULOG here: write LOG"),
    (r"\bnftrace\b", "nobody listens to TRACE here: write LOG"),
    (r"\bnotrack\b", "packets are seen behind the connection tracking, which is too late for that"),
    (r"\bdup to\b", "copies are made by the stage tee"),
    (r"\brt mtu\b", "a bridge has no route with an MTU: say --set-mss NUMBER"),
    (r"\bfib \w+", "a bridge has no routes: whose address it is nobody knows"),
)
"""What of nftables makes no sense here, and what is said about it."""
_WHY = {
    "physdev": "the ports are -i left and -i right",
    "string": "the stage mangle looks at contents",
    "u32": "the stage mangle looks at any byte, and so does nft: @nh,0,8",
    "bpf": "the stage mangle looks at any byte, and so does nft: @nh,0,8",
    "hashlimit": "nft has meters: write the rule for it",
    "recent": "nft has sets that rules fill: write the rule for it",
    "connlimit": "nft has sets that count: write it with --file",
    "set": "nft has sets: write the rule for it",
}
"""Some extensions that are not translated, and what does the same."""


def translated(rule: str) -> list[str]:
    """Translate a rule to those of nftables, for a chain that only IPv4 and IPv6 come to.

    Which of the two it is for only its addresses and protocols say; else it is for both.

    Args:
        rule: with or without the name of the program and the chain, which are not needed.

    Raises:
        StageError: if it is none, or has no counterpart.

    Example:
        >>> translated("-s 10.0.0.9 -j DROP")
        ['ip saddr 10.0.0.9 counter drop']
        >>> translated("-A FORWARD -p tcp -j DROP")
        ['ether type ip ip protocol tcp counter drop', 'ether type ip6 meta l4proto tcp counter drop']
    """  # noqa: E501 - what is printed is one line
    words = _words(rule)
    found: dict[str, list[str]] = {}
    complaints: list[str] = []
    for family, program in _PROGRAMS.items():
        try:
            done = subprocess.run(
                [program, "-A", "FORWARD", *words], capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            raise StageError(f"no program {program}: it is in Debian's package iptables") from None
        if done.returncode:
            complaints.append(_complaint(done.stderr))
            continue
        found[family] = [_text(rule, words, line) for line in done.stdout.splitlines() if line]
    if not found:
        raise StageError(f"not a rule of iptables: {rule!r} ({complaints[0]})")
    ip, ip6 = found.get("ip"), found.get("ip6")
    if ip is not None and ip6 is not None:
        if ip == ip6:
            return ip
        return [*(f"ether type ip {x}" for x in ip), *(f"ether type ip6 {x}" for x in ip6)]
    # nft's own words may say it already.
    family, lines = ("ip", ip) if ip is not None else ("ip6", ip6)
    known = "ip " if family == "ip" else ("ip6 ", "icmpv6 ")
    return [x if x.startswith(known) else f"ether type {family} {x}" for x in lines or ()]


def _words(rule: str) -> list[str]:
    """The rule in words, without what says where it goes."""
    try:
        words = shlex.split(rule)
    except ValueError as error:
        raise StageError(f"not a rule of iptables: {rule!r} ({error})") from None
    if words and words[0] in ("iptables", "ip6tables"):
        del words[0]
    if words and words[0] in ("-A", "--append", "-I", "--insert"):
        if words[1:2] != ["FORWARD"]:
            raise StageError(
                f"not for here: {rule!r} (all that passes goes through the chain FORWARD)"
            )
        del words[:2]
    if words and words[0] in ("-P", "--policy"):
        raise StageError(f"not a rule: {rule!r} (what no rule accepts is dropped with --drop)")
    if not words:
        raise StageError(f"not a rule of iptables: {rule!r} (it is empty)")
    return words


def _complaint(said: str) -> str:
    """What the program says, without its name and its version."""
    return re.sub(r"^\S+ v[0-9.]+ \([^)]*\): ", "", said.partition("\n")[0])


def _text(rule: str, words: Sequence[str], line: str) -> str:
    """A rule of nft of a line that was printed."""
    command = line.removeprefix("nft ")
    if command.startswith("'"):
        command = shlex.split(command)[0]
    match = _RULE.fullmatch(command.strip())
    if match is None:
        why = next((_WHY[word] for word in words if word in _WHY), None)
        raise StageError(
            f"nftables has nothing like {rule!r}" + ("" if why is None else f" ({why})")
        )
    plain = re.sub(r'"[^"]*"', '""', match[1])
    for pattern, why in _NONSENSE:
        if re.search(pattern, plain):
            raise StageError(f"not for here: {rule!r} ({why})")
    return match[1]
