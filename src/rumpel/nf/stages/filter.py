# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``filter``."""

from __future__ import annotations

import re
import shlex
import subprocess
from typing import TYPE_CHECKING

from rumpel.nf.stage import Stage, StageError
from rumpel.options import Argument, ExistingFile, Option

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

_CHAIN = """\
table bridge filter {
    chain forward {
        type filter hook forward priority 0; policy %s;
%s
    }
}
"""


class Filter(Stage):
    """Let packets pass, or not, by rules of nftables.

    RULE is what nft(8) takes in a chain, for all that passes the bridge: "ip daddr
    10.0.0.9 drop", "iifname left tcp dport 22 ct state new reject". With --drop all else
    is dropped, but for ARP and the neighbour discovery of IPv6. --file is a whole ruleset.
    --iptables takes a rule of iptables(8) or ip6tables, without the chain; Debian's
    package iptables translates it.

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
        rules = [*self.options.rules, *map(translated, self.options.iptables)]
        if self.options.drop:
            rules = ["ether type arp accept", _NDP, *rules]
        policy = "drop" if self.options.drop else "accept"
        ruleset = _CHAIN % (policy, "\n".join(f"        {rule}" for rule in rules))
        if self.options.file:
            try:
                with open(self.options.file) as file:
                    ruleset += file.read()
            except UnicodeDecodeError:
                raise StageError(f"{self.options.file} has no rules: it is no text") from None
        if rules or self.options.file:
            self.nft(k, ruleset)
        self.bridge(k)


_NDP = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept"


def translated(rule: str) -> str:
    """Translate a rule of iptables or ip6tables to one of nftables.

    Raises:
        StageError: if it is none, or has no counterpart.

    Example:
        >>> translated("-s 10.0.0.9 -j DROP")
        'ip saddr 10.0.0.9 counter drop'
    """
    try:
        words = shlex.split(rule)
    except ValueError as error:
        raise StageError(f"not a rule of iptables: {rule!r} ({error})") from None
    why = ""
    # Which of the two it is for, only its addresses and protocols say.
    for program in ("iptables-translate", "ip6tables-translate"):
        try:
            done = subprocess.run(
                [program, "-A", "FORWARD", *words], capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            raise StageError(f"no program {program}: it is in Debian's package iptables") from None
        found = re.search(r"add rule ip6? filter FORWARD (.*?)'?$", done.stdout.strip())
        if done.returncode == 0 and found:
            return found[1]
        why = why or done.stderr.partition("\n")[0] or "nftables has nothing like it"
    raise StageError(f"not a rule of iptables: {rule!r} ({why})")
