# SPDX-License-Identifier: GPL-2.0-only
"""Names for addresses in a kernel that does not know them itself.

A profile without KALLSYMS prints bare addresses in its back traces. The file vmlinux
that was built with the image has the names, if it is still there.

Source: elf(5).
"""

from __future__ import annotations

import bisect
import os
import struct
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

__all__ = ["Symbols", "addresses", "of_image"]

_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_SHT_SYMTAB = 2
_STT_FUNC = 2


class Symbols:
    """The functions of a kernel.

    Args:
        functions: address, size and name of each.
        base: what is added to the addresses.
    """

    def __init__(self, functions: Iterable[tuple[int, int, str]], base: int = 0) -> None:
        self._functions = sorted(functions)
        self._starts = [start for start, _, _ in self._functions]
        self._base = base

    def name(self, address: int) -> str | None:
        """Name an address as the kernel does, or None if it lies in no function.

        Example:
            >>> Symbols([(0x100, 0x40, "do_exit")], base=0x1000).name(0x1110)
            'do_exit+0x10/0x40'
        """
        offset = address - self._base
        at = bisect.bisect_right(self._starts, offset) - 1
        if at < 0:
            return None
        start, size, name = self._functions[at]
        if offset - start >= size:
            return None
        return f"{name}+{offset - start:#x}/{size:#x}"


def of_image(image: str | bytes, base: int) -> Symbols:
    """The functions of an image that was loaded at ``base``; none if they are not known."""
    path = os.path.join(os.path.dirname(os.fsdecode(image)), "vmlinux")  # noqa: PTH118, PTH120
    try:
        with open(path, "rb") as file:
            data = file.read()
        functions = [(s[4], s[5], name) for s, name in _symbols(data) if s[1] & 15 == _STT_FUNC]
        return Symbols((x for x in functions if x[1]), base)
    except (OSError, struct.error, IndexError, ValueError):
        return Symbols([])


def addresses(vmlinux: Path, names: Collection[str]) -> dict[str, int]:
    """Where some symbols lie, before the kernel's load address is added.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is no ELF file.
    """
    return {name: s[4] for s, name in _symbols(vmlinux.read_bytes()) if name in names}


def _symbols(data: bytes) -> Iterator[tuple[tuple[int, ...], str]]:
    """The symbol table of an ELF file."""
    if data[:6] != b"\x7fELF\2\1":
        raise ValueError("not an ELF file")
    (offset,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    sections = [_SECTION.unpack_from(data, offset + i * size) for i in range(count)]
    for section in sections:
        if section[1] != _SHT_SYMTAB:
            continue
        names = sections[section[6]][4]
        for symbol in _SYMBOL.iter_unpack(data[section[4] : section[4] + section[5]]):
            start = names + symbol[0]
            yield symbol, data[start : data.index(0, start)].decode()
