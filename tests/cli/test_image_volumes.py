# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image`` of images with volumes on volumes."""

from __future__ import annotations

import json
import os
import pty
import shutil
import sys
from pathlib import Path

import pytest

from rumpel.cli.image.passwords import PASSWORD as VARIABLE
from rumpel.cli.image.passwords import known
from rumpel.images import open_image
from tests.cli.conftest import Run
from tests.conftest import VERSION
from tests.images.test_lvm import group, write
from tests.images.test_verity import seal
from tests.images.tools import make
from tests.images.volumes import PASSWORD, encrypt, ext4, sparse, tool

pytestmark = [pytest.mark.kernel, pytest.mark.once]
MIB = 1 << 20


@pytest.fixture(scope="module")
def nested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A FAT partition, and one with LUKS, in that LVM, in that ext4 and swap. Only to be read."""
    top = tmp_path_factory.mktemp("nested")
    inner = sparse(top / "inner", 24)
    group("system", [inner], {"root": ["-L", "16m"], "swap": ["-L", "4m"]})
    write([inner], "system/root", ext4(top / "root", 16, hello="well hidden\n"))
    os.truncate(inner, 32 * MIB)
    encrypt(inner, "pbkdf2")
    disk = sparse(top / "nested.img", 64)
    table = "label: gpt\nstart=2048, size=16384, type=uefi, name=EFI\nstart=18432, size=65536\n"
    tool("sfdisk", "-q", disk, stdin=table)
    with disk.open("r+b") as file:
        for start, part in ((MIB, make(top / "efi", "vfat", 8, label="EFI")), (9 * MIB, inner)):
            file.seek(start)
            file.write(part.read_bytes())
    return disk


@pytest.fixture(autouse=True)
def forget() -> None:
    """Passwords are kept as long as a command runs, which is the whole program elsewhere."""
    known.clear()


def test_info(run: Run, nested: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in what, for people and for programs; without a password as far as that goes."""
    rows = [line.split()[:4] for line in run("info", nested).lines[2:]]
    assert [[row[0], *row[3:]] for row in rows] == [["1", "vfat"], ["2", "crypto_LUKS"]]
    monkeypatch.setenv(VARIABLE, PASSWORD)
    known.clear()
    lines = run("info", nested).lines[3:7]
    assert [len(line) - len(line.lstrip()) for line in lines] == [2, 4, 6, 6]
    found = [line.split() for line in lines]
    assert [row[3] for row in found] == ["crypto_LUKS", "LVM2_member", "ext4", "-"]
    assert found[1][0].startswith("luks-")
    assert [row[0] for row in found[2:]] == ["system/root", "system/swap"]
    (told,) = json.loads(run("info", "--json", nested).out)
    devices = {each["title"]: each for each in told["devices"]}
    assert devices["system/root"]["label"] == "INSIDE"
    assert devices["2"]["name"] in devices[found[1][0]]["below"]
    monkeypatch.setenv(VARIABLE, "wrong")
    known.clear()
    assert run("info", nested).lines[-1] == "  2: no key slot of it knows that password"


