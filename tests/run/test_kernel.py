# SPDX-License-Identifier: GPL-2.0-only
"""Programs on a library kernel: what Linux promises of descriptors, signals and processes.

The programs pass without us too, so that their checks are right.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.run.conftest import Build, OnKernel, run, wait_until
from tests.run.test_programs import PROGRAMS

pytestmark = pytest.mark.kernel

ECHO = """
import socket, threading
server = socket.create_server(("127.0.0.1", 7777))
def serve():
    peer, _ = server.accept()
    with peer:
        while data := peer.recv(1000):
            peer.sendall(data)
thread = threading.Thread(target=serve)
thread.start()
with socket.create_connection(("127.0.0.1", 7777)) as c:
    for i in range(200):
        c.sendall(b"%d" % i)
        assert c.recv(100) == b"%d" % i
thread.join()
print("ok", server.fileno())
"""


ACCEPT = """
import socket
server = socket.create_server(("127.0.0.1", 1))
print(1, flush=True)
server.accept()
"""

ASKS = """
import fcntl, os, socket, sys
told = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
told.bind(("127.0.0.1", 7777))
told.set_inheritable(True)
fcntl.fcntl(told, fcntl.F_SETOWN, os.getpid())
fcntl.fcntl(told, fcntl.F_SETFL, os.O_ASYNC)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1], str(told.fileno())])
"""

ASKS_NO_MORE = """
import fcntl, signal, socket, sys, time
signals = []
signal.signal(signal.SIGIO, lambda *_: signals.append(1))
told, peer = socket.socket(fileno=int(sys.argv[1])), socket.socket(type=socket.SOCK_DGRAM)
def send():
    peer.sendto(b"x", told.getsockname())
    assert told.recv(1) == b"x"
send()
for _ in range(1000):
    if not signals:
        time.sleep(0.01)
print(bool(signals))
fcntl.fcntl(told, fcntl.F_SETFL, 0)
time.sleep(0.05)
signals.clear()
send()
time.sleep(0.05)
print(signals)
"""


def test_echo(on_kernel: OnKernel) -> None:
    """Python talks to itself over a kernel that nobody else can reach."""
    done = on_kernel.run("--net", "none", program=["/usr/bin/python3", "-c", ECHO])
    assert (done.stdout, done.stderr, done.returncode) == ("ok 3\n", "", 0)


def test_signals_asked_for_before_an_exec(on_kernel: OnKernel) -> None:
    """A program that clears the O_ASYNC that it has inherited gets no SIGIO any more."""
    program = ["/usr/bin/python3", "-c", ASKS, ASKS_NO_MORE]
    done = on_kernel.run("--net", "none", program=program)
    assert (done.stdout, done.stderr, done.returncode) == ("True\n[]\n", "", 0)


@pytest.mark.parametrize("name", ["mixed", "calls"])
def test_checks_are_right(build: Build, name: str) -> None:
    done = run([str(build(name, "dynamic"))])
    assert (done.stdout, done.returncode) == ("failures: 0\n", 0)


@pytest.mark.parametrize("name", ["mixed", "calls"])
@pytest.mark.parametrize(
    ("kind", "trap"), [("dynamic", "auto"), ("musl", "auto"), ("dynamic", "seccomp")]
)
def test_sockets_of_the_kernel(
    on_kernel: OnKernel, build: Build, kind: str, trap: str, name: str
) -> None:
    """Among pipes, files and timers of the host's; with signals, threads and processes."""
    done = on_kernel.run("--net", "none", "--trap", trap, program=[str(build(name, kind))])
    assert (done.stdout, done.stderr, done.returncode) == ("failures: 0\n", "", 0)


@pytest.mark.parametrize("name", PROGRAMS)
def test_linux_holds(on_kernel: OnKernel, build: Build, name: str) -> None:
    """What holds under the agent does so with a kernel behind it."""
    done = on_kernel.run("--net", "none", program=[str(build(name, "dynamic"))])
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_pages_that_are_taken_away_are_nobodys_signal(on_kernel: OnKernel, build: Build) -> None:
    """Sleeps and waits go on, and children of vfork live, while others unmap what they had."""
    done = on_kernel.run("--net", "none", program=[str(build("pages", "dynamic"))])
    assert (done.stdout.split("\n")[-2:], done.stderr, done.returncode) == (
        ["failures: 0", ""],
        "",
        0,
    ), done.stdout


