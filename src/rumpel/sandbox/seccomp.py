# SPDX-License-Identifier: GPL-2.0-only
"""The filter of system calls that a kernel in a sandbox lives under.

An allow-list: what is not on it fails with EPERM. Nothing on it opens, makes, names or
executes anything, sends a signal to another process, or makes memory executable; what is
left is to use the descriptors that there are, memory, threads and time.

Source: Documentation/userspace-api/seccomp_filter.rst, struct seccomp_data.
"""

from __future__ import annotations

import _struct as struct
import errno

from rumpel.syscalls import lookup

__all__ = ["program", "refusal"]

_PLAIN = """
brk clock_getres clock_gettime clock_nanosleep close dup epoll_ctl epoll_pwait epoll_wait exit
exit_group fadvise64 fallocate fdatasync fstat fsync ftruncate futex getpid getrandom gettid
gettimeofday lseek madvise membarrier memfd_create mremap munmap nanosleep poll ppoll pread64 preadv
preadv2 pwrite64 pwritev pwritev2 read readv recvfrom recvmsg restart_syscall rseq rt_sigaction
rt_sigprocmask rt_sigreturn rt_sigtimedwait sched_getaffinity sched_yield select sendmsg sendto
set_robust_list set_tid_address shutdown sigaltstack sync_file_range timerfd_create timerfd_gettime
timerfd_settime eventfd2 write writev
"""
_FCNTL = (1, 2, 3, 4, 36, 37, 38, 1030, 1033, 1034)
"""F_GETFD F_SETFD F_GETFL F_SETFL, F_OFD_*, F_DUPFD_CLOEXEC, F_ADD_SEALS F_GET_SEALS."""
_PROT_EXEC, _CLONE_THREAD, _EMPTY_PATH = 4, 0x10000, 0x1000

_LOAD, _EQUAL, _ABOVE, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NR, _ARCH, _ARGS = 0, 4, 16
_X86_64, _X32 = 0xC000003E, 0x40000000

Instruction = tuple[int, int, int, int]
"""Code, how many to skip if true, if false, and a number."""


def program(pid: int) -> bytes:
    """Make the filter, as instructions of classic BPF.

    Args:
        pid: of the process, which may send signals to its own threads.

    Example:
        >>> len(program(1)) % 8
        0
    """
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, _X86_64),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NR),
        (_ABOVE, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    for name in _PLAIN.split():
        code += _for(name, [])
    code += _for("mmap", [*_argument(2), (_ANY_BIT, 0, 1, _PROT_EXEC), _deny(errno.EPERM)])
    code += _for("mprotect", [*_argument(2), (_ANY_BIT, 0, 1, _PROT_EXEC), _deny(errno.EPERM)])
    code += _for("clone", [*_argument(0), (_ANY_BIT, 1, 0, _CLONE_THREAD), _deny(errno.EPERM)])
    code += _for("tgkill", [*_argument(0), (_EQUAL, 1, 0, pid), _deny(errno.EPERM)])
    # What fstat() of the C library is. A path may come with it: whether that exists can be learnt.
    code += _for("newfstatat", [*_argument(3), (_EQUAL, 1, 0, _EMPTY_PATH), _deny(errno.EPERM)])
    # Its arguments cannot be looked at; the C library then takes clone.
    code += _for("clone3", [_deny(errno.ENOSYS)])
    commands = [(_EQUAL, len(_FCNTL) - at, 0, number) for at, number in enumerate(_FCNTL)]
    code += _for("fcntl", [*_argument(1), *commands, _deny(errno.EPERM)])
    code.append(_deny(errno.EPERM))
    return b"".join(struct.pack("<HBBI", *each) for each in code)


_NO_OTHERS = """
socket connect bind ptrace process_vm_readv process_vm_writev pidfd_open pidfd_getfd
pidfd_send_signal kill mount umount2 move_mount open_tree fsopen fsmount fspick pivot_root chroot
unshare setns bpf perf_event_open keyctl add_key request_key io_uring_setup userfaultfd
open_by_handle_at init_module finit_module delete_module kexec_load reboot swapon swapoff acct
setuid setgid setresuid setresgid capset personality mknod mknodat
"""


def refusal() -> bytes:
    """A filter for a program of the host that shall use what it has open, and files.

    A list of what it may not: it makes no connections, has nothing to do with other processes,
    and changes nothing of its own rights or the machine.

    Example:
        >>> len(refusal()) % 8
        0
    """
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, _X86_64),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NR),
        (_ABOVE, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    for name in _NO_OTHERS.split():
        code += [(_EQUAL, 0, 1, lookup(name).nr), _deny(errno.EPERM)]
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("<HBBI", *each) for each in code)


def _for(name: str, checks: list[Instruction]) -> list[Instruction]:
    """Allow a call if the checks do not return before."""
    rest = [*checks, (_RETURN, 0, 0, _ALLOW)]
    return [(_EQUAL, 0, len(rest), lookup(name).nr), *rest]


def _argument(index: int) -> list[Instruction]:
    """Load the low half of an argument."""
    return [(_LOAD, 0, 0, _ARGS + 8 * index)]


def _deny(number: int) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | number)