def test_names(run: Run, nested: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By volume, by the partition that it is in, by label; files are copied out and in."""
    disk = tmp_path / "nested.img"
    shutil.copyfile(nested, disk)
    monkeypatch.setenv(VARIABLE, PASSWORD)
    for name in ("2", "system/root", "LABEL=INSIDE"):
        assert run("cat", f"nested.img:{name}:/hello").out == "well hidden\n"
    run("cp", "nested.img:system/root:/hello", "nested.img:1:/")
    assert run("ls", "nested.img:1").lines == ["hello"]
    run("mkdir", "nested.img:system/root:/new")
    assert "new" in run("ls", "nested.img:system/root").lines
    assert "name one: 1 (vfat EFI), system/root" in run("ls", disk, status=1).error


def test_checks(run: Run, nested: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Volumes are checked as partitions are; what is damaged in one is found."""
    disk = tmp_path / "nested.img"
    shutil.copyfile(nested, disk)
    monkeypatch.setenv(VARIABLE, PASSWORD)
    said = run("check", disk).lines
    assert said == [f"{disk}:1: vfat: clean", f"{disk}:system/root: ext4: clean"]
    with open_image(f"{disk}:system/root", password=PASSWORD, version=VERSION) as image:
        image.volume._unmount()
        with image.volume.kernel.open(image.volume.device.path, "r+b") as file:
            file.seek(4096 + 18)  # the group's number of free directories and so on
            file.write(b"\xff" * 8)
    assert "NOT CLEAN" in run("check", f"{disk}:system/root", status=1).out
    assert "clean" in run("check", "--repair", f"{disk}:system/root").out
    said = run("check", disk).lines
    assert said == [f"{disk}:1: vfat: clean", f"{disk}:system/root: ext4: clean"]
    assert run("cat", f"{disk}:system/root:/hello").out == "well hidden\n"


def test_passwords(run: Run, nested: Path, tmp_path: Path) -> None:
    """From a file, from standard input, from a key file; never two of them, never an argument."""
    image = f"{nested}:2:/hello"
    (tmp_path / "line").write_text(f"{PASSWORD}\nmore\n")
    (tmp_path / "whole").write_text(PASSWORD)
    for option in ("--password-file=line", "--password-file=whole", "--key-file=whole"):
        assert run("cat", option, image).out == "well hidden\n"
    known.clear()
    assert run("cat", "--password-file=-", image, stdin=f"{PASSWORD}\n".encode()).out
    for option, error in (
        ("--key-file=line", f"{nested}:2: no key slot of it knows that password"),
        ("--key-file=none", "No such file or directory"),
        ("--read-only", f"{nested}:2: is encrypted (LUKS): its password is needed"),
    ):
        said = run("cat", option, image, status=1).error
        assert error in said
        assert said.count("\n") == 1
    run("cat", "--key-file=line", "--password-file=line", image, status=2)


def test_a_terminal(nested: Path) -> None:
    """It is asked for there, without an echo, as often as cryptsetup would, once an image."""
    args = ["rumpel", "image", "cat", "--kernel", VERSION, *[f"{nested}:2:/hello"] * 2]
    pid, terminal = pty.fork()
    if not pid:
        os.environ.pop(VARIABLE, None)
        program = f"import sys; sys.argv = {args!r}; from rumpel.cli import main; main()"
        os.execv(sys.executable, [sys.executable, "-c", program])
    said = b""
    try:
        for answer in ("wrong", PASSWORD):
            said = read_until(terminal, said, b": ")
            assert said.rstrip().endswith(b"nested.img:2:")
            os.write(terminal, f"{answer}\n".encode())
            said = b""
        said = read_until(terminal, b"", b"\n" + b"well hidden\r\n" * 2)
        assert PASSWORD.encode() not in said
    finally:
        os.close(terminal)
        # It may see that its terminal has gone: as SIGHUP ends it.
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) in (0, -1, 129)


def read_until(fd: int, said: bytes, end: bytes) -> bytes:
    """What comes from a terminal, until it ends so."""
    while not said.endswith(end):
        said += os.read(fd, 4096)
    return said


def test_verity(run: Run, tmp_path: Path) -> None:
    """What was changed is an error, and a line that says what the kernel has found."""
    data = ext4(tmp_path / "data.img", 16, one="1" * 9000, two="2" * 9000)
    hashes = sparse(tmp_path / "hash.img", 2)
    root = seal(data, hashes)
    checked = ["--verity", root, "--verity-hash", "hash.img"]
    assert run("cat", *checked, "data.img:/one").out == "1" * 9000
    content = bytearray(data.read_bytes())
    content[content.index(b"2" * 4096) + 5000] ^= 1
    data.write_bytes(content)
    first, second = run("cat", *checked, "data.img:/two", status=1).error.splitlines()
    assert first == "rumpel: data.img:/two: Input/output error"
    assert second.startswith("rumpel: data.img:verity: the kernel says: device-mapper: verity: ")
    assert second.endswith("is corrupted")
    assert "no tree of hashes" in run("ls", "--verity", "00" * 32, "data.img", status=1).error
    assert "--verity:" in run("ls", "--verity", "xy", "data.img", status=2).error
    assert run("info", *checked, "data.img").lines[3].split()[0] == "verity"


def test_what_is_in_the_environment(nested: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library asks no environment: only what it was given."""
    monkeypatch.setenv(VARIABLE, PASSWORD)
    with pytest.raises(Exception, match="its password is needed"):
        open_image(f"{nested}:2", version=VERSION)
