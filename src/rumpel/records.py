# SPDX-License-Identifier: GPL-2.0-only
"""Records of a kernel's log, for who looks at them: to make such a class takes its time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rumpel.log import line, messages

__all__ = ["LogRecord", "parse"]


class LogRecord(NamedTuple):
    """One message of the kernel.

    Attributes:
        level: 0 (emergency) to 7 (debug).
        time: on the kernel's clock, in seconds.
        text: without the newline.
    """

    level: int
    time: float
    text: str

    def __str__(self) -> str:
        return line(self)


def parse(data: bytes) -> Iterator[LogRecord]:
    r"""Parse records in the format of /dev/kmsg; what is malformed is left out.

    Args:
        data: whole lines.

    Example:
        >>> list(parse(b"6,1,1200,-;hello\n SUBSYSTEM=net\n"))
        [LogRecord(level=6, time=0.0012, text='hello')]
    """
    return (LogRecord(*message) for message in messages(data))
