# SPDX-License-Identifier: GPL-2.0-only
"""Volumes on volumes: RAID, LVM, LUKS and dm-verity between a disk and its file systems.

The kernel's own drivers do the work, wherever the kernel is. What they have to be told is read
from the disks here, in the caller's process, as data: ``luks_header``, ``lvm_disk`` and
``lvm_text``, ``raid`` and ``verity`` take it apart, ``key`` makes keys of passwords, ``luks``
and ``lvm`` say what the device mapper has to make, and ``stack`` makes all of it, and undoes it.
"""
