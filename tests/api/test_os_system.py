# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.os`` beside the host's ``os``: timers, locks, terminals, processes, users."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rumpel
from rumpel import Kernel
from tests.api.stories import Stories, Story, error_of, tell

pytestmark = pytest.mark.kernel

story = Stories()


@pytest.mark.parametrize("told", story, ids=lambda s: s.__name__)
def test_same_end(told: Story, kernel: Kernel, tmp_path: Path) -> None:
    tell(told, kernel, tmp_path)


@story
def timers(os: Any, root: str) -> Any:
    if not hasattr(os, "timerfd_create"):
        return [(1.5, 0.25), True, (0, 250000000), b"1", (0.0, 0.0)]
    import time

    fd = os.timerfd_create(time.CLOCK_MONOTONIC)
    os.timerfd_settime(fd, initial=1000.0, interval=7.0)
    left, interval = os.timerfd_settime(fd, initial=1.5, interval=0.25)
    result: list[Any] = [(1.5, 0.25), 990 < left <= 1000 and interval == 7.0]
    result += [(0, os.timerfd_gettime_ns(fd)[1])]
    os.timerfd_settime_ns(fd, initial=1)
    result += [b"%d" % int.from_bytes(os.read(fd, 8), "little"), os.timerfd_gettime(fd)]
    os.close(fd)
    return result


@story
def locks_on_parts(os: Any, root: str) -> Any:
    fd = os.open(f"{root}/a", os.O_CREAT | os.O_RDWR)
    result = [os.lockf(fd, os.F_LOCK, 10), os.lockf(fd, os.F_TEST, 10), os.lockf(fd, os.F_TLOCK, 0)]
    result += [os.lockf(fd, os.F_ULOCK, 0), error_of(os.lockf, fd, 99, 0), os.close(fd)]
    return [*result, error_of(os.lockf, 999, os.F_LOCK, 0)]


@story
def pseudo_terminals(os: Any, root: str) -> Any:
    if not os.path.exists("/dev/ptmx"):  # /dev/pts is the system's affair
        os.mkdir("/dev/pts")
    a, b = os.openpty()
    result = [os.isatty(a), os.isatty(b), os.get_inheritable(a), os.ttyname(b)[:9]]
    result += [os.write(b, b"line\n"), os.read(a, 100), tuple(os.get_terminal_size(a))]
    result += [os.device_encoding(b), os.device_encoding(a) is None, os.close(a), os.close(b)]
    fd = os.open(f"{root}/a", os.O_CREAT | os.O_RDWR)
    for call in (os.ttyname, os.get_terminal_size, os.tcgetpgrp):
        result.append(error_of(call, fd))
    return [*result, os.device_encoding(fd), os.close(fd)]


@story
def limits(os: Any, root: str) -> Any:
    names = ("SC_PAGE_SIZE", "SC_CLK_TCK", "SC_IOV_MAX", os.sysconf_names["SC_PAGESIZE"])
    result: list[Any] = [os.sysconf(name) for name in names]
    result += [os.sysconf("SC_NPROCESSORS_ONLN") > 0, os.sysconf("SC_PHYS_PAGES") > 1000]
    result += [os.sysconf("SC_OPEN_MAX") > 100]
    result += [os.pathconf("/", name) for name in ("PC_PATH_MAX", "PC_PIPE_BUF", "PC_NAME_MAX")]
    for call, args in ((os.sysconf, ("SC_NOTHING",)), (os.pathconf, ("/", "PC_NOTHING"))):
        try:
            call(*args)
        except ValueError as error:
            result.append(str(error))
    return [*result, error_of(os.pathconf, f"{root}/x", "PC_NAME_MAX")]


