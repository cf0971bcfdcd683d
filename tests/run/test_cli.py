# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel run``: what it says, and that a program's end is its own. Without a kernel."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.run.conftest import CLI, Build, Done, run, under, wait_until

RUN = [*CLI, "run", "--net", "host"]
TRACED = [*RUN, "--explain", "trace"]


def rumpel_run(*arguments: str) -> Done:
    return run([*RUN, *arguments])


def test_status_and_output_are_the_programs() -> None:
    done = rumpel_run("--", "sh", "-c", "echo out; echo err >&2; exit 42")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 42)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGSEGV, signal.SIGSYS, signal.SIGKILL])
def test_a_signal_ends_a_program_as_ever(number: signal.Signals) -> None:
    done = rumpel_run("sh", "-c", f"kill -{number.value} $$")
    assert done.returncode == -number


def crash(arguments: list[str], directory: Path) -> tuple[int, int]:
    """The status of a program that may dump core, and how many files it leaves."""
    directory.mkdir()
    pid = os.fork()
    if not pid:
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
        os.chdir(directory)
        os.execv(arguments[0], arguments)
    return os.waitpid(pid, 0)[1], len(list(directory.iterdir()))


def test_a_crash_dumps_core(tmp_path: Path) -> None:
    """Where this host has a core of a program, it has one of an intercepted one."""
    program = ["/bin/sh", "-c", "kill -ABRT $$"]
    ours, plain = crash(under(program), tmp_path / "a"), crash(program, tmp_path / "b")
    assert ours == plain
    assert os.WTERMSIG(ours[0]) == signal.SIGABRT


def test_signals_reach_the_program() -> None:
    """The command is the program: there is no other process, whose signals had to be passed on."""
    script = "trap 'echo got; exit 3' INT; echo ready; while :; do sleep 0.05; done"
    process = subprocess.Popen(under(["/bin/sh", "-c", script]), stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    assert "sh" in Path(f"/proc/{process.pid}/comm").read_text()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0] == "got\n"
    assert process.returncode == 3


@pytest.mark.parametrize(
    ("arguments", "said", "status"),
    [
        (["nosuchprogram"], "rumpel: nosuchprogram: no such program\n", 127),
        (["/no/such"], "rumpel: /no/such: No such file or directory\n", 127),
        (["/etc/passwd"], "rumpel: /etc/passwd: Permission denied\n", 126),
        (["/"], "rumpel: /: Permission denied\n", 126),
    ],
)
def test_programs_that_cannot_be_run(arguments: list[str], said: str, status: int) -> None:
    done = rumpel_run(*arguments)
    assert (done.stderr, done.stdout, done.returncode) == (said, "", status)


def test_programs_of_other_kinds(tmp_path: Path) -> None:
    """None at all, for another CPU, or with another's rights: one line, before anything starts."""
    text = tmp_path / "text"
    text.write_text("echo started\n")
    text.chmod(0o755)
    done = rumpel_run(str(text))
    said = f"rumpel: {text}: neither a program nor a script, which begins with #!\n"
    assert (done.stderr, done.stdout, done.returncode) == (said, "", 126)
    other = tmp_path / "arm"
    header = bytearray(b"\x7fELF\x02\x01\x01".ljust(64, b"\0"))
    header[16], header[18] = 2, 183
    other.write_bytes(header)
    other.chmod(0o755)
    done = rumpel_run(str(other))
    assert done.stderr == f"rumpel: {other}: not a program for this CPU (x86-64)\n"
    assert done.returncode == 126
    setuid = tmp_path / "setuid"
    setuid.write_bytes(Path("/bin/true").read_bytes())
    if os.geteuid() == 0:
        os.chown(setuid, 12345, 12345)
        setuid.chmod(0o4755)
        done = rumpel_run(str(setuid))
        assert "setuid or setgid" in done.stderr
        assert done.returncode == 126
        # From inside: what execve says, and the reason.
        done = rumpel_run("sh", "-c", f"{setuid}; echo $?")
        assert done.stdout == "126\n"
        assert f"rumpel: {setuid}: a setuid" in done.stderr


REFUSE = """
import os, struct, sys
from rumpel import _native
# seccomp(2): prctl(PR_SET_SECCOMP or PR_SET_SYSCALL_USER_DISPATCH) and seccomp() are EPERM.
code = [
    (0x20, 0, 0, 0), (0x15, 4, 0, 317), (0x15, 0, 4, 157),
    (0x20, 0, 0, 16), (0x15, 1, 0, 22), (0x15, 0, 1, 59), (0x06, 0, 0, 0x50001),
    (0x06, 0, 0, 0x7FFF0000),
]
_native.seccomp(b"".join(struct.pack("<HBBI", *each) for each in code))
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_host_that_lets_nobody_intercept() -> None:
    """Neither dispatch nor filters: one line, and the program does not run."""
    done = run([sys.executable, "-c", REFUSE, *RUN, "--", "echo", "started"])
    said = "rumpel: this host has neither syscall user dispatch nor seccomp: "
    assert done.stderr == said + "Operation not permitted\n"
    assert (done.stdout, done.returncode) == ("", 126)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--publish", "8080:80", "--mptcp"], "publish, mptcp"),
        (["--pcap", "x"], "pcap"),
        (["--net", "none"], "others"),
    ],
)
def test_what_takes_a_kernel(options: list[str], said: str) -> None:
    """Where there is none, it is refused and not ignored."""
    done = rumpel_run(*options, "--", "echo", "started")
    assert done.stderr == f"rumpel: the network host has no kernel: {said} cannot be had with it\n"
    assert (done.stdout, done.returncode) == ("", 1)


def test_unknown_options() -> None:
    """What is not an option of ours is not a program either; the program's own are its own."""
    done = rumpel_run("--explian", "trace", "--", "true")
    assert done.returncode == 2
    assert done.stderr.startswith("rumpel: No such option")
    assert rumpel_run("echo", "--explain", "-x").stdout == "--explain -x\n"


