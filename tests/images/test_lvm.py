# SPDX-License-Identifier: GPL-2.0-only
"""Logical volumes, whose metadata LVM's own tools write."""

from __future__ import annotations

import os
import random
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from rumpel.images import ImageError
from rumpel.images.layers import lvm_text
from rumpel.images.layers.lvm import Group, LvmError, groups
from rumpel.images.session import Options, Session
from tests.conftest import VERSION
from tests.images.tools import check
from tests.images.volumes import ext4, loops, lvm, reader, sparse, tool

MIB = 1 << 20


def group(name: str, paths: list[Path], volumes: dict[str, list[str]]) -> None:
    """Make a volume group of images, with volumes as lvcreate is told."""
    with loops(paths) as devices:
        for device in devices:
            lvm(devices, "pvcreate", "-qq", device)
        lvm(devices, "vgcreate", "-qq", "--physicalextentsize", "1m", name, *devices)
        for volume, args in volumes.items():
            lvm(devices, "lvcreate", "-qq", "-an", "-Zn", "-Wn", "-n", volume, *args, name)


def rewrite(path: Path, name: str, change: Any) -> None:
    """Let LVM write metadata as it would be if some driver were there."""
    with loops([path]) as devices:
        text = path.with_suffix(".text")
        lvm(devices, "vgcfgbackup", "-qq", "-f", text, name)
        text.write_text(change(text.read_text()))
        lvm(devices, "vgcfgrestore", "-qq", "--force", "-f", text, name)


def write(paths: list[Path], volume: str, source: Path) -> None:
    """Put a file system into a volume."""
    session = Session([str(path) for path in paths], Options(version=VERSION))
    try:
        (device,) = [each for each in session.devices() if each.volume == volume]
        with source.open("rb") as read, session.kernel.open(device.path, "r+b") as file:
            while piece := read.read(MIB):
                file.write(piece)
    finally:
        session.close()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A group on two images: one volume is on the first, one on both. Not to be written to."""
    top = tmp_path_factory.mktemp("lvm")
    paths = [sparse(top / f"{number}.img", 32) for number in range(2)]
    volumes = {"root": ["-L", "16m"], "data-2": ["-i", "2", "-I", "16k", "-L", "16m"]}
    group("system", paths, volumes)
    write(paths, "system/root", ext4(top / "root", 16, hello="on root\n"))
    write(paths, "system/data-2", ext4(top / "data", 16, hello="striped\n"))
    return paths


@pytest.mark.kernel
def test_volumes(images: list[Path], opened: Any, tmp_path: Path) -> None:
    """They are found by name, label and UUID, read, written to, and clean afterwards."""
    paths = [tmp_path / path.name for path in images]
    for source, target in zip(images, paths, strict=True):
        shutil.copyfile(source, target)
    first = paths[0]
    with opened(f"{first}:system/root") as image:
        assert image.cat("/hello") == b"on root\n"
        image.pipe("/new", b"x" * 100_000)
        uuid = image.volume.device.uuid
    with opened(f"{first}:UUID={uuid}") as image:
        assert image.volume.name == f"{first}:system/root"
        assert image.cat("/new") == b"x" * 100_000
    with opened(paths, "system/data-2") as image:
        assert image.cat("/hello") == b"striped\n"
        image.pipe("/new", b"y" * 100_000)
    # The first volume begins where the first physical extent is.
    plain = tmp_path / "plain"
    with first.open("rb") as file:
        file.seek(MIB)
        plain.write_bytes(file.read(16 * MIB))
    check(plain)
    assert tool("debugfs", "-R", "cat /new", plain) == "x" * 100_000


@pytest.mark.kernel
def test_names_that_are_none(images: list[Path], opened: Any) -> None:
    """Errors name what there is, and which disk is missing."""
    first = images[0]
    with pytest.raises(ImageError, match=r"has no partition system/nix; there is .*system/root"):
        opened(first, "system/nix", read_only=True)
    with pytest.raises(ImageError, match=r"0\.img:system/data-2: a part of it is on a disk that"):
        opened(first, "system/data-2", read_only=True)
    with pytest.raises(ImageError, match=r"several file systems, name one: system/root \(ext4"):
        opened(images, read_only=True)
    with opened(first, read_only=True) as image:  # the only one that is all there
        assert image.volume.device.volume == "system/root"
    with opened(first, "0", read_only=True) as image:
        assert image.volume.device.volume == "system/root"


def snapshot(text: str) -> str:
    """The metadata with a snapshot: ``before`` keeps what ``root`` was."""
    extra = """
		snapshot0 {
			id = "aaaaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa"
			status = ["READ", "WRITE", "VISIBLE"]
			segment_count = 1
			segment1 { start_extent = 0 extent_count = 16 type = "snapshot"
				chunk_size = 8 origin = "root" cow_store = "before" }
		}
