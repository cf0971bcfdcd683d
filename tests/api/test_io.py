# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.open`` beside the built-in ``open``: each story is told to both."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rumpel import Kernel
from tests.api.stories import relative

pytestmark = pytest.mark.kernel

Story = Callable[[Any, str], Any]
STORIES: list[Story] = []


def story(function: Story) -> Story:
    """A function of an open and a path; what it returns is compared."""
    STORIES.append(function)
    return function


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.__name__)
def test_same_end(story: Story, kernel: Kernel, tmp_path: Path) -> None:
    kernel.os.mkdir("/tmp/test")
    ours = story(kernel.open, "/tmp/test/x")
    theirs = story(open, str(tmp_path / "x"))
    assert relative(ours, "/tmp/test") == relative(theirs, str(tmp_path))


@story
def text(open: Any, path: str) -> Any:
    with open(path, "w", encoding="utf-8") as file:
        result = [file.write("grüße\nzwei\r\n"), file.mode, file.name, file.encoding]
    with open(path, encoding="utf-8") as file:
        result += [file.read(2), file.tell() > 0, file.readline(), list(file), file.closed]
    with open(path, newline="", encoding="utf-8") as file:
        result += [file.readlines(), file.newlines, file.line_buffering]
    with open(path, "a", encoding="latin-1", errors="replace") as file:
        file.write("ä€")
    with open(path, "rb") as file:
        return [*result, file.read(), file.mode, file.name, file.closed]


@story
def binary(open: Any, path: str) -> Any:
    data = bytes(range(256)) * 1000
    with open(path, "wb") as file:
        result = [type(file).__name__, file.write(data), file.tell(), file.seekable()]
    with open(path, "rb") as file:
        result += [type(file).__name__, file.read(3), file.peek(3)[:3], file.seek(-4, 2)]
        result += [file.read(), file.read(), file.seek(5), file.read1(2)]
        buffer = bytearray(10)
        result += [file.readinto(buffer), bytes(buffer)]
    with open(path, "r+b") as file:
        result += [type(file).__name__, file.write(b"xy"), file.read(3), file.truncate(10)]
        result += [file.seek(0), file.read(), file.raw.mode, file.mode]
    return result


@story
def unbuffered(open: Any, path: str) -> Any:
    with open(path, "wb", 0) as file:
        result = [file.write(b"12345"), file.mode, file.tell(), file.readable(), file.writable()]
    with open(path, "rb", 0) as file:
        result += [file.read(2), file.readall(), file.read(), file.seek(0), file.read(-1)]
        buffer = bytearray(2)
        result += [file.seek(1), file.readinto(buffer), buffer.decode(), file.isatty()]
    with open(path, "rb+", 0) as file:
        result += [file.mode, file.truncate(3), file.read()]
    with open(path, "ab", 0) as file:
        result += [file.tell(), file.write(b"z"), file.mode]
    return result


@story
def exclusive(open: Any, path: str) -> Any:
    with open(path, "xb") as file:
        result = [file.mode]
    try:
        open(path, "x")
    except FileExistsError as error:
        return [*result, error.errno, error.filename]


@story
def mistakes(open: Any, path: str) -> Any:
    with open(path, "w"):
        pass
    result: list[Any] = []
    for args, keywords in (
        ((path, "q"), {}),
        ((path, "rw"), {}),
        ((path, "rr"), {}),
        ((path, "bt"), {}),
        ((path, ""), {}),
        ((path, "rbt"), {}),
        ((path, "r", 0), {}),
        ((path, "rb"), {"encoding": "utf-8"}),
        ((path, "rb"), {"newline": ""}),
        ((path, "rb"), {"errors": "ignore"}),
        ((path, "r", -2), {}),
        ((path,), {"encoding": "no-such"}),
        ((path,), {"newline": "x"}),
        ((path,), {"closefd": False}),
        ((3.5,), {}),
        ((-1,), {}),
        ((path + "/nothing",), {}),
        ((path.rpartition("/")[0],), {}),
        ((path.rpartition("/")[0], "wb"), {}),
        ((9999,), {}),
    ):
        try:
            open(*args, **keywords).close()
            result.append("none")
        except (OSError, ValueError, TypeError, LookupError) as error:
            result.append((type(error).__name__, getattr(error, "errno", None)))
    return result


@story
def wrong_direction(open: Any, path: str) -> Any:
    result: list[Any] = []
    with open(path, "wb") as file:
        try:
            file.read()
        except io.UnsupportedOperation as error:
            result.append(str(error))
    with open(path, "rb", 0) as file:
        for call, argument in ((file.write, b"x"), (file.truncate, 0)):
            try:
                call(argument)
            except io.UnsupportedOperation as error:
                result.append(str(error))
    try:
        file.read()
    except ValueError as error:
        result.append(str(error))
    return [*result, file.closed]


def test_an_opener_gets_path_and_flags(kernel: Kernel) -> None:
    seen: list[tuple[str, int]] = []

    def opener(path: str, flags: int) -> int:
        seen.append((path, flags))
        return kernel.os.open(path, flags, 0o600)

    with kernel.open("/tmp/x", "wb", opener=opener) as file:
        file.write(b"x")
    assert seen == [("/tmp/x", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC)]
    assert kernel.os.stat("/tmp/x").st_mode & 0o777 == 0o600


def test_descriptors_as_files(kernel: Kernel) -> None:
    r, w = kernel.os.pipe()
    with kernel.os.fdopen(w, "w") as writer, kernel.open(r, closefd=False) as reader:
        assert writer.fileno() == w
        writer.write("line\n")
        writer.flush()
        assert reader.readline() == "line\n"
    assert kernel.os.read(r, 1) == b""
    kernel.os.close(r)


def test_files_that_grow_and_files_without_size(kernel: Kernel) -> None:
    with kernel.open("/proc/version") as file:
        assert file.read().startswith("Linux version")
    with kernel.open("/proc/self/status", "rb", 0) as raw:
        assert b"Pid:\t1\n" in raw.read()


def test_large_files(kernel: Kernel) -> None:
    data = os.urandom(5 << 20)
    with kernel.open("/tmp/large", "wb") as file:
        assert file.write(data) == len(data)
    with kernel.open("/tmp/large", "rb") as file:
        assert file.read() == data
    raw: Any
    with kernel.open("/tmp/large", "rb", 0) as raw:
        buffer = bytearray(len(data))
        assert raw.readinto(buffer) == len(data)
        assert buffer == data


def test_a_file_that_nobody_closed_is_complained_about(kernel: Kernel) -> None:
    file = kernel.open("/tmp/x", "wb")
    with pytest.warns(ResourceWarning, match="unclosed file"):
        del file
    before = len(kernel.os.listdir("/proc/self/fd"))
    raw = kernel.open("/tmp/x", "rb", 0)
    with pytest.warns(ResourceWarning, match="unclosed file"):
        del raw
    assert len(kernel.os.listdir("/proc/self/fd")) == before


def test_what_was_buffered_is_written_at_the_end(kernel: Kernel) -> None:
    with kernel.open("/tmp/x", "w") as file:
        file.write("not yet")
        assert kernel.os.stat("/tmp/x").st_size == 0
    assert kernel.os.stat("/tmp/x").st_size == 7


def test_a_file_outlives_its_kernel(kernel: Kernel) -> None:
    file = kernel.open("/tmp/x", "rb" if kernel.os.path.exists("/tmp/x") else "wb", 0)
    kernel.halt()
    file.close()
    assert file.closed