def test_pages_that_are_taken_away_without_room_for_signals(
    on_kernel: OnKernel, build: Build
) -> None:
    """What tells of them is known by itself where the host forgets what it says."""
    program = ["prlimit", "--sigpending=0", str(build("pages", "dynamic"))]
    done = on_kernel.run("--net", "none", program=program)
    assert (done.stdout.split("\n")[-2:], done.stderr, done.returncode) == (
        ["failures: 0", ""],
        "",
        0,
    ), done.stdout


BEYOND = """
import mmap, os
os.mkdir("/kernels")
file = os.open("/kernels/file", os.O_RDWR | os.O_CREAT)
os.ftruncate(file, 8192)
memory = mmap.mmap(file, 8192)
memory[0] = 1
os.ftruncate(file, 4096)
print(memory[0], flush=True)
memory[5000]
"""


def test_beyond_the_end_of_a_mapped_file(on_kernel: OnKernel) -> None:
    """It is SIGBUS, as mmap(2) has it, and not SIGSEGV."""
    options = ["--net", "none", "--path", "/kernels"]
    done = on_kernel.run(*options, program=["/usr/bin/python3", "-c", BEYOND])
    assert (done.stdout, done.returncode) == ("1\n", -signal.SIGBUS)


def test_the_host_has_another_network(on_kernel: OnKernel) -> None:
    """A port that is taken on the host is free, and the interfaces are the kernel's."""
    done = on_kernel.sh("ip -o link; cat /proc/net/dev")
    assert done.stdout.count(" lo:") == 2, done.stdout + done.stderr
    assert "eth0" not in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGSEGV, signal.SIGSYS, signal.SIGKILL])
def test_a_signal_ends_a_program_as_ever(on_kernel: OnKernel, number: signal.Signals) -> None:
    done = on_kernel.sh(f"kill -{number.value} $$")
    assert done.returncode == -number