"""
    return text.replace("logical_volumes {", f"logical_volumes {{{extra}")


@pytest.mark.kernel
def test_snapshots(opened: Any, tmp_path: Path) -> None:
    """What is written to a volume does not change its snapshot, nor the other way round."""
    path = sparse(tmp_path / "disk.img", 32)
    group("vg", [path], {"root": ["-L", "16m"], "before": ["-L", "8m"]})
    write([path], "vg/root", ext4(tmp_path / "root", 16, hello="before\n"))
    rewrite(path, "vg", snapshot)
    with opened(path, "vg/root") as image:
        image.pipe("/hello", b"after\n")
    with opened(path, "vg/before") as image:
        assert image.cat("/hello") == b"before\n"
        image.pipe("/more", b"x")
    with opened(path, "vg/root", read_only=True) as image:
        assert image.cat("/hello") == b"after\n"
        assert not image.exists("/more")
    with opened(path, "vg/before", read_only=True) as image:
        assert image.cat("/more") == b"x"


def hidden(text: str, **names: str) -> str:
    """The metadata in which volumes are parts of others, for which lvcreate reserves names."""
    for name, becomes in names.items():
        text = re.sub(rf'\b{name} \{{([^}}]*?), "VISIBLE"', rf"{becomes} {{\1", text)
    return text


def thin(text: str) -> str:
    """The metadata with a pool, and a thin volume in it."""
    extra = """
		pool {
			id = "bbbbbb-bbbb-bbbb-bbbb-bbbb-bbbb-bbbbbb"
			status = ["READ", "WRITE", "VISIBLE"]
			segment_count = 1
			segment1 { start_extent = 0 extent_count = 16 type = "thin-pool"
				metadata = "pool_tmeta" pool = "pool_tdata" transaction_id = 1 chunk_size = 128
				discards = "passdown" zero_new_blocks = 1 }
		}
		thin {
			id = "cccccc-cccc-cccc-cccc-cccc-cccc-cccccc"
			status = ["READ", "WRITE", "VISIBLE"]
			segment_count = 1
			segment1 { start_extent = 0 extent_count = 64 type = "thin"
				thin_pool = "pool" transaction_id = 0 device_id = 1 }
		}
"""
    return hidden(text, meta="pool_tmeta", data="pool_tdata").replace(
        "logical_volumes {", f"logical_volumes {{{extra}"
    )


@pytest.mark.kernel
def test_thin_volumes(opened: Any, tmp_path: Path) -> None:
    """A thin volume that is larger than its pool; thin-provisioning-tools find nothing wrong."""
    path = sparse(tmp_path / "disk.img", 32)
    group("vg", [path], {"meta": ["-L", "4m"], "data": ["-L", "16m"]})
    xml = tmp_path / "thin.xml"
    xml.write_text(
        '<superblock uuid="" time="0" transaction="1" data_block_size="128" nr_data_blocks="256">'
        '<device dev_id="1" mapped_blocks="0" transaction="0" creation_time="0" snap_time="0">'
        "</device></superblock>"
    )
    meta = sparse(tmp_path / "meta", 4)
    tool("thin_restore", "-i", xml, "-o", meta)
    with path.open("r+b") as file:
        file.seek(MIB)
        file.write(meta.read_bytes())
    rewrite(path, "vg", thin)
    write([path], "vg/thin", ext4(tmp_path / "fs", 8, hello="thin\n"))
    with opened(path, "vg/thin") as image:
        assert image.cat("/hello") == b"thin\n"
        image.pipe("/new", b"x" * 100_000)
    with opened(path, "vg/thin", read_only=True) as image:
        assert image.cat("/new") == b"x" * 100_000
    with path.open("rb") as file:
        file.seek(MIB)
        meta.write_bytes(file.read(4 * MIB))
    tool("thin_check", meta)


def mirror(kind: str) -> Any:
    """The metadata with a mirror."""
    segment = {
        "raid1": 'type = "raid1" device_count = 2 region_size = 1024'
        ' raids = ["both_rmeta_0", "both_rimage_0", "both_rmeta_1", "both_rimage_1"]',
        "mirror": 'type = "mirror" mirror_count = 2 region_size = 1024'
        ' mirrors = ["both_mimage_0", 0, "both_mimage_1", 0]',
    }[kind]
    extra = f"""
		both {{
			id = "dddddd-dddd-dddd-dddd-dddd-dddd-dddddd"
			status = ["READ", "WRITE", "VISIBLE"]
			segment_count = 1
			segment1 {{ start_extent = 0 extent_count = 8 {segment} }}
		}}