@story
def scheduling(os: Any, root: str) -> Any:
    result: list[Any] = [os.sched_getscheduler(0), os.sched_getparam(0).sched_priority]
    result += [os.sched_get_priority_max(os.SCHED_FIFO), os.sched_get_priority_min(os.SCHED_RR)]
    result += [os.getpriority(os.PRIO_PROCESS, 0), os.nice(0), 0 in os.sched_getaffinity(0)]
    result += [os.sched_setaffinity(0, os.sched_getaffinity(0)), os.cpu_count() >= 1]
    result += [error_of(os.sched_setaffinity, 0, []), os.sched_rr_get_interval(0) >= 0]
    try:
        os.sched_setaffinity(0, [-1])
    except ValueError as error:
        result.append(str(error))
    return result


@story
def identities(os: Any, root: str) -> Any:
    result = [os.getresuid(), os.getresgid(), error_of(os.kill, 1 << 21, 0)]
    result += [os.times().elapsed > 0, len(os.times()), os.getpgrp() == os.getpgid(0)]
    result += [error_of(os.waitpid, 1 << 21, os.WNOHANG), error_of(os.waitid, 1, 1 << 21, 4)]
    fd = os.pidfd_open(os.getpid())
    return [*result, os.get_inheritable(fd), os.close(fd), os.strerror(2)]


def test_credentials_are_the_threads(kernel: Kernel) -> None:
    """What a process gives away is gone for it, and for nobody else."""
    with kernel.process():
        kernel.os.setgroups([5, 6])
        kernel.os.setresgid(10, 11, 12)
        kernel.os.seteuid(1000)
        assert kernel.os.getgroups() == [5, 6]
        assert kernel.os.getresuid() == (0, 1000, 0)
        assert kernel.os.getresgid() == (10, 11, 12)
        with pytest.raises(PermissionError):
            kernel.os.setgroups([])
        kernel.os.seteuid(0)
        kernel.os.setuid(1000)
        with pytest.raises(PermissionError):
            kernel.os.mkdir("/x")
        assert not kernel.os.access("/proc/kmsg", kernel.os.R_OK)
    assert kernel.os.getresuid() == (0, 0, 0)


def test_users_and_groups_are_the_kernels(kernel: Kernel) -> None:
    os = kernel.os
    with pytest.raises(KeyError, match=r"getpwuid\(\): uid not found: 0"):
        kernel.pwd.getpwuid(0)
    os.makedirs("/etc", exist_ok=True)
    with kernel.open("/etc/passwd", "w") as file:
        file.write("root:x:0:0:root:/root:/bin/sh\n# comment\nann:x:1000:100:Ann:/home/ann:\n")
    with kernel.open("/etc/group", "w") as file:
        file.write("users:x:100:\nwheel:x:10:root,ann\n")
    assert kernel.pwd.getpwnam("ann").pw_dir == "/home/ann"
    assert os.path.expanduser("~ann/x") == "/home/ann/x"
    assert kernel.grp.getgrgid(10).gr_mem == ["root", "ann"]
    assert os.getgrouplist("ann", 100) == [100, 10]
    with kernel.process():
        os.initgroups("ann", 100)
        assert sorted(os.getgroups()) == [10, 100]
    kernel.Path("/tmp/x").touch()
    kernel.shutil.chown("/tmp/x", "ann", "users")
    assert (kernel.Path("/tmp/x").owner(), kernel.Path("/tmp/x").group()) == ("ann", "users")


def test_a_process_ends_by_a_signal(kernel: Kernel) -> None:
    """kill(2) and pidfd_open(2) reach the processes that k.process() makes."""
    process = kernel.process()
    with process:
        pid = kernel.os.getpid()
    fd = kernel.os.pidfd_open(pid)
    kernel.os.kill(pid, 0)
    kernel.os.kill(pid, 9)
    poll = kernel.select.poll()
    poll.register(fd, kernel.select.POLLIN)
    with pytest.raises(rumpel.TaskExited), process:
        kernel.os.getpid()
    assert poll.poll(60_000)
    kernel.os.close(fd)
