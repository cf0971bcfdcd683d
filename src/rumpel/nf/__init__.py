# SPDX-License-Identifier: GPL-2.0-only
"""Network functions joined by pipes: ``rumpel nf``.

A *stage* is a library kernel with one or two ports, through which packets come and go as
bytes on pipes, so that ``grep`` is a firewall and ``tcpdump -r -`` a probe.
:class:`Stage` is what to derive from for one of your own; the entry points of the group
``rumpel.nf`` add them to the command. See docs/chains.md.
"""

from rumpel.nf.packet_stage import PacketStage
from rumpel.nf.stage import Stage, StageError, find, names
from rumpel.options import Argument, Choice, ExistingFile, FloatRange, IntRange, Option

__all__ = [
    "Argument",
    "Choice",
    "ExistingFile",
    "FloatRange",
    "IntRange",
    "Option",
    "PacketStage",
    "Stage",
    "StageError",
    "find",
    "names",
]
