# SPDX-License-Identifier: GPL-2.0-only
"""The agent's idea of how long instructions are, beside that of binutils."""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path

import pytest

from tests.run.conftest import HERE, installed

AGENT = HERE.parents[1] / "runtime/intercept/agent"
LINE = re.compile(r"^ *([0-9a-f]+):\t((?:[0-9a-f]{2} )+)\s*\t(\S+)", re.M)
LIBRARIES = ["libc.so.6", "libm.so.6"]
"""Ordinary code, floating point, vectors of all sizes."""


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = tmp_path_factory.mktemp("length") / "length.so"
    source = AGENT / "length.c"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", source, "-o", library], check=True)
    return ctypes.CDLL(str(library))


@pytest.mark.parametrize("name", LIBRARIES)
def test_every_instruction_of_a_library(decoder: ctypes.CDLL, name: str) -> None:
    path = Path("/lib/x86_64-linux-gnu") / name
    listing = subprocess.run(
        [installed("objdump"), "-d", "-w", path], capture_output=True, text=True, check=True
    ).stdout
    # A part of them, which has all kinds.
    found = [(bytes.fromhex(m[2]), m[3]) for m in LINE.finditer(listing)][::7]
    assert len(found) > 10_000
    # Each by itself, with what may not be read as a part of it behind.
    text = ctypes.create_string_buffer(b"".join(code.ljust(32, b"\x90") for code, _ in found))
    at, wrong = ctypes.addressof(text), []
    for code, mnemonic in found:
        length = decoder.instruction_length(ctypes.c_void_p(at), ctypes.c_void_p(at + 32))
        # objdump shows a prefix by itself where it knows no better, and fwait with what follows.
        known = mnemonic != "(bad)" and not mnemonic.startswith("rex") and code[0] != 0x9B
        if known and length != len(code):
            wrong.append((code.hex(), mnemonic, length))
        at += 32
    assert not wrong


def test_beginnings_are_proved(decoder: ctypes.CDLL) -> None:
    """Where bytes of another instruction look like one, nothing is said to begin."""
    nops = b"\x90" * 100
    mov, syscall = b"\xb8\x01\x00\x00\x00", b"\x0f\x05"
    # mov $1, %eax; mov $1, %r8d; movl $1, -0x48(%rdi); mov $0x1b8.., %rax
    for before, begins in ((b"", True), (b"\x41", False), (b"\xc7\x47", False), (b"\x48", False)):
        code = nops + before + mov + syscall
        text = ctypes.create_string_buffer(code)
        at = ctypes.addressof(text)
        answer = decoder.instruction_begins(
            ctypes.c_void_p(at + len(nops) + len(before)), ctypes.c_void_p(at)
        )
        assert answer & 0xFF == begins, before
