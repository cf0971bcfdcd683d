# SPDX-License-Identifier: GPL-2.0-only
"""Copy-on-write disks: with kernels, and beside QEMU's own tool for their format."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from rumpel import DeviceError, Disk, Kernel, Overlay
from tests.api.test_disks import compare, ext4, run
from tests.api.test_fork import in_child

Boot = Callable[..., Kernel]

CLUSTER = 128 << 10
"""Of an overlay's file."""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Some files."""
    root = tmp_path / "tree"
    (root / "a").mkdir(parents=True)
    for number in range(50):
        (root / f"a/file{number}").write_bytes(os.urandom(number * 997))
    return root


def write(kernel: Kernel, name: str, text: str) -> None:
    """One file, safe from a pulled plug."""
    with kernel.open(f"/mnt/{name}", "w") as file:
        file.write(text)
        file.flush()
        kernel.os.fsync(file.fileno())


def read(kernel: Kernel, name: str) -> str:
    """The same back."""
    with kernel.open(f"/mnt/{name}") as file:
        text: str = file.read()
        return text


def with_disk(boot: Boot, disk: Overlay) -> Kernel:
    """A kernel that has it mounted."""
    kernel = boot(disks=[disk])
    kernel.mount("/dev/vda", "/mnt", "ext4")
    return kernel


