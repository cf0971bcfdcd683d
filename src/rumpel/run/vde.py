# SPDX-License-Identifier: GPL-2.0-only
"""A port of a VDE switch (vde_switch(1)), whose frames a kernel in another process has.

One connects to the switch's control socket, says where one's datagram socket is, and is told
where the port's is; then each datagram is a frame. The port exists as long as the connection.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from pathlib import Path

from rumpel.errors import DeviceError

__all__ = ["MTU", "connect"]

MTU = 1500
"""Frames of more are cut off by vde_switch."""

_MAGIC, _VERSION, _NEW_PORT = 0xFEEDFACE, 3, 0
_ADDRESS = "H108s"
"""struct sockaddr_un of unix(7)."""
_REQUEST = struct.Struct(f"=III{_ADDRESS}128s")
_ANSWER = struct.Struct(f"={_ADDRESS}")
_PATIENCE = 5.0


def connect(path: str) -> list[int]:
    """Get a port.

    Args:
        path: of the switch: its directory, or the control socket in it.

    Returns:
        The socket of its frames, and the connection, which is to be kept as long.

    Raises:
        DeviceError: if there is no switch, or it does not answer as one.
    """
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    frames = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    own: Path | None = None
    try:
        control.settimeout(_PATIENCE)
        name = Path(path) / "ctl" if Path(path).is_dir() else Path(path)
        control.connect(os.fspath(name))
        own = _bind(frames, name.parent)
        description = b"rumpel run"
        control.sendall(
            _REQUEST.pack(
                _MAGIC, _VERSION, _NEW_PORT, socket.AF_UNIX, os.fsencode(own), description
            )
        )
        answer = control.recv(_ANSWER.size)
        if len(answer) != _ANSWER.size:
            raise DeviceError(f"{path}: this is no VDE switch")
        _, port = _ANSWER.unpack(answer)
        frames.connect(port.rstrip(b"\0"))
    except OSError as e:
        control.close()
        frames.close()
        raise DeviceError(f"{path}: {_reason(e)}") from None
    except BaseException:
        control.close()
        frames.close()
        raise
    finally:
        # The switch has connected its own end: nobody needs the name any more.
        if own:
            own.unlink(missing_ok=True)
    control.setblocking(True)
    return [frames.detach(), control.detach()]


def _reason(error: OSError) -> str:
    if isinstance(error, BrokenPipeError | ConnectionResetError):
        return "this is no VDE switch"
    if isinstance(error, TimeoutError):
        return "the switch does not answer"
    return error.strerror or str(error)


def _bind(frames: socket.socket, beside: Path) -> Path:
    """Where the switch can reach it: beside its own socket, or where everybody may write."""
    for directory in (beside, Path("/tmp")):
        path = directory / f".rumpel-{os.getpid()}-{frames.fileno()}"
        with contextlib.suppress(PermissionError):
            frames.bind(os.fspath(path))
            return path
    raise PermissionError(f"{beside} cannot be written to")
