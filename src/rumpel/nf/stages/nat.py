# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``nat``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rumpel.nf.stage import Option, Stage, StageError
from rumpel.nf.wire import add_address

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

_FORWARD = re.compile(r"(tcp|udp):(\d+):([0-9.]+)(?::(\d+))?")


class Nat(Stage):
    """Translate addresses: what is on the left hides behind one address.

    Connections from the left come from --address on the right (masquerading). --forward
    lets them in from there, to a host on the left.

    \b
    Example:
      rumpel nf chain 'ping 10.0.0.2 | nat | host 10.0.0.2'
    """

    params = (
        Option("--address", default="100.64.0.1", metavar="IPV4", help="Seen on the right."),
        Option(
            "--forward",
            multiple=True,
            metavar="tcp:PORT:HOST[:PORT]",
            help="A port of the address that leads to a host on the left.",
        ),
    )

    def configure(self, k: Kernel) -> None:
        """Routes, the address, and the translation."""
        self.route(k)
        # One packet after the other: of those of a flow that come together when it is new,
        # conntrack would know none, and drop all but the first.
        k.sysctl["net.core.gro_normal_batch"] = "1"
        try:
            add_address(k, "right", self.options.address)
        except ValueError as error:
            raise StageError(str(error)) from None
        lines = "\n".join(f"        {_forward(text)}" for text in self.options.forward)
        try:
            k.net.nft(
                "table ip nat {\n"
                "    chain prerouting {\n"
                "        type nat hook prerouting priority dstnat;\n"
                f"{lines}\n"
                "    }\n"
                "    chain postrouting {\n"
                "        type nat hook postrouting priority srcnat;\n"
                f'        iifname "left" oifname "right" snat to {self.options.address}\n'
                "    }\n"
                "}\n"
            )
        except (ValueError, OSError) as error:
            raise StageError(f"nft does not take the rules: {error}") from None


def _forward(text: str) -> str:
    match = _FORWARD.fullmatch(text)
    if match is None:
        raise StageError(f"not a forwarded port: {text!r} (write tcp:80:10.0.0.1:8080)")
    protocol, port, host, to = match.groups()
    return f'iifname "right" {protocol} dport {port} dnat to {host}{f":{to}" if to else ""}'
