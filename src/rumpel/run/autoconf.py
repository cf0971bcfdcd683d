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


def configure(kernel: Joined, asking: Sequence[tuple[str, str]], alive: int) -> str:
    """Have all addresses, before a program starts.

    Args:
        kernel: that runs.
        asking: interfaces, and one of :data:`WAYS` for each.
        alive: a pipe that ends with the kernel: who renews addresses does so until then.

    Returns:
        What was said of names, as resolv.conf(5) has it.

    Raises:
        BootError: if nobody answers.
    """
    from subprocess import PIPE, STDOUT

    from rumpel.run.policy import rules_of
    from rumpel.run.popen import Popen

    told = ""
    for way in WAYS:
        interfaces = [interface for interface, asked in asking if asked == way]
        if not interfaces:
            continue
        program = [sys.executable, "-I", "-S", f"{os.path.dirname(__file__)}/{way}.py"]  # noqa: PTH120
        with Popen(
            kernel,
            [*program, *interfaces],
            rules=rules_of(),
            holds=False,
            stdin=alive,
            stdout=PIPE,
            stderr=STDOUT,
            text=True,
        ) as process:
            said: str = process.communicate()[0]
        if process.returncode:
            raise BootError(said.strip() or "no addresses: the kernel has ended")
        told += said
    return told