@pytest.mark.kernel
class TestKernels:
    """What a kernel writes."""

    def test_the_base_stays(self, boot: Boot, tmp_path: Path, tree: Path) -> None:
        """Also one that cannot be written to; the overlay is a disk that QEMU understands."""
        base = ext4(tmp_path / "base.img", tree)
        base.chmod(0o444)
        before = base.read_bytes()
        disk = Overlay(base, tmp_path / "over.qcow2")
        kernel = with_disk(boot, disk)
        assert compare(kernel, "/mnt", tree) == 50
        write(kernel, "new", "new\n")
        kernel.os.unlink("/mnt/a/file3")
        kernel.halt()
        assert base.read_bytes() == before
        run("qemu-img", "check", tmp_path / "over.qcow2")
        run("qemu-img", "convert", "-O", "raw", tmp_path / "over.qcow2", tmp_path / "flat.img")
        run("e2fsck", "-fn", tmp_path / "flat.img")
        assert run("debugfs", "-R", "cat /new", tmp_path / "flat.img") == "new\n"

    def test_the_file_is_opened_again(self, boot: Boot, tmp_path: Path, tree: Path) -> None:
        base = ext4(tmp_path / "base.img", tree)
        for number in range(3):
            kernel = with_disk(boot, Overlay(base, tmp_path / "over"))
            assert kernel.os.path.exists("/mnt/0") == (number > 0)
            write(kernel, str(number), f"boot {number}")
            kernel.halt()
        kernel = with_disk(boot, Overlay(base, tmp_path / "over"))
        assert [read(kernel, str(n)) for n in range(3)] == ["boot 0", "boot 1", "boot 2"]

    def test_a_plug_that_is_pulled(self, boot: Boot, tmp_path: Path) -> None:
        """What was synced is there."""
        base = ext4(tmp_path / "base.img")
        kernel = with_disk(boot, Overlay(base, tmp_path / "over"))
        write(kernel, "safe", "safe" * 1000)
        kernel.close()
        kernel = with_disk(boot, Overlay(base, tmp_path / "over"))
        assert read(kernel, "safe") == "safe" * 1000

    def test_memory(self, boot: Boot, tmp_path: Path, tree: Path) -> None:
        """One object, kernel after kernel; forgotten with it."""
        base = ext4(tmp_path / "base.img", tree)
        before = base.read_bytes()
        disk = Overlay(base)
        for number in range(3):
            kernel = with_disk(boot, disk)
            write(kernel, str(number), "x")
            kernel.halt()
        kernel = with_disk(boot, disk)
        assert compare(kernel, "/mnt/a", tree / "a") == 50
        assert kernel.os.path.exists("/mnt/2")
        assert disk.stats.received > 0
        kernel.halt()
        disk.discard()
        kernel = with_disk(boot, disk)
        assert not kernel.os.path.exists("/mnt/2")
        kernel.halt()
        assert base.read_bytes() == before

    def test_bytes(self, boot: Boot, tmp_path: Path, tree: Path) -> None:
        disk = Overlay(ext4(tmp_path / "base.img", tree).read_bytes())
        kernel = with_disk(boot, disk)
        write(kernel, "new", "x")
        assert compare(kernel, "/mnt/a", tree / "a") == 50

    def test_commit(self, boot: Boot, tmp_path: Path, tree: Path) -> None:
        base = ext4(tmp_path / "base.img", tree)
        disk = Overlay(base, tmp_path / "over")
        for number in range(2):
            kernel = with_disk(boot, disk)
            write(kernel, f"new{number}", "text")
            kernel.halt()
            disk.commit()
            run("e2fsck", "-fn", base)
            assert run("debugfs", "-R", f"cat /new{number}", base) == "text"
        disk.close()
        kernel = with_disk(boot, Overlay(base, tmp_path / "over"))
        assert read(kernel, "new1") == "text"

    def test_snapshots(self, boot: Boot, tmp_path: Path, tree: Path) -> None:
        """Rolled back, and kept."""
        disk = Overlay(ext4(tmp_path / "base.img", tree), tmp_path / "one")
        kernel = with_disk(boot, disk)
        write(kernel, "first", "1")
        kernel.halt()
        above = disk.snapshot()
        with pytest.raises(OSError, match="busy"):
            boot(disks=[disk])
        for name in ("gone", "kept"):
            kernel = with_disk(boot, above)
            assert read(kernel, "first") == "1"
            assert not kernel.os.path.exists("/mnt/gone")
            write(kernel, name, name)
            kernel.halt()
            if name == "gone":
                above.discard()
        above.commit()
        del above
        kernel = with_disk(boot, disk)
        assert sorted(set(kernel.os.listdir("/mnt"))) == ["a", "first", "kept", "lost+found"]

    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_a_fork_leaves_it_to_the_parent(self, boot: Boot, tmp_path: Path) -> None:
        """Also one that no kernel has at that time: two that write would destroy it."""
        disk = Overlay(ext4(tmp_path / "base.img"))
        kernel = with_disk(boot, disk)
        write(kernel, "new", "text")
        kernel.halt()

        def child() -> None:
            for forbidden in (lambda: boot(disks=[disk]), disk.commit, disk.discard, disk.snapshot):
                with pytest.raises(OSError, match="busy") as caught:
                    forbidden()
                assert caught.value.errno == errno.EBUSY

        in_child(child)
        assert read(with_disk(boot, disk), "new") == "text"

    def test_what_does_not_fit_at_the_end_is_an_error(self, boot: Boot, tmp_path: Path) -> None:
        """A disk that nobody flushed, and no room for its tables: halt raises, all is closed."""
        base, over = tmp_path / "base", tmp_path / "over"
        base.write_bytes(bytes(1 << 20))
        kernel = boot(disks=[Overlay(base, over)])
        with kernel.open("/dev/vda", "wb") as file:
            file.write(b"x" * 4096)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (over.stat().st_size, hard))
        try:
            with pytest.raises(OSError, match="too large") as caught:
                kernel.halt()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert caught.value.errno == errno.EFBIG
        assert kernel.state == "halted"

    def test_discarded_room_is_given_back(self, boot: Boot, tmp_path: Path) -> None:
        over = tmp_path / "over"
        kernel = with_disk(boot, Overlay(ext4(tmp_path / "base.img", None, "64M"), over))
        with kernel.open("/mnt/big", "wb") as file:
            file.write(os.urandom(20 << 20))
        kernel.syscall("sync")
        full = over.stat().st_blocks
        kernel.os.unlink("/mnt/big")
        kernel.syscall("sync")
        fd = kernel.os.open("/mnt", os.O_RDONLY)
        kernel.syscall("ioctl", fd, 0xC0185879, (0).to_bytes(8, "little") + b"\xff" * 8 + bytes(8))
        kernel.os.close(fd)
        assert over.stat().st_blocks < full - (15 << 11)

    def test_in_use(self, boot: Boot, tmp_path: Path) -> None:
        base = ext4(tmp_path / "base.img")
        disk = Overlay(base, tmp_path / "over")
        kernel = with_disk(boot, disk)
        for forbidden in (disk.commit, disk.discard, disk.snapshot):
            with pytest.raises(OSError, match="busy") as caught:
                forbidden()
            assert caught.value.errno == errno.EBUSY
        with pytest.raises(OSError, match="busy"):
            Disk(base)
        with pytest.raises(OSError, match="busy"):
            Overlay(base, tmp_path / "over")
        with pytest.raises(ValueError, match="one kernel"):
            boot(disks=[disk])
        assert kernel.os.getpid() == 1

    def test_qemu_writes_too(self, boot: Boot, tmp_path: Path, tree: Path) -> None:
        """qemu-img makes and commits what we use."""
        base, over = ext4(tmp_path / "base.img", tree), tmp_path / "over"
        options = "cluster_size=128k,extended_l2=on"
        run("qemu-img", "create", "-f", "qcow2", "-o", options, "-b", base, "-F", "raw", over)
        kernel = with_disk(boot, Overlay(base, over))
        write(kernel, "new", "text")
        kernel.halt()
        run("qemu-img", "check", over)
        run("qemu-img", "commit", over)
        run("e2fsck", "-fn", base)
        assert run("debugfs", "-R", "cat /new", base) == "text"


