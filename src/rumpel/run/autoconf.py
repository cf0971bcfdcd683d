# SPDX-License-Identifier: GPL-2.0-only
"""Addresses that the network gives (``ip=dhcp``, ``ip=slaac``), asked for on a kernel that runs."""

from __future__ import annotations

import os
import sys

from rumpel.errors import BootError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rumpel.run.instance import Joined

__all__ = ["WAYS", "configure"]

WAYS = ("dhcp", "slaac")
"""Each is a program beside this file."""


def configure(kernel: Joined, asking: Sequence[tuple[str, str]]) -> str:
    """Have all addresses, before a program starts.

    Args:
        kernel: that runs.
        asking: interfaces, and one of :data:`WAYS` for each.

    Returns:
        What was said of names, as resolv.conf(5) has it.

    Raises:
        BootError: if nobody answers.
    """
    from rumpel.run.policy import rules_of
    from rumpel.run.popen import output

    told = ""
    for way in WAYS:
        interfaces = [interface for interface, asked in asking if asked == way]
        if not interfaces:
            continue
        program = [sys.executable, "-I", "-S", f"{os.path.dirname(__file__)}/{way}.py"]  # noqa: PTH120
        status, said = output(kernel, [*program, *interfaces], rules_of())
        if status:
            raise BootError(said.strip() or "no addresses: the kernel has ended")
        told += said
    return told
