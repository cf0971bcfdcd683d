# SPDX-License-Identifier: GPL-2.0-only
"""Kinds, labels and UUIDs are those that blkid finds."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from rumpel.images import open_image
from rumpel.images.labels import label_and_uuid
from rumpel.images.probe import SIZE, probe
from tests.conftest import VERSION
from tests.images.tools import ENV, MAKE, make

_SNOWMAN = "\N{LATIN CAPITAL LETTER U WITH DIAERESIS}n \N{SNOWMAN}"
_MADE = {
    "exfat": [*MAKE["exfat"], _SNOWMAN, "{disk}"],
    "ntfs": [*MAKE["ntfs"], f'{_SNOWMAN} "odd", long enough', "{disk}"],
    "fat12": ["mkfs.vfat", "-F", "12", "-n", "TWELVE A", "{disk}"],
    "fat16": ["mkfs.vfat", "-F", "16", "-n", "SIXTEEN", "{disk}"],
    "fat32": ["mkfs.vfat", "-F", "32", "-n", "THIRTY-TWO", "{disk}"],
    "udf": [*MAKE["udf"], _SNOWMAN, "{disk}"],
    "udf2048": ["mkudffs", "--utf8", "--blocksize=2048", "-l", "plain", "{disk}"],
    "udf4096": ["mkudffs", "--utf8", "--blocksize=4096", "-l", _SNOWMAN, "{disk}"],
    "f2fs": [*MAKE["f2fs"], _SNOWMAN, "{disk}"],
    "ext4": [*MAKE["ext4"], 'a"b, c=d', "{disk}"],
    "ufs": ["makefs", "-t", "ffs", "-s", "8m", "{disk}", "{tree}"],
    "ufs2": ["makefs", "-t", "ffs", "-o", "version=2", "-s", "8m", "{disk}", "{tree}"],
    "nilfs2": ["mkfs.nilfs2", "-q", "-b", "1024", "-B", "16", "-L", _SNOWMAN, "{disk}"],
    "cramfs": ["mkfs.cramfs", "-n", "CRAM", "{tree}", "{disk}"],
}


def _blkid(disk: Path) -> dict[str, str]:
    command = ["blkid", "-p", "-o", "udev", str(disk)]
    said = subprocess.run(command, env=ENV, capture_output=True, text=True, check=True).stdout
    return dict(line.partition("=")[::2] for line in said.splitlines())


@pytest.mark.parametrize("name", _MADE)
def test_as_blkid(name: str, tmp_path: Path) -> None:
    disk, tree = tmp_path / "disk.img", tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_text("content")
    with disk.open("wb") as file:
        file.truncate((8 if name == "fat12" else 64) << 20)
    command = [each.format(disk=disk, tree=tree) for each in _MADE[name]]
    subprocess.run(command, env=ENV, check=True, capture_output=True)
    data = disk.read_bytes()
    found = probe(data[:SIZE])
    assert found
    label, uuid = label_and_uuid(found.kind, data[:SIZE], lambda at, n: data[at : at + n])
    said = _blkid(disk)
    encoded = said.get("ID_FS_LABEL_ENC", "")
    raw = re.sub(rb"\\x(..)", lambda code: bytes.fromhex(code[1].decode()), encoded.encode())
    assert found.kind == said["ID_FS_TYPE"]
    assert (label or found.label) == raw.decode()
    assert (uuid or found.uuid) == said.get("ID_FS_UUID", "")


def test_a_label_that_windows_has_given(tmp_path: Path) -> None:
    """FAT: it is in the root directory, and mkfs's stays where nobody looks."""
    disk = make(tmp_path / "disk.img", "vfat", 40, label="OLD")
    data = bytearray(disk.read_bytes())
    at = data.rindex(b"OLD        ")  # the first one is in the boot sector
    data[at : at + 11] = b"NEW ONE    "
    got = label_and_uuid("vfat", bytes(data[:SIZE]), lambda at, n: bytes(data[at : at + n]))
    assert got == ("NEW ONE", "")


@pytest.mark.parametrize("kind", ["exfat", "vfat", "ntfs", "udf", "hfsplus"])
@pytest.mark.parametrize("byte", [0, 1, 0x7F, 0x80, 0xFF])
def test_nonsense(kind: str, byte: int) -> None:
    """Numbers that may be anything give no label, and no exception but what reading raises."""
    data = bytes([byte]) * SIZE

    def read(at: int, size: int) -> bytes:
        assert size <= 64 << 10
        return data[:size]

    label, uuid = label_and_uuid(kind, data, read)
    assert not uuid
    assert len(label) < 256


@pytest.mark.kernel
@pytest.mark.parametrize("kind", ["exfat", "ntfs", "udf"])
def test_named_by_it(kind: str, tmp_path: Path) -> None:
    disk = make(tmp_path / "disk.img", kind, 16, label="Here It is")
    with open_image(f"{disk}:LABEL=Here It is", version=VERSION, read_only=True) as image:
        assert image.volume.device.kind == kind
