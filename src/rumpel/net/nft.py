# SPDX-License-Identifier: GPL-2.0-only
"""nftables in its own words: ``kernel.net.nft()``.

The language is that of the program ``nft`` of the host, which is run on the kernel's
netlink: nobody else understands all of it.

Source: nft(8).
"""

from __future__ import annotations

import errno
import re
from os import strerror
from typing import TYPE_CHECKING

from rumpel.errors import RumpelError
from rumpel.net.relay import run

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["nft"]


def nft(kernel: Kernel, commands: str, *, json: bool) -> str:
    """See :meth:`rumpel.net.Net.nft`."""
    try:
        done = run(kernel, ["nft", *(["-j"] if json else []), "-f", "-"], commands)
    except FileNotFoundError:
        raise RumpelError("the program nft is missing: sudo apt-get install nftables") from None
    if done.returncode == 0:
        return done.stdout
    text = done.stderr.strip() or f"nft ended with {done.returncode}"
    # What the kernel refuses ends with an error's text; all else is a mistake in the commands.
    first = text.splitlines()[0]
    for code in _CODES:
        if re.search(rf"Error: .*{re.escape(strerror(code))}", first):
            raise OSError(code, text)
    raise ValueError(text)


_CODES = (
    errno.ENOENT,
    errno.EEXIST,
    errno.EBUSY,
    errno.EINVAL,
    errno.EOPNOTSUPP,
    errno.EPERM,
    errno.ENOMEM,
    errno.ERANGE,
    errno.EMLINK,
    errno.ELOOP,
    errno.EAFNOSUPPORT,
)
