# SPDX-License-Identifier: GPL-2.0-only
"""Execute a program of the host that reads what strangers have made, with little but that.

``python -I -S`` executes :func:`main`: the program gets the files that are named to it, and those
that programs and libraries are in, and no connections but those that it has.

Source: Documentation/userspace-api/landlock.rst; sd_listen_fds(3).
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from rumpel import _native
from rumpel.sandbox import seccomp

__all__ = ["command", "main"]

_EXECUTE, _WRITE, _READ, _READ_DIR, _TRUNCATE = 1, 2, 4, 8, 1 << 14
_PROGRAMS = (
    "/usr", "/bin", "/lib", "/lib64", "/sbin", "/opt", "/etc/ld.so.cache", "/etc/ld.so.preload",
    "/etc/ssl/openssl.cnf", "/nix/store", "/gnu/store",
)  # fmt: skip
_NEWNET = 0x40000000


def command(args: Sequence[str], files: Sequence[tuple[str, bool]]) -> list[str]:
    """What to execute instead of a program.

    Args:
        args: the program, by its path, and its arguments.
        files: that it may open, and whether it may write to them.
    """
    package = Path(__file__).resolve().parents[2]
    code = f"import sys; sys.path.insert(0, {str(package)!r});"
    code += " from rumpel.sandbox.launch import main; main(sys.argv[1:])"
    told = [f"{'rw' if writable else 'r'}:{path}" for path, writable in files]
    return [
        sys.executable, "-I", "-S", "-c", code, str(len(told)), *told, *args
    ]  # fmt: skip


def main(argv: Sequence[str]) -> None:
    """Become the program; descriptor 3 is the socket that it listens on."""
    count = int(argv[0])
    files, args = argv[1 : 1 + count], argv[1 + count :]
    _confine(args[0], files)
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.execv(args[0], list(args))


def _confine(program: str, files: Sequence[str]) -> None:
    rules = [(os.fsencode(path), _of_programs(path)) for path in _PROGRAMS]
    rules.append((os.fsencode(program), _EXECUTE | _READ))
    rules.append((b"/dev/null", _READ | _WRITE))
    for each in files:
        rights, _, path = each.partition(":")
        rules.append((os.fsencode(path), _READ | (_WRITE | _TRUNCATE if rights == "rw" else 0)))
    with contextlib.suppress(OSError):
        _native.unshare(_NEWNET)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _native.landlock(tuple(rules))
    _native.seccomp(seccomp.refusal())


def _of_programs(path: str) -> int:
    """A rule for a file must not have what is for directories."""
    return _EXECUTE | _READ | _READ_DIR if Path(path).is_dir() else _READ
