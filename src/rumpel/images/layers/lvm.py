# SPDX-License-Identifier: GPL-2.0-only
"""Volume groups of LVM, and what the device mapper has to be told of their volumes.

Source: vgcfgbackup(8); Documentation/admin-guide/device-mapper/ (linear, striped, snapshot,
thin-provisioning, dm-raid).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rumpel.devicemapper import Target
from rumpel.images.layers import lvm_text
from rumpel.images.layers.lvm_disk import Read, label, texts
from rumpel.images.layers.lvm_text import Section

__all__ = ["Group", "LvmError", "groups"]

_SECTOR = 512
_MOST_VOLUMES = 1000
Create = Callable[[str, list[Target]], str]
"""Makes a device of a table, and returns its path."""


class LvmError(Exception):
    """Why a volume cannot be had, in a few words."""


def groups(devices: Iterable[tuple[str, Read]], read_only: bool = False) -> list[Group]:
    """The volume groups that are on devices.

    Args:
        devices: paths, and what reads them: so many bytes from there.
        read_only: nothing is written to their volumes.
    """
    paths: dict[str, str] = {}
    newest: dict[str, tuple[int, str, Section]] = {}
    for path, read in devices:
        found = label(read)
        if found is None:
            continue
        paths.setdefault(found.uuid, path)
        for text in texts(read, found):
            try:
                name, section = _group(lvm_text.parse(text))
                number, uuid = int(section["seqno"]), str(section["id"])
            except (KeyError, TypeError, ValueError):
                continue
            if uuid not in newest or newest[uuid][0] < number:
                newest[uuid] = number, name, section
    return [Group(name, section, paths, read_only) for _, name, section in newest.values()]


def _group(found: Section) -> tuple[str, Section]:
    """Of what is in the text, the section that is the group."""
    for name, section in found.items():
        if isinstance(section, dict) and "extent_size" in section:
            return name, section
    raise ValueError("no volume group")


class Group:
    """A volume group.

    Args:
        name: its name.
        section: its metadata.
        paths: of physical volumes, by their UUID without dashes.
        read_only: nothing is written to its volumes.

    Attributes:
        name: its name.
        volumes: the names of those of its volumes that are meant to be used.
    """

    def __init__(
        self, name: str, section: Section, paths: dict[str, str], read_only: bool = False
    ) -> None:
        self.name = name
        self._read_only = read_only
        self._paths = paths
        self._made: dict[str, str] = {}
        self._making: set[str] = set()
        self._section = section
        self._extent = _int(section, "extent_size") * _SECTOR
        self._physical: Section = _dict(section, "physical_volumes")
        self._logical: Section = _dict(section, "logical_volumes")
        self._stores: dict[str, tuple[str, Section]] = {}
        for each in self._logical.values():
            for segment in _segments(each):
                if segment.get("type") == "snapshot":
                    store, origin = str(segment.get("cow_store")), str(segment.get("origin"))
                    self._stores[store] = origin, segment
        self.volumes = [
            volume
            for volume, each in self._logical.items()
            if ("VISIBLE" in _list(each, "status") or volume in self._stores)
            and not {segment.get("type") for segment in _segments(each)}
            & {"thin-pool", "snapshot", "cache-pool", "vdo-pool"}
        ][:_MOST_VOLUMES]

    @property
    def paths(self) -> list[str]:
        """The physical volumes that there are."""
        return list(filter(None, map(self._path, self._physical)))

    def missing(self) -> list[str]:
        """The physical volumes that are nowhere: their names in the group."""
        return [name for name in self._physical if self._path(name) is None]

    def make(self, volume: str, create: Create) -> str:
        """Make the device of a volume, and those that it is made of.

        Args:
            volume: its name in the group.
            create: makes one.

        Returns:
            Its path.

        Raises:
            LvmError: if that cannot be done.
        """
        try:
            return self._make(volume, create)
        except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
            raise LvmError("its metadata is damaged") from error

    def _make(self, volume: str, create: Create) -> str:
        if volume in self._stores:
            return self._snapshot(volume, create)
        snapshots = [name for name, (origin, _) in self._stores.items() if origin == volume]
        if not snapshots:
            return self._plain(volume, create)
        # What is written to the origin has to be kept for all of its snapshots.
        for name in snapshots:
            self._snapshot(name, create)
        key = f"{volume}-origin"
        if key not in self._made:
            args = self._plain(volume, create)
            self._made[key] = create(key, [Target(0, self._size(volume), "snapshot-origin", args)])
        return self._made[key]

    def _snapshot(self, volume: str, create: Create) -> str:
        key = f"{volume}-snapshot"
        if key not in self._made:
            origin, segment = self._stores[volume]
            if "merging_store" in segment or origin in self._stores:
                raise LvmError("a snapshot that is being merged")
            real = self._plain(origin, create)
            store = self._plain(volume, create)
            args = f"{real} {store} P {_int(segment, 'chunk_size')}"
            self._made[key] = create(key, [Target(0, self._size(origin), "snapshot", args)])
        return self._made[key]

    def _plain(self, volume: str, create: Create) -> str:
        """The device of what a volume's segments say."""
        if volume not in self._made:
            if volume in self._making:
                raise LvmError("its metadata is damaged: it is a part of itself")
            self._making.add(volume)
            table = []
            for segment in _segments(self._logical[volume]):
                start = _int(segment, "start_extent") * self._extent
                size = _int(segment, "extent_count") * self._extent
                below = _Below(self, create)
                kind, args = below.target(segment)
                table.append(Target(start, size, kind, args))
            self._made[volume] = create(volume, sorted(table))
        return self._made[volume]

    def _size(self, volume: str) -> int:
        segments = _segments(self._logical[volume])
        return sum(_int(segment, "extent_count") for segment in segments) * self._extent

    def _path(self, name: str) -> str | None:
        return self._paths.get(str(self._physical[name]["id"]).replace("-", ""))


