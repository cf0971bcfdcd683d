# SPDX-License-Identifier: GPL-2.0-only
"""What ends a chain: one signal, or a stage that dies. Nobody is left behind."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rumpel.nf import ending
from rumpel.packets import PacketReader

pytestmark = [pytest.mark.kernel, pytest.mark.once]

PATIENCE = 100
WORDS = [sys.executable, "-c", "from rumpel.cli import main; main()", "nf", "chain"]


def read(fd: int) -> bytes:
    """What comes next; nothing at the end, when nobody has the other side any more."""
    assert select.select([fd], [], [], PATIENCE)[0], "nothing comes, and there is no end"
    return os.read(fd, 1000)


def defaults() -> None:
    """Where the tests run, some may be ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def children(pid: int) -> list[int]:
    """The processes that one has started, in that order."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextlib.contextmanager
def echoed(
    image: str, text: str, *how: str, expected: bytes = b"hello"
) -> Iterator[subprocess.Popen[bytes]]:
    """A chain in a group of its own that has said something, and waits for more input."""
    with subprocess.Popen(
        [*WORDS, *how, "--image", image, text],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=defaults,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        os.write(process.stdin.fileno(), b"hello")
        answer = b""
        while expected not in answer:
            answer += (more := read(process.stderr.fileno()))
            assert more, answer
        try:
            yield process
        finally:
            process.kill()


def rest(process: subprocess.Popen[bytes]) -> bytes:
    """What it says until its end, and that of all its stages."""
    assert process.stderr is not None
    said = b""
    while more := read(process.stderr.fileno()):
        said += more
    assert b"Traceback" not in said, said
    return said


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=str
)
def test_one_signal_ends_all(default_image: str, protocol: str, number: signal.Signals) -> None:
    """Sent to the command alone, while a stage waits for its standard input."""
    text = f"{protocol} 10.0.0.2 7 | route | host 10.0.0.2 --echo 7"
    with echoed(default_image, text) as process:
        process.send_signal(number)
        status = process.wait(PATIENCE)
        assert status == (-number if number == signal.SIGKILL else 128 + number)
        rest(process)


@pytest.mark.parametrize("how", [[], ["--fuse"]], ids=["pipes", "fused"])
def test_an_interrupt_of_the_terminal(default_image: str, how: list[str]) -> None:
    """It comes to all processes at once, and the stages hear of it from the command, too."""
    text = "tcp 10.0.0.2 7 | route | host 10.0.0.2 --echo 7"
    with echoed(default_image, text, *how) as process:
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(PATIENCE) == 128 + signal.SIGINT
        rest(process)


def test_stages_clean_up(default_image: str, tmp_path: Path) -> None:
    """What was recorded is whole, and the last table is there."""
    trace = tmp_path / "trace.pcap"
    text = f"tcp 10.0.0.2 7 | stats | pcap -w {trace} | host 10.0.0.2 --echo 7"
    with echoed(default_image, text) as process:
        process.terminate()
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM
        assert b"tcp 10.0.0.1." in rest(process)
    with trace.open("rb") as file:
        packets = [p for p in PacketReader(file) if not isinstance(p, bytes)]
    # There and back; if nobody said in time that it had come, it was sent again.
    said = {(p.tcp.sport, p.tcp.sequence) for p in packets if p.tcp and p.payload == b"hello"}
    assert len(said) == 2


@pytest.mark.parametrize(
    ("client", "expected"),
    [("tcp 10.0.0.2 7", b"hello"), ("ping -c 1000000 10.0.0.2", b"bytes from")],
    ids=["tcp", "ping"],
)
def test_a_stage_that_dies(default_image: str, client: str, expected: bytes) -> None:
    """The chain ends with its name, also if nothing is under way that would notice."""
    text = f"{client} | route | nat | route | host 10.0.0.2 --echo 7"
    with echoed(default_image, text, expected=expected) as process:
        stages = children(process.pid)
        assert len(stages) == 5
        os.kill(stages[2], signal.SIGKILL)
        assert process.wait(PATIENCE) == 128 + signal.SIGKILL
        assert b"rumpel nf chain: nat ended with 137" in rest(process)


def test_what_does_not_end_by_itself(default_image: str) -> None:
    """A stage that is stopped, and a program that takes no notice: the command ends both."""
    program = shlex.quote("bash -c 'trap : TERM; echo deaf >&2; while :; do sleep 1; done'")
    text = f"ping -c 1000000 10.0.0.2 | route | host 10.0.0.2 --run {program}"
    with echoed(default_image, text, expected=b"deaf") as process:
        stages = children(process.pid)
        os.kill(stages[1], signal.SIGSTOP)
        process.terminate()
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM
        # Nobody has its standard error any more, the program neither.
        rest(process)
        assert not [pid for pid in stages if Path(f"/proc/{pid}").exists()]


def test_a_signal_wakes_once() -> None:
    """Who goes on to wait after one sleeps, and the exception comes once."""
    with ending.ended_by_signals(PATIENCE):
        poll = ending.Poll()
        with pytest.raises(ending.Ended):
            os.kill(os.getpid(), signal.SIGTERM)
            poll.poll()
        assert poll.poll(0) == []
        assert not select.select([ending._reader], [], [], 0)[0]
        os.kill(os.getpid(), signal.SIGTERM)  # it is known already


def test_a_forked_process_is_not_asked_for_its_parent() -> None:
    """Behind its own part, a child has its parent's handlers again: they let it end."""
    with ending.ended_by_signals():
        pid = os.fork()
        if not pid:
            code = 1
            with contextlib.suppress(BaseException):
                with ending.ended_by_signals():
                    pass
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0)
                code = 0
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_an_alarm_of_the_callers() -> None:
    """It is not touched if no signal came."""
    signal.setitimer(signal.ITIMER_REAL, 1000)
    try:
        with ending.ended_by_signals():
            pass
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
