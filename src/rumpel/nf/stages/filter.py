# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``filter``."""

from __future__ import annotations

import re

from rumpel.nf.stage import LEFT, RIGHT, Stage, StageError
from rumpel.options import Argument, ExistingFile, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from typing import Any

    from rumpel.kernel import Kernel

_NEIGHBOURS = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert }"
_OF_THE_LINK = (
    "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert,"
    " nd-redirect, mld-listener-query, mld-listener-report, mld-listener-done,"
    " mld2-listener-report }"
)
_QUOTED = re.compile(r'"[^"]*"|#.*')
_OUT = re.compile(r'\b(?:meta\s+)?oif(?:name)?\s+((?:[!=]=\s*)?)"?(left|right)"?(?![\w"])|"[^"]*"')


class Filter(Stage):
    """Let packets pass, or not, by rules of nftables.

    RULE is what nft(8) takes in a chain, for all that passes the bridge: "ip daddr
    10.0.0.9 drop", "iifname left tcp dport 22 ct state new reject". With --drop all else
    is dropped, but for ARP and the neighbour discovery of IPv6. --file is a whole ruleset.
    --iptables takes a rule of iptables(8) or ip6tables, for what these would see; Debian's
    package iptables translates it. What rules log is told on standard error.

    \b
    Example:
      rumpel nf ping 10.0.0.2 | rumpel nf filter 'icmp type echo-request drop'
    """

    params = (
        Argument("rules", nargs=-1, metavar="[RULE]..."),
        Option("--iptables", multiple=True, metavar="RULE", help="Such as '-s 10.0.0.9 -j DROP'."),
        Option("--drop", is_flag=True, help="What no rule accepts is dropped."),
        Option(
            "--file",
            type=ExistingFile(),
            help="Load this ruleset of nft as well.",
        ),
    )

    def configure(self, k: Kernel) -> None:
        """Load the rules, then open the ports."""
        ruleset = ""
        if self.options.rules or self.options.iptables or self.options.drop:
            ruleset = _chains(self.options.rules, self.options.iptables, drop=self.options.drop)
        if self.options.file:
            try:
                with open(self.options.file) as file:
                    ruleset += file.read()
            except UnicodeDecodeError:
                raise StageError(f"{self.options.file} has no rules: it is no text") from None
        if ruleset:
            self.nft(k, ruleset)
        self._logs = _has("log", ruleset)
        self.bridge(k)

    def serve(self, k: Kernel) -> list[Coroutine[Any, Any, None]]:
        """Tell what the rules log, if they do."""
        if not self._logs:
            return []
        from rumpel.nf.logged import tell

        return [tell(k)]


def _has(word: str, rules: str) -> bool:
    return re.search(rf"\b{word}\b", _QUOTED.sub("", rules)) is not None


def _chains(rules: Sequence[str], iptables: Sequence[str], *, drop: bool) -> str:
    """The ruleset.

    Linux's bridge rejects only before it knows where a packet goes; but there is only one way.
    """
    translated: list[str] = []
    if iptables:
        from rumpel.nf.iptables import translated as translate

        # What stays on the link is no business of theirs: routers do not forward it.
        translated = [f"{_OF_THE_LINK} return", *(x for rule in iptables for x in translate(rule))]
    own = [*rules, *(["ether type { ip, ip6 } jump iptables"] if iptables else [])]
    if drop:
        own = ["ether type arp accept", f"{_NEIGHBOURS} accept", *own]
    hook = "forward"
    if any(_has("reject", rule) for rule in (*rules, *translated)):
        hook = "prerouting"
        own, translated = list(map(_by_where_from, own)), list(map(_by_where_from, translated))
    lines = ["table bridge filter {"]
    if iptables:
        lines += ["    chain iptables {", *(f"        {x}" for x in translated), "    }"]
    policy = f"type filter hook {hook} priority 0; policy {'drop' if drop else 'accept'};"
    lines += ["    chain forward {", *(f"        {x}" for x in (policy, *own)), "    }", "}"]
    return "\n".join(lines) + "\n"


def _by_where_from(rule: str) -> str:
    """The same rule for a packet of which is not known where it goes.

    Raises:
        StageError: if it needs to be known.

    Example:
        >>> _by_where_from('oifname "right" tcp dport 22 reject')
        'iifname "left" tcp dport 22 reject'
    """
    other: dict[str, str] = {LEFT: RIGHT, RIGHT: LEFT}
    made = _OUT.sub(
        lambda found: f'iifname {found[1]}"{other[found[2]]}"' if found[2] else found[0], rule
    )
    if re.search(r"\b(oif|oifname|obrname|obriport)\b", _QUOTED.sub("", made)):
        raise StageError(
            f"not beside rules that reject: {rule!r}"
            " (where Linux rejects it is not known yet where a packet goes: write iifname)"
        )
    return made
