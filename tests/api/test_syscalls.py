# SPDX-License-Identifier: GPL-2.0-only
"""The table of system calls, and what is said about names that are not in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rumpel import syscalls

HEADER = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")


def test_numbers_are_those_of_the_headers() -> None:
    found = re.findall(r"^#define __NR_(\w+) (\d+)$", HEADER.read_text(), re.M)
    assert len(found) > 350
    renamed = {"umount2": "umount2", "_sysctl": "_sysctl"}
    for name, number in found:
        assert syscalls.lookup(renamed.get(name, name)).nr == int(number), name


def test_numbers_are_unique() -> None:
    numbers = [syscalls.lookup(name).nr for name in syscalls.names()]
    assert len(set(numbers)) == len(numbers)
    assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("opneat", "did you mean openat or openat2?"),
        ("getpdi", "getpid"),
        ("clock_getime", "clock_gettime"),
        ("umount", "did you mean umount2"),
    ],
)
def test_near_names_are_suggested(name: str, near: str) -> None:
    with pytest.raises(ValueError, match=re.escape(near)) as caught:
        syscalls.lookup(name)
    assert str(caught.value).startswith(f"there is no system call {name!r}; did you mean")


def test_a_name_like_no_other() -> None:
    with pytest.raises(ValueError, match=r"^there is no system call 'qqqqqqqq'$"):
        syscalls.lookup("qqqqqqqq")


def test_every_name_in_the_lists_is_a_system_call() -> None:
    for name in (*syscalls._LONG, *syscalls._SIZED):
        assert syscalls.lookup(name)


def test_sizes_are_within_the_arguments() -> None:
    for name, index in syscalls._SIZED.items():
        assert index < syscalls.lookup(name).least, name
