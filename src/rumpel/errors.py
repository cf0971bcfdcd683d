# SPDX-License-Identifier: GPL-2.0-only
"""Everything that rumpel raises of its own.

A failed system call is the standard :class:`OSError` with the kernel's errno.
All else is under one root::

    RumpelError
    ├── BuildError      no image could be made: tool, source, option or disk missing
    │   └── ConfigError     an option of the kernel did not come out as asked
    ├── BootError       an image could not be loaded or did not boot
    ├── KernelPanic     a booted kernel ended: panic, oops or fault (.log, .backtrace)
    ├── KernelClosed    the kernel was halted before the call
    ├── TaskExited      the kernel task of the call is gone
    ├── CloneError      the process of a clone ended without a result
    ├── Deadlock        on a virtual clock nothing can ever end the call
    ├── SandboxError    the process of a kernel in a sandbox has died, or cannot be confined
    └── DeviceError     a device or its back end failed
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "BootError",
    "BuildError",
    "CloneError",
    "ConfigError",
    "Deadlock",
    "DeviceError",
    "KernelClosed",
    "KernelPanic",
    "RumpelError",
    "SandboxError",
    "TaskExited",
]


class RumpelError(Exception):
    """The root of all errors of rumpel but failed system calls."""


class BuildError(RumpelError):
    """A kernel image could not be built, found or verified."""


class ConfigError(BuildError):
    """An option asked for by the user did not come out as asked."""


class BootError(RumpelError):
    """An image could not be loaded, or its kernel did not come up."""


class KernelPanic(RumpelError):
    """A kernel ended by a panic, an oops or a fault inside it.

    Args:
        reason: the kernel's own words.
        log: the tail of the kernel's log.
        backtrace: symbolised frames, innermost first.
    """

    def __init__(self, reason: str, log: str = "", backtrace: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.log = log
        self.backtrace = list(backtrace)

    def __reduce__(self) -> tuple[type[KernelPanic], tuple[str, str, list[str]]]:
        """Survive pickling, as exceptions that cross processes must."""
        return type(self), (self.reason, self.log, self.backtrace)


class KernelClosed(RumpelError):
    """The kernel was halted, and cannot be called any more.

    Or this process is the child of a fork that found the kernel in the middle of
    something, such as its halt, and has no copy of it.
    """


class TaskExited(RumpelError):
    """The kernel task that was to make the call has exited, or was killed."""


class CloneError(RumpelError):
    """The process of a clone was killed or has exited, or what it raised cannot be pickled.

    Args:
        reason: what happened.
        exitcode: of the process, negative for a signal; None if it did raise something.
    """

    def __init__(self, reason: str, exitcode: int | None = None) -> None:
        super().__init__(reason)
        self.exitcode = exitcode


class SandboxError(RumpelError):
    """The process of a kernel in a sandbox has died, or could not be confined.

    Args:
        reason: what happened.
        log: the tail of the kernel's log.
    """

    def __init__(self, reason: str, log: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.log = log


class Deadlock(RumpelError):
    """On a virtual clock a call waits for something that nobody can ever do.

    No timer is set in any kernel of the clock and no other caller is inside one.
    """


class DeviceError(RumpelError):
    """A device model or the back end behind it failed."""