@pytest.mark.parametrize("option", ["--explain-to", "--log", "--pcap"])
def test_files_that_cannot_be_written(option: str, tmp_path: Path) -> None:
    """A mistake of the line, before anything starts."""
    for name, reason in (
        ("none/file", "No such file or directory"),
        ("", "Is a directory"),
        ("dangling", "No such file or directory"),
    ):
        path = f"{tmp_path}/{name}"
        (tmp_path / "dangling").unlink(missing_ok=True)
        (tmp_path / "dangling").symlink_to("/no/such")
        done = rumpel_run(option, path, "--", "echo", "started")
        assert f"'{option}': {path}: {reason}" in done.stderr
        assert (done.stdout, done.returncode) == ("", 2)
    busy = shutil.copy("/bin/sleep", tmp_path / "busy")
    with subprocess.Popen([busy, "60"]) as process:
        try:
            done = rumpel_run(option, str(busy), "--", "echo", "started")
        finally:
            process.kill()
    assert f"'{option}': {busy}: Text file busy" in done.stderr
    assert (done.stdout, done.returncode) == ("", 2)


def test_nothing_to_run() -> None:
    done = rumpel_run()
    assert done.returncode == 2
    assert done.stderr.startswith("rumpel: Missing argument")


def test_counts(tmp_path: Path) -> None:
    """Each process says what it called, of which kernel."""
    log = tmp_path / "log"
    done = rumpel_run("--explain-to", str(log), "--", "sh", "-c", "ls / | wc -l")
    assert done.returncode == 0
    assert done.stderr == ""
    lines = {line.split("[")[0]: line for line in log.read_text().splitlines()}
    assert set(lines) == {"sh", "ls", "wc"}
    assert "getdents64=2" in lines["ls"]
    assert "host:" in lines["ls"]


def test_trace() -> None:
    done = rumpel_run("--explain", "trace", "--", "true")
    assert done.returncode == 0
    assert any(line.endswith("] exit_group: host: no rule") for line in done.stderr.splitlines())


def test_a_trace_that_nobody_reads() -> None:
    """It ends, and the program does not: no SIGPIPE, nor anything else of it."""
    status = ["grep", "-E", "^(SigPnd|ShdPnd|SigBlk|SigIgn)", "/proc/self/status"]
    read, write = os.pipe()
    os.close(read)
    traced = [*TRACED, *status]
    assert run(traced, stdout=subprocess.PIPE, stderr=write, capture_output=False).stdout == (
        run(status).stdout
    )
    killed = run([*TRACED, "sh", "-c", "kill -PIPE $$"], stderr=write, capture_output=False)
    assert killed.returncode == -signal.SIGPIPE
    os.close(write)


def test_a_signal_for_a_thread_that_ends(build: Build) -> None:
    """One that comes on the thread's last way is handled, though nobody else would get it."""
    process = subprocess.Popen(
        [*TRACED, str(build("leaving", "dynamic"))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert wait_until(lambda: is_writing(process.pid))
    process.send_signal(signal.SIGUSR1)
    assert process.communicate(timeout=60)[0] == b"failures: 0\n"


def is_writing(pid: int) -> bool:
    """Does a process wait in a write, in a thread that is not its first?"""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # a thread that has ended meanwhile
            if task.name != str(pid) and (task / "syscall").read_text().startswith("1 "):
                return True
    return False


def test_the_agent_alone_says_who_starts_it() -> None:
    from rumpel.run.agent import AGENT

    done = run([str(AGENT), "true"])
    assert done.stderr == "rumpel: rumpel-agent: this is started by rumpel run\n"
    assert done.returncode == 126


def test_few_descriptors_allowed(build: Build) -> None:
    """A low limit of open files leaves room for the agent's own, or is an error."""
    start = under(["/bin/sh", "-c", "/bin/echo ok"])
    assert run(["sh", "-c", 'ulimit -n 20; exec "$@"', "sh", *start]).stdout == "ok\n"


def test_a_program_that_outlives(tmp_path: Path) -> None:
    """What a program leaves in the background goes on as it does without us."""
    mark = tmp_path / "mark"
    done = run(under(["/bin/sh", "-c", f"(sleep 1; echo late > {mark}) >/dev/null 2>&1 &"]))
    assert done.returncode == 0
    assert wait_until(mark.exists)
