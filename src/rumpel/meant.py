# SPDX-License-Identifier: GPL-2.0-only
"""What somebody meant who asks a kernel for a name that it has not got."""

from __future__ import annotations

__all__ = ["hint"]

_PROGRAMS = "a kernel of rumpel.run.boot(), on which programs run"
_NAMES = {
    "asyncio": "kernel.aio",
    "add_disk": "kernel.plug()",
    "add_nic": "kernel.plug()",
    "attach": "kernel.plug()",
    "detach": "kernel.unplug()",
    "remove_disk": "kernel.unplug()",
    "remove_nic": "kernel.unplug()",
    "dmesg": "kernel.log, or str(kernel.log)",
    "netns": "kernel.net.namespace() and kernel.net.add_namespace()",
    "nftables": "kernel.net.nft()",
    "popen": _PROGRAMS,
    "Popen": _PROGRAMS,
    "run": _PROGRAMS,
    "subprocess": _PROGRAMS,
    "poweroff": "kernel.halt()",
    "shutdown": "kernel.halt()",
    "stop": "kernel.halt()",
    "time": "kernel.clock.now, and kernel.sleep()",
    "version": "kernel.release",
}
"""Names of other libraries and of the shell."""


def hint(name: str) -> str:
    """The end of an error message that says where a name is; empty if nobody knows.

    Args:
        name: what a kernel has no attribute for.

    Example:
        >>> hint("dmesg"), hint("listdir"), hint("frobnicate")
        ('; did you mean kernel.log, or str(kernel.log)?', '; did you mean kernel.os.listdir?', '')
    """
    meant = _NAMES.get(name) or _inside(name)
    return f"; did you mean {meant}?" if meant else ""


def _inside(name: str) -> str | None:
    """The part of a kernel that has it."""
    if name.startswith("_"):  # what copy, pickle and others look for
        return None
    import os
    import socket
    import sys

    from rumpel.net import Net
    from rumpel.os.names import why_absent

    for part, holder in (("net", Net), ("os", os), ("socket", socket)):
        if hasattr(holder, name) and why_absent(name) is None and name not in ("os", "sys"):
            return f"kernel.{part}.{name}"
    if name in sys.stdlib_module_names:
        return f"kernel.import_module({name!r})"
    return None
