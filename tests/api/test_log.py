# SPDX-License-Identifier: GPL-2.0-only
"""Records of the log, and what exceptions make of them."""

from __future__ import annotations

import logging
import pickle

import pytest

from rumpel.errors import BootError, KernelPanic
from rumpel.forwarding import _emitter
from rumpel.log import boot_panic, panic
from rumpel.records import LogRecord, parse

OOPS = b"""\
6,1,100,-;Linux version 6.12
4,13,900,-;WARNING: something else
4,14,901,-;Call Trace:
4,15,902,-; elsewhere+0x1/0x2
4,16,903,-;end of it
1,2,1000200,-;BUG: kernel NULL pointer dereference, address: 0000000000000000
4,3,1000201,-;RIP: 0010:lost+0x5/0x10
4,4,1000202,-;Call Trace:
4,5,1000203,-; <TASK>
4,6,1000204,-; lost+0x5/0x10
4,7,1000205,-; finder+0x1a/0x20
4,8,1000206,-; </TASK>
4,9,1000207,-;Modules linked in:
0,10,1000300,-;Kernel panic - not syncing: Fatal exception
4,11,1000301,-;Call Trace:
4,12,1000302,-; panic+0x1/0x2
"""


def test_records() -> None:
    data = b"6,1,1200,-;hello; world\n SUBSYSTEM=net\n30,2,2000000,c;a\\x0ab \\xc3\\xa4\n"
    assert list(parse(data)) == [
        LogRecord(6, 0.0012, "hello; world"),
        LogRecord(6, 2.0, "a\nb ä"),
    ]


@pytest.mark.parametrize("line", [b"", b"no separator", b"6,1;x", b"x,1,2,-;x", b"6,1,y,-;x"])
def test_malformed_lines_are_left_out(line: bytes) -> None:
    assert list(parse(line + b"\n6,5,7,-;fine\n")) == [LogRecord(6, 7e-6, "fine")]


def test_a_record_looks_like_a_line_of_dmesg() -> None:
    assert str(LogRecord(6, 1.5, "text")) == "[    1.500000] text"


def test_a_panic_has_reason_log_and_backtrace() -> None:
    error = panic(OOPS)
    assert str(error) == error.reason
    assert error.reason == (
        "BUG: kernel NULL pointer dereference, address: 0000000000000000 (Fatal exception)"
    )
    assert error.backtrace == ["lost+0x5/0x10", "finder+0x1a/0x20"]
    assert error.log.splitlines()[0] == "[    0.000100] Linux version 6.12"


def test_a_panic_without_words() -> None:
    assert panic(b"").reason == "the kernel ended without a word"


def test_a_panic_survives_pickling() -> None:
    error = panic(OOPS)
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, KernelPanic)
    assert (again.reason, again.log, again.backtrace) == (
        error.reason,
        error.log,
        error.backtrace,
    )


def test_a_panic_at_boot_is_a_boot_error_with_the_log() -> None:
    error = boot_panic(OOPS)
    assert isinstance(error, BootError)
    assert "panicked while it booted: BUG: kernel NULL" in str(error)
    assert "Linux version 6.12" in error.__notes__[0]


def test_levels_of_logging(caplog: pytest.LogCaptureFixture) -> None:
    emit = _emitter(logging.getLogger("kernel"))
    with caplog.at_level(logging.DEBUG):
        for level in range(8):
            emit(LogRecord(level, 0.0, f"level {level} 100%"))
    names = [r.levelname for r in caplog.records]
    assert names == ["CRITICAL"] * 3 + ["ERROR", "WARNING", "INFO", "INFO", "DEBUG"]
    assert caplog.records[3].getMessage() == "level 3 100%"
