# SPDX-License-Identifier: GPL-2.0-only
"""Encrypted images: cryptsetup and QEMU make and read the same."""

from __future__ import annotations

import hashlib
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from rumpel.images import ImageError, LockedError
from rumpel.images.layers.key import derive, merge
from rumpel.images.layers.luks_header import HeaderError, Kdf, parse
from tests.images.tools import check
from tests.images.volumes import CHEAP, PASSWORD, decrypt, encrypt, ext4, reader, tool


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ext4 image of 16 MB with a file, and 8 MB behind it. Not to be written to."""
    path = ext4(tmp_path_factory.mktemp("luks") / "plain.img", 16, hello="from mke2fs\n")
    with path.open("r+b") as file:
        file.truncate(24 << 20)
    return path


@pytest.fixture(scope="module")
def luks2(plain: Path) -> Path:
    """The same in LUKS2, with the cheapest key. Not to be written to."""
    path = plain.with_name("luks2.img")
    shutil.copyfile(plain, path)
    encrypt(path, "pbkdf2")
    return path


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("kdf", "options"),
    [
        ("pbkdf2", ()),
        ("argon2id", ("--sector-size", "4096")),
        ("argon2i", ("--cipher", "aes-cbc-essiv:sha256", "--key-size", "256", "--hash", "sha512")),
    ],
)
def test_luks2(plain: Path, opened: Any, tmp_path: Path, kdf: str, options: Any) -> None:
    """What cryptsetup has encrypted is read; what is written, cryptsetup decrypts."""
    disk = tmp_path / "disk.img"
    shutil.copyfile(plain, disk)
    encrypt(disk, kdf, *options)
    with opened(disk, password=PASSWORD) as image:
        assert image.cat("/hello") == b"from mke2fs\n"
        assert image.volume.name.startswith(f"{disk}:luks-")
        image.pipe("/new", b"from here" * 10_000)
    assert b"from here" not in disk.read_bytes()
    decrypt(disk)
    check(disk)
    assert tool("debugfs", "-R", "cat /new", disk) == "from here" * 10_000


@pytest.mark.kernel
def test_luks1(plain: Path, opened: Any, tmp_path: Path) -> None:
    """QEMU has an implementation of its own of LUKS1: both read what the other writes."""
    disk, back = tmp_path / "disk.img", tmp_path / "back.img"
    secret = ["--object", f"secret,id=s,data={PASSWORD}"]
    convert = ["qemu-img", "convert", "-t", "unsafe", *secret]
    to = ["-f", "raw", "-O", "luks", "-o", "key-secret=s,iter-time=10", plain, disk]
    tool(*convert, *to)
    with opened(disk, password=PASSWORD) as image:
        assert image.cat("/hello") == b"from mke2fs\n"
        image.pipe("/new", b"from here" * 10_000)
    options = f"driver=luks,key-secret=s,file.filename={disk}"
    tool(*convert, "--image-opts", options, "-O", "raw", back)
    check(back)
    assert tool("debugfs", "-R", "cat /new", back) == "from here" * 10_000


@pytest.mark.kernel
def test_passwords(luks2: Path, opened: Any, tmp_path: Path) -> None:
    """A wrong one, none and a file of it; any slot will do, whichever it is in."""
    disk, keyfile = tmp_path / "disk.img", tmp_path / "key"
    shutil.copyfile(luks2, disk)
    keyfile.write_bytes(b"\0binary\n\xff")
    add = ["cryptsetup", "luksAddKey", "-q", *CHEAP["argon2id"], "--key-slot", "5", "-d", "-"]
    tool(*add, disk, keyfile, stdin=PASSWORD)
    with pytest.raises(ImageError, match=r"disk\.img: no key slot of it knows that password"):
        opened(disk, password="wrong")
    with pytest.raises(LockedError, match=r"disk\.img: is encrypted \(LUKS\)"):
        opened(disk)
    with pytest.raises(ImageError, match=r"has no volume vg/lv that is not encrypted"):
        opened(disk, "vg/lv")
    with pytest.raises(FileNotFoundError):
        opened(disk, keyfile=tmp_path / "none")
    with pytest.raises(ValueError, match="not both"):
        opened(disk, password="", keyfile=keyfile)
    for key in ({"keyfile": keyfile}, {"password": keyfile.read_bytes()}, {"password": PASSWORD}):
        with opened(disk, read_only=True, **key) as image:
            assert image.cat("/hello") == b"from mke2fs\n"
    tool("cryptsetup", "luksErase", "-q", disk)
    with pytest.raises(ImageError, match="it has no key slots"):
        opened(disk, password=PASSWORD)


@pytest.mark.kernel
@pytest.mark.parametrize("sandbox", [True, False])
def test_overlays_and_snapshots(luks2: Path, opened: Any, sandbox: bool) -> None:
    """They are below the encryption: all of it is taken apart and put together again."""
    before = luks2.read_bytes()
    with opened(luks2, password=PASSWORD, overlay=True, sandbox=sandbox) as image:
        image.pipe("/one", b"1")
        first = image.snapshot()
        image.rm("/hello")
        image.rollback(first)
        assert image.cat("/hello") == b"from mke2fs\n"
        assert image.cat("/one") == b"1"
    assert luks2.read_bytes() == before


@pytest.mark.kernel
def test_what_was_not_unmounted(luks2: Path, opened: Any, tmp_path: Path) -> None:
    """Read-only, its journal is replayed in memory, and nobody is asked for the key again."""
    disk = tmp_path / "disk.img"
    shutil.copyfile(luks2, disk)
    image = opened(disk, password=PASSWORD, sandbox=False)
    with image.volume.kernel.open("/fsynced", "w") as file:
        file.write("still here")
        file.flush()
        image.volume.kernel.os.fsync(file.fileno())
        image.volume.kernel.close()
        before = disk.read_bytes()
    with opened(disk, password=PASSWORD, read_only=True) as again:
        assert again.cat("/fsynced") == b"still here"
    assert disk.read_bytes() == before


@pytest.mark.kernel
def test_damaged_headers(luks2: Path, opened: Any, tmp_path: Path) -> None:
    """The second copy of the header serves; without that there is an error."""
    disk = tmp_path / "disk.img"
    shutil.copyfile(luks2, disk)
    with disk.open("r+b") as file:
        file.seek(5000)
        file.write(b"damage")
    with opened(disk, read_only=True, password=PASSWORD) as image:
        assert image.cat("/hello") == b"from mke2fs\n"
    with disk.open("r+b") as file:
        file.seek(0x4000 + 5000)
        file.write(b"damage")
    with pytest.raises(ImageError, match="no copy has the right checksum"):
        opened(disk, password=PASSWORD)
    with disk.open("r+b") as file:
        file.truncate(20_000)
    with pytest.raises(ImageError, match=r"header|cut off"):
        opened(disk, password=PASSWORD)


def headers(luks2: Path, tmp_path: Path) -> list[bytes]:
    """The beginnings of a LUKS1 and a LUKS2 image."""
    luks1 = tmp_path / "luks1.img"
    luks1.write_bytes(bytes(4 << 20))
    command = ["cryptsetup", "luksFormat", "-q", "--type", "luks1", *CHEAP["pbkdf2"], "-d", "-"]
    tool(*command, luks1, stdin=PASSWORD)
    return [path.read_bytes()[: 64 << 10] for path in (luks1, luks2)]


def test_headers_of_strangers(luks2: Path, tmp_path: Path) -> None:
    """Whatever a header says, it is an error or a header within limits; nothing else happens."""
    errors = 0
    for kind, whole in enumerate(headers(luks2, tmp_path)):
        chance = random.Random(kind)
        for _ in range(600):
            data = bytearray(whole)
            for _ in range(chance.choice((1, 2, 8))):
                at = chance.randrange(chance.choice((600, 4096 + 900)))
                data[at] = chance.choice((0, 1, 0x20, 0x2D, 0x39, 0x7B, 0x7F, 0xFF))
            if kind:
                seal(data)
            try:
                header = parse(reader(data))
            except HeaderError as error:
                assert 0 < len(str(error)) < 200
                errors += 1
                continue
            assert len(header.slots) <= 32
            assert all(slot.volume_key_size * slot.stripes <= 32 << 20 for slot in header.slots)
            assert not set(header.cipher) & set(" \n\0")
    assert errors > 150


def seal(data: bytearray) -> None:
    """Make the checksum of a LUKS2 header right."""
    size = int.from_bytes(data[8:16], "big")
    if size <= len(data):
        data[448:512] = bytes(64)
        data[448:480] = hashlib.sha256(data[:size]).digest()


def test_json_of_strangers(luks2: Path) -> None:
    """JSON that is no LUKS header is an error, however deep or odd."""
    whole = luks2.read_bytes()[: 32 << 10]
    for text in (
        *("", "{", "[]", "null", "[" * 9000, '{"config": 1}', '{"config": {}, "segments": 5}'),
        '{"config": {"requirements": {"mandatory": ["online-reencrypt"]}}}',
    ):
        data = bytearray(whole)
        data[4096:16384] = text.encode().ljust(12288, b"\0")
        seal(data)
        with pytest.raises(HeaderError):
            parse(reader(data[:16384]))


@pytest.mark.parametrize(
    "kdf",
    [
        Kdf("pbkdf2", b"salt", "sha256", 1 << 40),
        Kdf("argon2id", b"saltsalt", "", 4, 1 << 30, 1),
        Kdf("argon2id", b"saltsalt", "", 1 << 20, 1 << 20, 1),
        Kdf("argon2i", b"saltsalt", "", 4, 1 << 10, 1 << 20),
    ],
)
def test_keys_that_cost_too_much(kdf: Kdf) -> None:
    """Nobody works for years, or takes all memory, because a header says so."""
    with pytest.raises(HeaderError, match=r"more of .* than anybody would choose"):
        derive(kdf, b"password", 64)


def test_keys() -> None:
    """Test vectors: RFC 7914 section 11 for PBKDF2, RFC 9106 appendix A is not raw; errors."""
    kdf = Kdf("pbkdf2", b"salt", "sha256", 1)
    assert derive(kdf, b"passwd", 64).hex().startswith("55ac046e56e3089fec1691c22544b605")
    for name in ("nix", "new", "shake_128", "__doc__"):
        with pytest.raises(HeaderError, match="not known to this Python"):
            derive(kdf._replace(hash=name), b"", 8)
        with pytest.raises(HeaderError, match="not known to this Python"):
            merge(bytes(16), 8, name)
    with pytest.raises(HeaderError, match="Argon2"):
        derive(Kdf("argon2id", b"s", "", 1, 8, 1), b"", 8)
