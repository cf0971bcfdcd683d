# SPDX-License-Identifier: GPL-2.0-only
"""Messages of FUSE.

Source: include/uapi/linux/fuse.h, version 7.31, which Linux 5.4 brought.
"""

from __future__ import annotations

from struct import Struct

MAJOR, MINOR = 7, 31
MAX_WRITE = 1 << 20
BUFFER = MAX_WRITE + 4096
"""Room for the longest request."""

# Opcodes
SETATTR, READLINK, SYMLINK = 4, 5, 6
MKNOD, MKDIR, UNLINK, RMDIR, RENAME, LINK = 8, 9, 10, 11, 12, 13
WRITE, STATFS, FSYNC = 16, 17, 20
SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR = 21, 22, 23, 24
INIT, FSYNCDIR, INTERRUPT, DESTROY, IOCTL = 26, 30, 36, 38, 39
FALLOCATE, RENAME2, LSEEK, COPY_FILE_RANGE = 43, 45, 46, 47

# What INIT agrees on
ASYNC_READ, BIG_WRITES, DONT_MASK, DO_READDIRPLUS = 1 << 0, 1 << 5, 1 << 6, 1 << 13
NO_OPEN, PARALLEL_DIROPS, MAX_PAGES, CACHE_SYMLINKS = 1 << 17, 1 << 18, 1 << 22, 1 << 23
NO_OPENDIR, EXPLICIT_INVAL_DATA, HANDLE_KILLPRIV_V2 = 1 << 24, 1 << 25, 1 << 28

# What SETATTR changes
ATTR_MODE, ATTR_UID, ATTR_GID, ATTR_SIZE, ATTR_ATIME, ATTR_MTIME = 1, 2, 4, 8, 16, 32
ATTR_ATIME_NOW, ATTR_MTIME_NOW, ATTR_KILL_SUIDGID = 1 << 7, 1 << 8, 1 << 11
WRITE_KILL_SUIDGID = 1 << 2

IN_HEADER = Struct("<IIQQIII4x")
"""Length, opcode, unique, node, uid, gid, pid."""
INIT_IN = Struct("<IIII")
INIT_OUT = Struct("<IIIIHHIIHHI28x")
SETATTR_IN = Struct("<I4xQQ8xqqqIIIIIII4x")
"""Valid, handle, size, three times, their ns, mode, unused, uid, gid."""
MKNOD_IN = Struct("<III4x")
MKDIR_IN = Struct("<II")
RENAME_IN = Struct("<Q")
RENAME2_IN = Struct("<QI4x")
LINK_IN = Struct("<Q")
WRITE_IN = Struct("<QQII16x")
"""Handle, offset, size, flags."""
WRITE_OUT = Struct("<I4x")
STATFS_OUT = Struct("<QQQQQIII28x")
FSYNC_IN = Struct("<QI4x")
SETXATTR_IN = Struct("<II")
GETXATTR_IN = Struct("<I4x")
GETXATTR_OUT = Struct("<I4x")
FALLOCATE_IN = Struct("<QQQI4x")
LSEEK_IN = Struct("<QQI4x")
LSEEK_OUT = Struct("<Q")
COPY_IN = Struct("<QQQQQQQ")
"""Handle and offset of the source; node, handle and offset of the target; length, flags."""
IOCTL_IN = Struct("<QIIQII")
"""Handle, flags, command, argument, sizes of what goes in and comes out."""
IOCTL_OUT = Struct("<iIII")