def test_a_signal_ends_a_program_in_a_call(on_kernel: OnKernel) -> None:
    """One that waits in the kernel dies at once, with its own status."""
    with on_kernel.start(
        "--net", "none", program=["/usr/bin/python3", "-c", ACCEPT], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"1\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM


SHORT_LIVES = """
import collections, random, subprocess, time
ends = collections.Counter()
for i in range(300):
    child = subprocess.Popen(["sleep", "10"])
    time.sleep(random.random() * 0.006)
    child.terminate()
    ends[child.wait()] += 1
print(dict(ends))
"""


def test_a_signal_ends_a_program_that_begins(on_kernel: OnKernel) -> None:
    """One that comes while the agent makes a program ready is not lost, and not another."""
    done = on_kernel.run("--net", "none", program=["/usr/bin/python3", "-c", SHORT_LIVES])
    assert (done.stdout, done.stderr) == ("{-15: 300}\n", "")


SMAPS = """
total = size = 0
for line in open("/proc/self/smaps"):
    if line.startswith("Size:"):
        size = int(line.split()[1])
    elif line.startswith("VmFlags:") and " wr " in line and " dd" not in line:
        total += size
print(total)
"""


def test_a_core_is_the_programs(on_kernel: OnKernel) -> None:
    """The memory of the kernel, which all its programs share, is not dumped with one of them."""
    done = on_kernel.run("--net", "none", program=["/usr/bin/python3", "-c", SMAPS])
    assert 0 < int(done.stdout) < 100 << 10, "KiB"


def test_who_is_killed_takes_nobody_along(on_kernel: OnKernel) -> None:
    """A process that is killed while it waits is gone for the kernel, and that is all."""
    script = """
        port=:1388  # 5000; states 0A and 01 are LISTEN and ESTABLISHED, see proc_net_tcp
        nc -l 127.0.0.1 5000 </dev/null >/dev/null & victim=$!
        until grep -q "$port 00000000:0000 0A" /proc/net/tcp; do sleep 0.02; done
        nc 127.0.0.1 5000 & peer=$!
        until grep -q "$port 0100007F:[0-9A-F]* 01" /proc/net/tcp; do sleep 0.02; done
        sleep 0.1  # most often it waits for data then; it may be killed anywhere
        kill -9 $victim; wait $victim || true; wait $peer; echo over
        ip -o link show lo | wc -l
    """
    done = on_kernel.sh(script)
    assert done.stdout == "over\n1\n", done.stderr


def test_background_processes_keep_the_kernel(on_kernel: OnKernel, tmp_path: Path) -> None:
    """It lives as long as any process of the program, also one that has outlived its parent."""
    mark = tmp_path / "mark"
    done = on_kernel.sh(f"(sleep 1; ip -o link > {mark}) >/dev/null 2>&1 &")
    assert done.returncode == 0
    assert wait_until(lambda: mark.exists() and "lo" in mark.read_text())


def test_many_processes(on_kernel: OnKernel) -> None:
    """Children come and go while others talk."""
    script = """
        python3 -m http.server -b 127.0.0.1 80 -d /etc >/dev/null 2>&1 & server=$!
        until curl -so /dev/null http://127.0.0.1/; do sleep 0.05; done
        for i in $(seq 40); do curl -sfo /dev/null http://127.0.0.1/passwd & done
        wait $(jobs -p | tail -n +2); kill $server; wait $server || true; echo ok
    """
    assert on_kernel.sh(script).stdout == "ok\n"


def test_explain_says_the_rule(on_kernel: OnKernel, tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = on_kernel.run(
        *("--net", "none", "--explain", "trace", "--explain-to", str(log)),
        program=["ip", "-o", "link"],
    )
    assert done.returncode == 0
    said = {line.partition("] ")[2] for line in log.read_text().splitlines()}
    assert "socket: kernel: family 16" in said
    assert "bind: kernel: descriptor" in said
    assert "exit_group: host: no rule" in said


def test_io_uring_is_refused(on_kernel: OnKernel) -> None:
    """So that programs fall back to what is intercepted."""
    script = "import ctypes; c = ctypes.CDLL(None, use_errno=True); c.syscall(425, 1, 0);"
    script += "print(ctypes.get_errno())"
    done = on_kernel.run("--net", "none", program=["/usr/bin/python3", "-c", script])
    assert done.stdout == "38\n"


MANY = """
import os, resource, socket
resource.setrlimit(resource.RLIMIT_NOFILE, (2000, 2000))
fds = []
for n in range(750):
    fds += [os.open("/dev/null", os.O_RDONLY), socket.socket().detach()]
for fd in fds:
    os.close(fd)
print(len(set(fds)), max(fds) - len(fds))
"""


def test_many_descriptors(on_kernel: OnKernel) -> None:
    """The kernel's own are none that a program is given: 64 of them, and four of the agent's."""
    done = on_kernel.run("--net", "none", program=["/usr/bin/python3", "-c", MANY])
    assert done.stdout == "1500 70\n", done.stderr


def test_in_parallel(on_kernel: OnKernel) -> None:
    """Each has a kernel of its own: the same port, at the same time."""
    results: list[str] = []

    def one() -> None:
        program = ["/usr/bin/python3", "-c", ECHO]
        results.append(on_kernel.run("--net", "none", program=program).stdout)

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["ok 3\n"] * 3


def test_the_loss_of_the_kernel_is_no_hang(on_kernel: OnKernel) -> None:
    """If its keeper is killed, all who wait get an error and end."""
    with on_kernel.start(
        *("--net", "none", "--name", "lost"),
        program=["/usr/bin/python3", "-c", ACCEPT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.readline()
        os.kill(keeper_of(process.pid), signal.SIGKILL)
        assert process.wait(60) == 125
        said = process.stderr.read()
        assert b"the library kernel: it is lost: its keeper" in said, said
    for left in (Path(on_kernel.environment["XDG_RUNTIME_DIR"]) / "rumpel").iterdir():
        left.unlink()


def test_who_is_killed_inside_is_named(on_kernel: OnKernel, build: Build) -> None:
    """SIGKILL in the middle of kernel code takes the kernel along: others end, and say why."""
    with on_kernel.start(
        *("--net", "none"),
        program=[str(build("stuck", "dynamic"))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        victim = int(process.stdout.readline())
        # A fault that is not over: proc_pid_syscall(5) has no call, and is not "running".
        assert wait_until(lambda: Path(f"/proc/{victim}/syscall").read_text().startswith("-1 "))
        os.kill(victim, signal.SIGKILL)
        assert process.wait(60) == 125
        said = process.stderr.read().decode()
        assert f"it is lost: process {victim} was killed in the middle of it" in said, said


def keeper_of(pid: int) -> int:
    """The process that keeps the kernel of a program: both have the kernel's memory."""
    memory = (Path(f"/proc/{pid}/fd/900")).stat().st_ino
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "comm").read_text() != "rumpel-shared\n":
                continue
            if (entry / "fd/900").stat().st_ino == memory:
                return int(entry.name)
    raise AssertionError("no keeper")
