# SPDX-License-Identifier: GPL-2.0-only
"""Kernels in processes that can do nothing: for disks that nobody should trust.

:func:`boot` is :func:`rumpel.boot` for disks that come from strangers. File systems trust
their disks, and a kernel in this process could do what this process can. Here it lives in a
child with no privileges, whose only system calls are those on what is open already, and this
process makes the kernel's system calls through a socket. docs/security.md says what that
protects from.

``spawn`` starts the child, ``process`` is the child seen from here, ``native`` the binding's
kernel for it; ``early`` is how the child begins, ``worker`` what it does, ``leaving``, ``confine``
and ``seccomp`` how it gives up everything; ``channel`` is between them.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing has it, which takes as long to import as a kernel to boot
if TYPE_CHECKING:
    from rumpel.sandbox.disks import DiskSpec
    from rumpel.sandbox.kernel import SandboxedKernel, boot

__all__ = ["DiskSpec", "SandboxedKernel", "boot"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import the rest when it is used: the child has a head start."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        module = "disks" if name == "DiskSpec" else "kernel"
        value = globals()[name] = getattr(import_module(f"rumpel.sandbox.{module}"), name)
        return value

    def __dir__() -> list[str]:
        """All names, also those that nobody has used yet."""
        return sorted({*globals(), *__all__})
