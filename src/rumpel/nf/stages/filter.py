# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``filter``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rumpel.nf.stage import Option, Stage, StageError

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

    \b
    Example:
      rumpel nf ping 10.0.0.2 | rumpel nf filter 'icmp type echo-request drop'
    """

    params = (
        click.Argument(["rules"], nargs=-1, metavar="[RULE]..."),
        Option("--drop", is_flag=True, help="What no rule accepts is dropped."),
        Option(
            "--file",
            type=click.Path(exists=True, dir_okay=False),
            help="Load this ruleset of nft as well.",
        ),
    )

    def configure(self, k: Kernel) -> None:
        """Load the rules, then open the ports."""
        rules = list(self.options.rules)
        if self.options.drop:
            rules = ["ether type arp accept", _NDP, *rules]
        policy = "drop" if self.options.drop else "accept"
        ruleset = _CHAIN % (policy, "\n".join(f"        {rule}" for rule in rules))
        if self.options.file:
            with open(self.options.file) as file:
                ruleset += file.read()
        if rules or self.options.file:
            try:
                k.net.nft(ruleset)
            except (ValueError, OSError) as error:
                raise StageError(f"nft does not take the rules: {error}") from None
        self.bridge(k)


_NDP = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept"
