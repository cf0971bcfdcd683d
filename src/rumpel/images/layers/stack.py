# SPDX-License-Identifier: GPL-2.0-only
"""All that is made between an image's disks and its file systems, and undone in the end."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rumpel.devicemapper import Target
from rumpel.images.errors import ImageError
from rumpel.images.layers import verity

if TYPE_CHECKING:
    from rumpel.images.device import Device
    from rumpel.images.layers.key import Key
    from rumpel.images.layers.luks_header import Header
    from rumpel.images.layers.lvm import Group
    from rumpel.images.layers.raid import Member
    from rumpel.kernel import Kernel

__all__ = ["Stack", "Verity", "parse_root"]

_TRIES = 3
_HEX = re.compile(r"([0-9a-fA-F]{2})+")
_UNSAFE = re.compile(r"[^\w.+-]", re.ASCII)


class Verity(NamedTuple):
    """What contents are checked by.

    Attributes:
        root: the hash of the tree's root.
        offset: where the tree begins on the device that has the data; None is on another
            one, at its beginning.
    """

    root: bytes
    offset: int | None = None


def parse_root(text: str, offset: int | None = None) -> Verity:
    """What a root is written as.

    Raises:
        ValueError: if it is not hexadecimal.
    """
    root = bytes.fromhex(text) if _HEX.fullmatch(text) else b""
    if not 16 <= len(root) <= 64:
        raise ValueError(f"{text!r} is not the hash of a root")
    if offset is not None and (offset < 0 or offset % 512):
        raise ValueError("a tree begins at a multiple of 512 bytes")
    return Verity(root, offset)


class Stack:
    """The devices that are made of others.

    Args:
        kernel: has the disks.
        name: of the image, for messages.
        read_only: nothing is written.
        key: opens what is encrypted.
        root: what has to be checked by dm-verity.

    Attributes:
        titles: how they are called behind the image's name, by their name in the kernel.
        problems: why there is nothing on a device, by the device's name; or by the title of
            a volume that is none.
    """

    def __init__(
        self, kernel: Kernel, name: str, read_only: bool, key: Key | None, root: Verity | None
    ) -> None:
        self._kernel = kernel
        self._name = name
        self._read_only = read_only
        self._key = key
        self._verity = root
        self._undo: list[Callable[[], None]] = []
        self._done: set[str] = set()
        self._count = 0
        self.titles: dict[str, str] = {}
        self.problems: dict[str, str] = {}

    def grow(self, devices: Sequence[Device]) -> bool:
        """Make what can be made of devices; was there anything?

        Args:
            devices: all there are now.

        Raises:
            ImageError: if contents have to be checked, and there is nothing to do it by.
            KernelPanic, SandboxError: if the kernel does not survive it.
        """
        before = len(self._undo)
        free = [each for each in devices if each.name not in self._done and each.name]
        self._arrays(free, whole=True)
        self._groups(free, whole=True)
        if self._key and self._key.given:
            self.unlock(free)
        if len(self._undo) == before:
            # What is missing now will not come.
            self._arrays(free, whole=False)
            self._groups(free, whole=False)
        if len(self._undo) == before and self._verity:
            self._check(devices)
        return len(self._undo) > before

    def named(self, devices: Sequence[Device]) -> list[Device]:
        """The devices, with what is known of them here; and the volumes that are none."""
        every = []
        used = {name for each in devices for name in each.below}
        for each in devices:
            title, below = self.titles.get(each.name, ""), each.below
            disk = each.name.rpartition("p")[0] if each.number else ""
            if disk in self.titles:
                title, below = f"{self.titles[disk]}/{each.number}", [disk]
            problem = self.problems.get(each.name, each.problem)
            # What others are made of is not to be mounted beside them.
            mountable = each.mountable and each.name not in used
            every.append(
                each._replace(volume=title, below=below, problem=problem, mountable=mountable)
            )
        there = {each.name for each in devices}
        for title, problem in self.problems.items():
            if title not in there:
                every.append(_missing(title, problem))
        return every

    def close(self) -> None:
        """Undo all of it, the last first: then every superblock says that it is clean.

        Raises:
            OSError: EBUSY if something is in use.
        """
        while self._undo:
            self._undo[-1]()
            self._undo.pop()
        self._done.clear()
        self.titles.clear()
        self.problems.clear()

    def _create(self, title: str, table: Sequence[Target], read_only: bool = False) -> str:
        name = f"{self._count}-{_UNSAFE.sub('-', title)[:100]}"
        self._count += 1
        # A pool cannot be read-only as others are: it has an argument of its own for that.
        is_pool = any(target.kind == "thin-pool" for target in table)
        read_only = (read_only or self._read_only) and not is_pool
        path = self._kernel.dm.create(name, table, read_only=read_only)
        self._made(path, title, lambda: self._kernel.dm.remove(name))
        return path

    def _made(self, path: str, title: str, undo: Callable[[], None]) -> None:
        self._undo.append(undo)
        self.titles[path.removeprefix("/dev/")] = title

    def _reader(self, path: str) -> Callable[[int, int], bytes]:
        def read(at: int, size: int) -> bytes:
            if not size:
                return b""
            fd = self._kernel.os.open(path, os.O_RDONLY)
            try:
                return bytes(self._kernel.os.pread(fd, size, at))
            except OSError:
                return b""  # behind its end, or damaged: then it is not there
            finally:
                self._kernel.os.close(fd)

        return read

    # RAID

    def _arrays(self, devices: Sequence[Device], whole: bool) -> None:
        members: dict[str, list[tuple[Device, Member]]] = {}
        for each in devices:
            if each.kind == "linux_raid_member":
                member = self._member(each)
                if member:
                    members.setdefault(member.uuid, []).append((each, member))
        for found in members.values():
            if not whole or len(found) >= max(member.disks for _, member in found):
                self._assemble(found)

    def _member(self, device: Device) -> Member | None:
        from rumpel.images.layers import raid

        read = self._reader(device.path)
        for at, version in raid.offsets(device.size):
            member = raid.parse(read(at, raid.ROOM), at, version)
            if member:
                return member
        return None

    def _assemble(self, found: list[tuple[Device, Member]]) -> None:
        from rumpel import md

        member = found[0][1]
        paths = [device.path for device, _ in found]
        self._done.update(device.name for device, _ in found)
        try:
            path = md.assemble(self._kernel, paths, member.version)
        except OSError as error:
            there = f"{len(found)} of its {member.disks} disks are here"
            for device, _ in found:
                reason = f"its RAID cannot be started ({there}): {error.strerror}"
                self.problems[device.name] = reason
            return
        title = f"md/{member.name or path.removeprefix('/dev/md')}"
        if title in self.titles.values():
            title = f"md/{member.uuid}"
        self._made(path, title, lambda: md.stop(self._kernel, path))

    # LVM

    def _groups(self, devices: Sequence[Device], whole: bool) -> None:
        physical = [each for each in devices if each.kind == "LVM2_member"]
        if not physical:
            return
        from rumpel.images.layers import lvm

        readers = [(each.path, self._reader(each.path)) for each in physical]
        for group in lvm.groups(readers, self._read_only):
            if not (whole and group.missing()):
                self._done.update(path.removeprefix("/dev/") for path in group.paths)
                for volume in group.volumes:
                    self._volume(group, volume)

    def _volume(self, group: Group, volume: str) -> None:
        from rumpel.images.layers.lvm import LvmError

        title = f"{group.name}/{volume}"

        def create(name: str, table: list[Target]) -> str:
            return self._create(f"{group.name}/[{name}]", table)

        try:
            path = group.make(volume, create)
            self.titles[path.removeprefix("/dev/")] = title
        except LvmError as error:
            self.problems[title] = str(error)
        except OSError as error:
            self.problems[title] = f"cannot be made: {error.strerror}"

    # LUKS

    def unlock(self, devices: Sequence[Device]) -> bool:
        """Open what is encrypted; was anything opened?

        Args:
            devices: those to open, among others.
        """
        opened = False
        for device in devices:
            if device.kind == "crypto_LUKS" and device.name not in self._done:
                opened = self._unlock(device) or opened
        return opened

    def _unlock(self, device: Device) -> bool:
        from rumpel.images.layers import luks
        from rumpel.images.layers.luks_header import HeaderError, parse

        try:
            header = parse(self._reader(device.path))
            key = self._volume_key(device, header)
            if key is None:
                return False
            title = f"luks-{header.uuid}"
            self._create(title, luks.table(device.path, device.size, header, key))
        except HeaderError as error:
            self.problems[device.name] = str(error)
            return False
        except OSError as error:
            self.problems[device.name] = f"cannot be decrypted: {error.strerror}"
            return False
        finally:
            self._done.add(device.name)
        self.problems.pop(device.name, None)
        return True

    def _volume_key(self, device: Device, header: Header) -> bytes | None:
        from rumpel.images.layers import luks
        from rumpel.images.layers.luks_header import HeaderError

        if self._key is None:
            return None
        found = self._key.found.get(header.digest)
        for _ in range(1 if self._key.given else _TRIES):
            if found:
                break
            password = self._key.get(f"{self._name}{device.suffix}")
            if password is None:
                return None
            found = luks.volume_key(self._kernel, device.path, header, password)
        if found is None:
            raise HeaderError("no key slot of it knows that password")
        self._key.found[header.digest] = found
        return found

    # dm-verity

    def _check(self, devices: Sequence[Device]) -> None:
        """Put dm-verity on the data that belongs to the tree with the root that was given."""
        assert self._verity
        root, offset = self._verity
        if "verity" in self.titles.values():
            return
        for device in devices:
            if not device.name or (offset is None and device.kind != "DM_verity_hash"):
                continue
            at = offset or 0
            read = self._reader(device.path)
            tree = verity.parse(read(at, 512), at)
            if tree is None or not verity.is_root(tree, root, read):
                continue
            data = self._data(devices, device, tree) if offset is None else device
            if data is None:
                raise ImageError(self._name, "has no device with the data of that verity root")
            args = verity.target_args(tree, root, data.path, device.path)
            try:
                self._create("verity", [Target(0, tree.size, "verity", args)], read_only=True)
            except OSError as error:
                why = f"its tree of hashes (dm-verity) cannot be used: {error.strerror}"
                raise ImageError(self._name, why) from None
            self._done.update({device.name, data.name})
            return
        raise ImageError(self._name, "has no tree of hashes (dm-verity) with that root")

    def _data(self, devices: Sequence[Device], hashes: Device, tree: verity.Tree) -> Device | None:
        """The device whose data a tree is of: the first with a file system that is that large."""
        for each in devices:
            if each.name not in ("", hashes.name) and each.mountable and each.size >= tree.size:
                return each
        return None


def _missing(title: str, problem: str) -> Device:
    """A volume that cannot be had."""
    from rumpel.images.device import Device

    return Device("", 0, 0, 0, "", "", "", "", "", "", False, "", (), title, problem)
