# SPDX-License-Identifier: GPL-2.0-only
"""Files whose methods are awaited."""

from __future__ import annotations

import asyncio
import io

import pytest

import rumpel

pytestmark = pytest.mark.kernel


def test_as_the_builtin_open(kernel: rumpel.Kernel) -> None:
    """Write, append, read, lines, positions, text and bytes."""

    async def main() -> None:
        async with kernel.aio.open("/tmp/text", "w") as file:
            assert await file.write("eins\nzwei\n") == 10
            await file.writelines(["drei\n", "v\u00fcnf"])
        async with kernel.aio.open("/tmp/text", "a") as file:
            await file.write("\r\nsechs")
        async with kernel.aio.open("/tmp/text") as file:
            assert await file.readline() == "eins\n"
            assert await file.readline(2) == "zw"
            assert await file.read(3) == "ei\n"
            assert [line async for line in file] == ["drei\n", "v\u00fcnf\n", "sechs"]
            assert await file.read() == ""
            await file.seek(0)
            assert len(await file.readlines()) == 5
        raw = await kernel.aio.open("/tmp/text", "rb+")
        assert await raw.read(4) == b"eins"
        assert await raw.tell() == 4
        assert await raw.write(b"!") == 1
        assert await raw.seek(0, io.SEEK_END) == 27
        assert await raw.seek(-5, io.SEEK_CUR) == 22
        assert await raw.read1() == b"sechs"
        assert await raw.truncate(5) == 5
        await raw.flush()
        await raw.close()
        await raw.close()
        with kernel.open("/tmp/text", "rb") as plain:
            assert plain.read() == b"eins!"

    kernel.aio.run(main())


def test_what_comes_in_parts(kernel: rumpel.Kernel) -> None:
    """Lines and characters over the ends of parts; a cancelled read loses nothing."""

    async def main() -> None:
        lines = ["\u00e4" * 50_000 + "\n", "x" * 200_000 + "\r\n", "\n", "\u20ac" * 70_000]
        async with kernel.aio.open("/tmp/text", "w") as file:
            await file.writelines(lines)
        expected = "".join(lines).replace("\r\n", "\n")
        async with kernel.aio.open("/tmp/text") as file:
            assert "".join([line async for line in file]) == expected
            await file.seek(0)
            assert await file.readline(10) == expected[:10]
            assert await file.readline(1 << 20) == expected[10:50_001]
            assert await file.read(100_000) == expected[50_001:150_001]
            assert await file.read() == expected[150_001:]
        r, w = kernel.os.pipe()
        async with kernel.aio.open(r, "rb") as file:
            for wait in (file.read, file.readline):
                for _ in range(3):
                    kernel.os.write(w, b"x" * 1000)
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(wait(), 0.01)
            kernel.os.write(w, b"\nrest")
            kernel.os.close(w)
            assert await file.readline(5000) == b"x" * 5000
            assert await file.read1(500) == b"x" * 500
            assert await file.readline() == b"x" * 500 + b"\n"
            assert await file.read() == b"rest"

    kernel.aio.run(main())


def test_two_wait_for_each_other(kernel: rumpel.Kernel) -> None:
    """Opening a FIFO waits for the other side, reading for data."""

    async def reader() -> list[str]:
        async with kernel.aio.open("/tmp/fifo") as file:
            return [line async for line in file]

    async def writer() -> None:
        async with kernel.aio.open("/tmp/fifo", "w") as file:
            for number in range(3):
                await file.write(f"{number}\n")
                await asyncio.sleep(0.001)

    async def main() -> None:
        kernel.os.mkfifo("/tmp/fifo")
        lines, _ = await asyncio.gather(reader(), writer())
        assert lines == ["0\n", "1\n", "2\n"]

    asyncio.run(main())


def test_what_is_refused(kernel: rumpel.Kernel) -> None:
    async def main() -> None:
        for mode in ("", "rw", "rt+b", "rr", "k"):
            with pytest.raises(ValueError, match="mode"):
                kernel.aio.open("/tmp/x", mode)
        with pytest.raises(TypeError):
            kernel.aio.open(1.5)  # type: ignore[call-overload]
        with pytest.raises(ValueError, match="null byte"):
            await kernel.aio.open("/tmp/\0")
        with pytest.raises(FileNotFoundError):
            await kernel.aio.open("/tmp/none")
        async with kernel.aio.open("/tmp/x", "wb") as file:
            with pytest.raises(io.UnsupportedOperation):
                await file.read()
            with pytest.raises(TypeError):
                await file.write("text")
        with pytest.raises(ValueError, match="closed"):
            await file.write(b"")
        async with kernel.aio.open("/tmp/x") as text:
            with pytest.raises(io.UnsupportedOperation):
                await text.write("text")
        unclosed = await kernel.aio.open("/tmp/x")
        with pytest.warns(ResourceWarning, match="unclosed file"):
            del unclosed

    kernel.aio.run(main())
