# SPDX-License-Identifier: GPL-2.0-only
"""What type checkers know of a user's program; nothing of it is run: ``./dev check`` reads it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import assert_type

import rumpel


def of_files(k: rumpel.Kernel) -> None:
    """Files, and names of files."""
    assert_type(k.open("/a").read(), str)
    assert_type(k.open("/a", "rb").read(), bytes)
    assert_type(k.os.fdopen(3, "rb").read(), bytes)
    assert_type(k.os.listdir("/"), list[str])
    assert_type(k.os.listdir(b"/"), list[bytes])
    with k.os.scandir("/") as entries:
        assert_type([entry.name for entry in entries], list[str])
    assert_type([entry.path for entry in k.os.scandir(b"/")], list[bytes])
    assert_type(k.os.walk("/"), Iterator[tuple[str, list[str], list[str]]])
    assert_type(k.os.path.exists("/"), bool)
    assert_type(k.os.getenv("HOME"), str | None)
    assert_type(k.Path("/a").read_bytes(), bytes)


def of_sockets(k: rumpel.Kernel) -> None:
    """Sockets, and files of them."""
    with k.socket.create_connection(("127.0.0.1", 80)) as sock:
        assert_type(sock.recv(1), bytes)
        assert_type(sock.makefile("rb"), io.BufferedReader)
        assert_type(sock.makefile("w"), io.TextIOWrapper)


async def of_coroutines(k: rumpel.Kernel) -> None:
    """What is awaited."""
    async with k.aio.open("/a") as file:
        assert_type(await file.read(), str)
        assert_type([line async for line in file], list[str])
    async with k.aio.open("/a", "rb") as raw:
        assert_type(await raw.readline(), bytes)
    assert_type(await k.aio.os.read(0, 1), bytes)