class TestFiles:
    """What is wrong with them is said."""

    def test_a_base_that_changed(self, tmp_path: Path) -> None:
        base = tmp_path / "base"
        base.write_bytes(bytes(1 << 20))
        Overlay(base, tmp_path / "over")
        os.utime(base, (1, 1))
        with pytest.raises(DeviceError, match="over: the base has changed"):
            Overlay(base, tmp_path / "over")
        os.truncate(base, 2 << 20)
        with pytest.raises(DeviceError, match="over: the overlay is of another size"):
            Overlay(base, tmp_path / "over")

    def test_what_is_no_overlay(self, tmp_path: Path) -> None:
        """It stays as it is."""
        base, other = tmp_path / "base", tmp_path / "other"
        base.write_bytes(bytes(1 << 20))
        other.write_bytes(bytes(1 << 20))
        with pytest.raises(DeviceError, match="other: not a qcow2 file"):
            Overlay(base, other)
        assert other.read_bytes() == bytes(1 << 20)
        run("qemu-img", "create", "-q", "-f", "qcow2", tmp_path / "plain", "1M")
        with pytest.raises(DeviceError, match="extended_l2=on"):
            Overlay(base, tmp_path / "plain")

    @pytest.mark.parametrize("size", [0, CLUSTER + 8, 2 * CLUSTER + 8, 4 * CLUSTER])
    def test_one_that_was_being_made(self, size: int, tmp_path: Path) -> None:
        """Its maker was killed before the header was there, also at the end of a commit."""
        base, over = tmp_path / "base", tmp_path / "over"
        base.write_bytes(bytes(1 << 20))
        Overlay(base, over)
        made = over.read_bytes()
        assert len(made) == 4 * CLUSTER
        over.write_bytes((bytes(4096) + made[4096:])[:size])
        Overlay(base, over)
        assert over.read_bytes() == made

    def test_errors_of_opening(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="nothing"):
            Overlay(tmp_path / "nothing")
        base = tmp_path / "base"
        base.write_bytes(bytes(1 << 20))
        with pytest.raises(FileNotFoundError, match="no/where"):
            Overlay(base, tmp_path / "no/where")
        (tmp_path / "empty").touch()
        with pytest.raises(DeviceError, match="the base is empty"):
            Overlay(tmp_path / "empty")
        with pytest.raises(TypeError):
            Overlay(3)  # type: ignore[arg-type]