"""

    def change(text: str) -> str:
        parts = {f"m{at}": f"both_rmeta_{at}" for at in range(2)}
        parts |= {
            f"i{at}": f"both_{'rimage' if kind == 'raid1' else 'mimage'}_{at}" for at in range(2)
        }
        return hidden(text, **parts).replace("logical_volumes {", f"logical_volumes {{{extra}")

    return change


@pytest.mark.kernel
def test_mirrors(opened: Any, tmp_path: Path) -> None:
    """RAID in a group is assembled: both halves are the same afterwards; old mirrors are told."""
    path = sparse(tmp_path / "disk.img", 32)
    sizes = {"m0": "1m", "i0": "8m", "m1": "1m", "i1": "8m"}
    group("vg", [path], {name: ["-L", size] for name, size in sizes.items()})
    rewrite(path, "vg", mirror("raid1"))
    write([path], "vg/both", ext4(tmp_path / "fs", 8, hello="twice\n"))
    with opened(path, "vg/both") as image:
        assert image.cat("/hello") == b"twice\n"
        image.pipe("/new", b"x" * 100_000)
    with opened(path, "vg/both", read_only=True) as image:
        assert image.cat("/new") == b"x" * 100_000
    data = path.read_bytes()
    assert data[2 * MIB : 10 * MIB] == data[11 * MIB : 19 * MIB]
    path = sparse(tmp_path / "old.img", 32)
    group("vg", [path], {f"i{number}": ["-L", "8m"] for number in range(2)})
    rewrite(path, "vg", mirror("mirror"))
    with pytest.raises(ImageError, match="vg/both: of the kind mirror, which is not supported"):
        opened(path, "vg/both")


def test_text() -> None:
    """The grammar, and what is not of it."""
    text = 'a { b = "x\\"y" c = [1, -2, "z"] d { } e = 1.5 # } \n 1f = 2 007 { g = [] } }'
    assert lvm_text.parse(text) == {
        "a": {"b": 'x"y', "c": [1, -2, "z"], "d": {}, "e": 1.5, "1f": 2, "7": {"g": []}}
    }
    for wrong in ("}", "a {", "a", "a =", "a = [", "a = }", "a = [1", "= 1", "a { ? }", '"'):
        with pytest.raises(ValueError, match=r"."):
            lvm_text.parse(wrong)
    for wrong in ("a = 1" + "0" * 50, "a { " * 100):
        with pytest.raises(ValueError, match=r"without end"):
            lvm_text.parse(wrong)


def test_metadata_of_strangers(images: list[Path], tmp_path: Path) -> None:
    """Metadata may say anything: a group, or none; a volume, or an error; nothing else."""
    whole = images[0].read_bytes()[:MIB]
    chance = random.Random(5)
    made = refused = 0
    text = re.findall(rb"system \{\n.*?(?=# Generated)", whole, re.DOTALL)[-1].decode()
    for _ in range(100):
        data = bytearray(whole)
        for _ in range(3):
            at = chance.randrange(chance.choice((2048, 5000, 12000)))
            data[at] = chance.randrange(256)
        groups([("/dev/vda", reader(data))])
    section = next(iter(lvm_text.parse(text).values()))
    uuids = [each["id"].replace("-", "") for each in section["physical_volumes"].values()]
    for _ in range(1000):
        changed = list(text)
        for _ in range(chance.choice((1, 3))):
            changed[chance.randrange(len(text))] = chance.choice('0189-"[]{},= #vp')
        try:
            ((name, section),) = lvm_text.parse("".join(changed)).items()
            found = Group(str(name), section, dict.fromkeys(uuids, "/dev/vda"))
        except (ValueError, TypeError, AttributeError, KeyError):
            continue
        for volume in found.volumes:
            try:
                found.make(volume, lambda name, table: f"/dev/{name}")
                made += 1
            except LvmError:
                refused += 1
    assert made > 50
    assert refused > 5
    loop = 'vg { id = "x" seqno = 1 extent_size = 2 logical_volumes { a { status = ["VISIBLE"]'
    loop += ' segment1 { start_extent = 0 extent_count = 1 type = "striped" stripe_count = 1'
    loop += ' stripes = ["a", 0] } } } }'
    with pytest.raises(LvmError, match="a part of itself"):
        Group("vg", lvm_text.parse(loop)["vg"], {}).make("a", lambda *_: os.devnull)
