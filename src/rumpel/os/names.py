# SPDX-License-Identifier: GPL-2.0-only
"""Which names of the module :mod:`os` a kernel has, where they come from, and why some are missing.

The lists are of Python 3.11 to 3.13; docs/os.md shows them.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["ABSENT", "INTERNAL", "STDLIB", "from_host", "page", "why_absent"]

_STDLIB = """
    environ environb fdopen fsdecode fsencode fwalk get_exec_path getenv getenvb makedirs
    removedirs renames supports_bytes_environ supports_dir_fd supports_effective_ids
    supports_fd supports_follow_symlinks walk
"""
STDLIB = frozenset(_STDLIB.split())
"""The standard library's own Python code, executed with the kernel's functions."""

_HOSTS = """
    PathLike WCOREDUMP WEXITSTATUS WIFCONTINUED WIFEXITED WIFSIGNALED WIFSTOPPED WSTOPSIG
    WTERMSIG altsep ctermid curdir defpath devnull error extsep linesep major makedev minor
    name pardir pathsep sched_param sep stat_result statvfs_result strerror terminal_size
    times_result uname_result waitid_result waitstatus_to_exitcode
"""
_HOST = frozenset(_HOSTS.split())
"""The host's own, besides constants: types and functions that depend on no kernel."""

ABSENT = {
    "a kernel runs no programs: host code is the user mode of its tasks; see Kernel.process": """
        execl execle execlp execlpe execv execve execvp execvpe fork forkpty popen posix_spawn
        posix_spawnp register_at_fork spawnl spawnle spawnlp spawnlpe spawnv spawnve spawnvp
        spawnvpe system""",
    "it would end the host's process; use Kernel.halt": "_exit abort",
    "only a C library knows": "confstr confstr_names",
    "environ has no second copy in a C library": "putenv unsetenv",
    "nobody logs in to a kernel without programs": "getlogin login_tty",
}
"""Reason and names."""

INTERNAL = frozenset(("GenericAlias", "Mapping", "MutableMapping", "abc", "st", "sys"))
"""What the module imports for itself; with all names that begin with an underscore."""


def from_host(name: str) -> bool:
    """Is it the host's own?"""
    return name in _HOST or (
        name.isupper() and isinstance(getattr(os, name, None), int) and hasattr(os, name)
    )


def why_absent(name: str) -> str | None:
    """Why a kernel has not got a name that the module os has."""
    for reason, names in ABSENT.items():
        if name in names.split():
            return reason
    return None


def page(own: Iterable[str]) -> Iterator[str]:
    """The lines of the table in docs/os.md.

    Args:
        own: names of the functions and types that are the kernel's own.
    """
    yield "| where from | names |"
    yield "|---|---|"
    yield f"| the kernel's system calls | {_listed(own)} |"
    yield f"| the standard library's own code, on top of these | {_listed(STDLIB)} |"
    yield f"| the host's: constants, and | {_listed(_HOST)} |"
    for reason, names in ABSENT.items():
        yield f"| missing: {reason} | {_listed(names.split())} |"


def _listed(names: Iterable[str]) -> str:
    return " ".join(f"`{name}`" for name in sorted(names))
