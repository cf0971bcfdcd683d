# SPDX-License-Identifier: GPL-2.0-only
"""Encrypted, divided and combined images for tests, made by the tools that everybody uses."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.images.tools import ENV

PASSWORD = "correct horse"
CHEAP = {
    "pbkdf2": ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"],
    "argon2id": ["--pbkdf", "argon2id", "--pbkdf-memory", "1024", "--pbkdf-parallel", "1",
                 "--pbkdf-force-iterations", "4"],
    "argon2i": ["--pbkdf", "argon2i", "--pbkdf-memory", "1024", "--pbkdf-parallel", "2",
                "--pbkdf-force-iterations", "4"],
}  # fmt: skip


def tool(*command: object, stdin: str = "", **env: str) -> str:
    """Run a program; what it says."""
    args = [str(each) for each in command]
    result = subprocess.run(
        args, input=stdin, env={**ENV, **env}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{args}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def reader(data: bytes | bytearray) -> Callable[[int, int], bytes]:
    """What reads a device with that on it: so many bytes from there."""
    return lambda at, size: bytes(data[at : at + size])


def sparse(path: Path, megabytes: int) -> Path:
    """An empty image."""
    path.touch()
    os.truncate(path, megabytes << 20)
    return path


def ext4(path: Path, megabytes: int, **files: str) -> Path:
    """An ext4 image with files in it."""
    with tempfile.TemporaryDirectory() as tree:
        for name, content in files.items():
            Path(tree, name).write_text(content)
        sparse(path, megabytes)
        tool("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-L", "INSIDE", "-d", tree, path)
    return path


def encrypt(path: Path, kdf: str, *options: str) -> None:
    """Make LUKS2 of an image, whose last 8 MB are free."""
    command = ["cryptsetup", "reencrypt", "--encrypt", "--type", "luks2", "-q", "-d", "-"]
    command += ["--reduce-device-size", "8M", *CHEAP[kdf], *options]
    tool(*command, path, stdin=PASSWORD)


def decrypt(path: Path) -> None:
    """Make a plain image of LUKS2."""
    header = path.with_suffix(".header")
    command = ["cryptsetup", "reencrypt", "--decrypt", "-q", "-d", "-", "--header", header]
    tool(*command, "--force-offline-reencrypt", path, stdin=PASSWORD)


@contextlib.contextmanager
def loops(paths: Sequence[Path]) -> Iterator[list[str]]:
    """Block devices of the host, for tools that want such."""
    devices: list[str] = []
    try:
        for path in paths:
            result = subprocess.run(
                ["losetup", "--find", "--show", path], env=ENV, capture_output=True, text=True
            )
            if result.returncode:
                pytest.skip(f"this machine has no loop devices: {result.stderr.strip()}")
            devices.append(result.stdout.strip())
        yield devices
    finally:
        for device in devices:
            tool("losetup", "-d", device)


def lvm(devices: Sequence[str], *command: object) -> str:
    """Run a command of LVM, which sees these devices alone."""
    name, *rest = command
    config = "backup { backup = 0 archive = 0 } devices { md_component_detection = 0 }"
    options = ["--driverloaded", "n", "--config", config, "--devices", ",".join(devices)]
    # It complains of descriptors that others have left open.
    return tool(name, *options, *rest, LVM_SUPPRESS_FD_WARNINGS="1")


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Wait until no other test makes something there that has a fixed name."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def raid(shim: Path, paths: Sequence[Path], level: str, metadata: str, number: int) -> None:
    """Make an array whose members are equal, since all of them are zeroes."""
    node = Path(f"/dev/md{number}")
    with alone(node.parent), loops(paths) as devices:
        command = ["mdadm", "--create", node, "--run", "--assume-clean", "--homehost=any"]
        command += ["--name=home", f"--metadata={metadata}", f"--level={level}"]
        try:
            tool(*command, f"--raid-devices={len(devices)}", *devices, LD_PRELOAD=str(shim))
        finally:
            node.unlink(missing_ok=True)


def examined(path: Path) -> dict[str, str]:
    """What mdadm says of a member."""
    pairs = re.findall(r"^\s*([A-Za-z ]+?) : (.*)$", tool("mdadm", "-E", path), re.MULTILINE)
    return {name: value.strip() for name, value in pairs}
