# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``nat``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from rumpel.nf.routing import add_address
from rumpel.nf.stage import Stage, StageError
from rumpel.options import Option

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

_FORWARD = re.compile(r"(tcp|udp):(\d+):(?:([0-9.]+)|\[([0-9A-Fa-f:.]+)\])(?::(\d+))?")


class Nat(Stage):
    """Translate addresses: what is on the left hides behind one address.

    Connections from the left come from --address on the right, those of IPv6 from --address6
    (source NAT). --forward lets them in from there, to a host on the left.

    \b
    Examples:
      rumpel nf chain 'ping 10.0.0.2 | nat | host 10.0.0.2'
      rumpel nf chain 'host 10.0.0.1 --echo 7 | nat --forward tcp:70:10.0.0.1:7 | tcp 100.64.0.1 70'
    """

    answers = True
    params = (
        Option("--address", default="100.64.0.1", metavar="IPV4", help="Seen on the right."),
        Option("--address6", default="fd64::1", metavar="IPV6", help="The same of IPv6."),
        Option(
            "--forward",
            multiple=True,
            metavar="tcp:PORT:HOST[:PORT]",
            help="A port of the address that leads to a host on the left (IPv6 in brackets).",
        ),
    )

    def configure(self, k: Kernel) -> None:
        """Routes, the address, and the translation."""
        self.route(k)
        own = {"ip": self.options.address, "ip6": self.options.address6}
        for family, text in own.items():
            try:
                if ("." if family == "ip" else ":") not in text or "/" in text:
                    raise ValueError(f"not an address: {text!r}")
                add_address(k, "right", text)
            except ValueError as error:
                raise StageError(str(error)) from None
        forwards = [forwarded(text) for text in self.options.forward]
        translate(
            self,
            k,
            "left",
            "right",
            {family: f"snat to {address}" for family, address in own.items()},
            forwards,
            {family: f"{family} daddr {address} " for family, address in own.items()},
        )


def translate(
    stage: Stage,
    k: Kernel,
    inside: str,
    outside: str,
    source: Mapping[str, str],
    forwards: Sequence[tuple[str, str]] = (),
    to: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Load the rules: all that goes out is from the same address.

    Args:
        stage: who does so.
        k: its kernel.
        inside: the port behind which everybody hides.
        outside: the port behind which nobody knows who is inside.
        source: by family, what to do with sources that go out there.
        forwards: families and rules, for what comes in from there.
        to: by family, which packets these are for, if not for all.

    Raises:
        StageError: if nft does not take the rules.
    """
    rules = ""
    for family, verdict in source.items():
        lines = "".join(
            f'        iifname "{outside}" {to.get(family, "")}{rule}\n'
            for f, rule in forwards
            if f == family
        )
        rules += (
            f"table {family} nat {{\n"
            "    chain prerouting {\n"
            "        type nat hook prerouting priority dstnat;\n"
            f"{lines}"
            "    }\n"
            "    chain postrouting {\n"
            "        type nat hook postrouting priority srcnat;\n"
            f'        iifname "{inside}" oifname "{outside}" {verdict}\n'
            "    }\n"
            "}\n"
        )
    # One packet after the other: of those of a flow that come together when it is new,
    # conntrack would know none, and drop all but the first.
    # (Of a kernel that stages share it is set from the beginning.)
    if stage.namespace is None:
        k.sysctl["net.core.gro_normal_batch"] = "1"
    stage.nft(k, rules)


def forwarded(text: str) -> tuple[str, str]:
    """Read an option --forward: the family, and the rule for it.

    Raises:
        StageError: if it is none.

    Example:
        >>> forwarded("tcp:80:10.0.0.1:8080")
        ('ip', 'tcp dport 80 dnat to 10.0.0.1:8080')
    """
    match = _FORWARD.fullmatch(text)
    if match is None or not all(0 < int(port) < 65536 for port in (match[2], match[5]) if port):
        raise StageError(f"not a forwarded port: {text!r} (write tcp:80:10.0.0.1:8080)")
    protocol, port, host, host6, to = match.groups()
    where = f"{host or f'[{host6}]' if to else host or host6}{f':{to}' if to else ''}"
    return "ip" if host else "ip6", f"{protocol} dport {port} dnat to {where}"