class _Below:
    """What a segment is made of."""

    def __init__(self, group: Group, create: Create) -> None:
        self._group = group
        self._create = create

    def target(self, segment: Section) -> tuple[str, str]:
        """The kind of target, and its arguments."""
        kind = str(segment["type"])
        if kind == "striped":
            return self._striped(segment)
        if kind == "thin-pool":
            return kind, self._pool(segment)
        if kind == "thin":
            return kind, self._thin(segment)
        if kind.startswith("raid"):
            return "raid", self._raid(kind, segment)
        if kind in ("error", "zero"):
            return kind, ""
        raise LvmError(f"of the kind {kind[:20]}, which is not supported")

    def _striped(self, segment: Section) -> tuple[str, str]:
        count, stripes = _int(segment, "stripe_count", 1), _list(segment, "stripes")
        areas = [
            self._area(name, extent)
            for name, extent in zip(stripes[::2], stripes[1::2], strict=True)
        ]
        if len(areas) != count:
            raise ValueError("stripes are missing")
        if count == 1:
            return "linear", areas[0]
        return "striped", f"{count} {_int(segment, 'stripe_size')} {' '.join(areas)}"

    def _area(self, name: Any, extent: Any) -> str:
        """A device, and the sector in it."""
        at = _checked(extent) * self._group._extent // _SECTOR
        if name in self._group._logical:
            return f"{self._volume(name)} {at}"
        path = self._group._path(name)
        if path is None:
            uuid = str(self._group._physical[name]["id"])
            raise LvmError(f"a part of it is on a disk that is not here (PV {uuid[:40]})")
        return f"{path} {_int(self._group._physical[name], 'pe_start') + at}"

    def _volume(self, name: Any) -> str:
        return self._group._plain(str(name), self._create)

    def _pool(self, segment: Section) -> str:
        features = [] if segment.get("zero_new_blocks") else ["skip_block_zeroing"]
        if segment.get("discards") == "ignore":
            features.append("ignore_discard")
        elif segment.get("discards") == "nopassdown":
            features.append("no_discard_passdown")
        if self._group._read_only:
            features.append("read_only")
        meta, data = self._volume(segment["metadata"]), self._volume(segment["pool"])
        chunk = _int(segment, "chunk_size")
        return " ".join([meta, data, str(chunk), "0", str(len(features)), *features])

    def _thin(self, segment: Section) -> str:
        if "merge" in segment:
            raise LvmError("a snapshot that is being merged")
        args = f"{self._volume(segment['thin_pool'])} {_int(segment, 'device_id')}"
        origin = segment.get("external_origin")
        return f"{args} {self._volume(origin)}" if origin else args

    def _raid(self, kind: str, segment: Section) -> str:
        parts = _list(segment, "raids")
        if "reshape_count" in segment or "data_offset" in segment or len(parts) % 2:
            raise LvmError(f"of the kind {kind[:20]}, which is being changed")
        devices, lost = [], 0
        for name in parts:
            try:
                devices.append(self._volume(name))
            except LvmError:
                devices.append("-")
        for at in range(0, len(devices), 2):
            if "-" in devices[at : at + 2]:
                devices[at : at + 2] = ["-", "-"]
                lost += 1
        if lost == len(devices) // 2:
            raise LvmError("all of it is on disks that are not here")
        params = [str(_int(segment, "stripe_size", 0)) if "stripe_size" in segment else "0"]
        if "region_size" in segment:
            params += ["region_size", str(_int(segment, "region_size"))]
        count = len(devices) // 2
        return " ".join([kind, str(len(params)), *params, str(count), *devices])


def _segments(volume: Any) -> list[Section]:
    if not isinstance(volume, dict):
        return []
    return [
        each
        for name, each in volume.items()
        if name.startswith("segment") and isinstance(each, dict)
    ]


def _int(section: Any, name: str, default: int | None = None) -> int:
    value = section.get(name, default) if default is not None else section[name]
    return _checked(value)


def _checked(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise ValueError("a number that cannot be")
    return value


def _dict(section: Section, name: str) -> Section:
    value = section.get(name, {})
    return value if isinstance(value, dict) else {}


def _list(section: Any, name: str) -> list[Any]:
    value = section.get(name, []) if isinstance(section, dict) else []
    return value if isinstance(value, list) else []
