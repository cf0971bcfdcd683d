# SPDX-License-Identifier: GPL-2.0-only
"""What does not boot, and what is said about it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

import rumpel
from rumpel import BootError, BuildError, MemoryDisk


def says(error: type[Exception], message: str, **arguments: Any) -> None:
    with pytest.raises(error, match=re.escape(message)):
        rumpel.boot(**arguments)


def test_an_image_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "linux.so"
    says(BootError, f"cannot open the kernel image {path}: No such file", image=path)


def test_an_image_that_is_a_directory(tmp_path: Path) -> None:
    with pytest.raises(BootError, match=str(tmp_path)):
        rumpel.boot(image=tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"\x7fELF", b"nonsense" * 1000, b"\x7fELF\2\1\1" + bytes(5000)]
)
def test_an_image_that_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "linux.so"
    path.write_bytes(content)
    says(BootError, f"{path} is not a kernel image that this rumpel can boot: ", image=path)


def test_another_shared_object_is_no_image() -> None:
    from rumpel import _native

    says(BootError, "is not a kernel image", image=_native.__file__)


def test_an_image_that_was_not_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RUMPEL_CACHE", str(tmp_path))
    monkeypatch.setattr("rumpel.build.lookup._found", {})
    says(
        BootError,
        "there is no image of Linux 6.12 with the profile 'tiny' yet; "
        "make one: rumpel kernel build 6.12 --profile tiny",
        profile="tiny",
    )


def test_a_version_that_is_not_supported() -> None:
    says(BuildError, "'2.4' is not supported; there are: 6.12", version="2.4")


def test_a_profile_that_does_not_exist() -> None:
    says(BuildError, "no profile 'huge'", profile="huge")


def test_memory_that_is_no_size() -> None:
    says(ValueError, "not a size: 'lots'", memory="lots", image="x")


def test_a_clock_that_is_none() -> None:
    says(TypeError, "clock must be a VirtualClock or None, not float", clock=1.0)


def test_a_device_that_is_none() -> None:
    with pytest.raises((TypeError, AttributeError)):
        rumpel.boot(devices=["x"], image="x")  # type: ignore[list-item]


def test_a_device_that_is_given_twice() -> None:
    disk = MemoryDisk("1M")
    says(ValueError, "a device belongs to one kernel", disks=[disk, disk], image="x")


def test_a_disk_that_is_missing(tmp_path: Path) -> None:
    says(FileNotFoundError, "nowhere.img", disks=[tmp_path / "nowhere.img"], image="x")


@pytest.mark.kernel
class TestWithAnImage:
    """Mistakes for which there must be an image."""

    def damaged(self, tmp_path: Path, image: str, change: slice, content: bytes) -> Path:
        data = bytearray(Path(image).read_bytes())
        data[change] = content
        path = tmp_path / "damaged.so"
        path.write_bytes(data)
        return path

    @pytest.mark.parametrize("size", [64, 1000, 4096, 100_000])
    def test_an_image_cut_off(self, tmp_path: Path, tiny_image: str, size: int) -> None:
        path = self.damaged(tmp_path, tiny_image, slice(size, None), b"")
        says(BootError, "is not a kernel image", image=path)

    def test_an_image_for_another_machine(self, tmp_path: Path, tiny_image: str) -> None:
        path = self.damaged(tmp_path, tiny_image, slice(18, 20), b"\xb7\x00")
        says(BootError, "is not a kernel image", image=path)

    def test_an_image_with_a_damaged_header(self, tmp_path: Path, tiny_image: str) -> None:
        """Some fields do not matter; no value of the others takes the process down."""
        failed = 0
        for at in range(24, 64, 2):
            for value in (b"\xff\xff", b"\0\0", b"\1\0"):
                path = self.damaged(tmp_path, tiny_image, slice(at, at + 2), value)
                try:
                    rumpel.boot(image=path).close()
                except BootError:
                    failed += 1
        assert failed > 10

    @pytest.mark.parametrize("memory", [1, 4096, "1M"])
    def test_too_little_memory(self, tiny_image: str, memory: int | str) -> None:
        with pytest.raises(BootError, match="memory"):
            rumpel.boot(image=tiny_image, memory=memory)

    def test_too_much_memory(self, tiny_image: str) -> None:
        with pytest.raises((BootError, MemoryError)):
            rumpel.boot(image=tiny_image, memory=1 << 60)

    def test_what_failed_to_boot_leaves_nothing(self, tmp_path: Path, tiny_image: str) -> None:
        before = len(os.listdir("/proc/self/fd"))
        path = self.damaged(tmp_path, tiny_image, slice(4096, None), b"")
        for _ in range(20):
            with pytest.raises(BootError):
                rumpel.boot(image=path)
            with pytest.raises(BootError):
                rumpel.boot(image=tiny_image, memory=4096)
        # Those of earlier tests may go meanwhile.
        assert len(os.listdir("/proc/self/fd")) <= before

    def test_the_devices_of_a_failed_boot_can_be_used_again(self, tiny_image: str) -> None:
        disk = MemoryDisk("1M")
        says(BootError, "cannot open", disks=[disk], image="/nowhere")
        with rumpel.boot(disks=[disk], image=tiny_image):
            says(ValueError, "a device belongs to one kernel", disks=[disk], image=tiny_image)
