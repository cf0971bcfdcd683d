# SPDX-License-Identifier: GPL-2.0-only
"""Prove that an image's source is the package's, but for ``arch/rumpel``.

Four things together make the proof: the image is the file that was built, the
source tree has not changed since, the tree through which make saw it holds
nothing else than the port, and each of its files equals the one in the
package's tarball, byte for byte.
"""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
from dataclasses import dataclass
from hashlib import file_digest, md5
from pathlib import Path
from typing import IO

from rumpel.build.image import Image
from rumpel.build.progress import Progress
from rumpel.build.tree import ARCH, NOT_SOURCE, manifest, walk
from rumpel.errors import BuildError

SHOWN = 5


@dataclass(frozen=True)
class Verified:
    """The result of a verification that found nothing wrong."""

    key: str
    files: int
    port_files: int
    tarball: str
    tarball_sha256: str


def verify_image(
    image: Image, progress: Progress | None = None, dpkg: Path = Path("/var/lib/dpkg/info")
) -> Verified:
    """Verify an image's promise of an untouched source.

    Raises:
        BuildError: naming the first files that differ, lack or are too many.
    """
    progress = progress or Progress()
    try:
        return _verify(image, progress, dpkg)
    finally:
        progress.stop()


def _verify(image: Image, progress: Progress, dpkg: Path) -> Verified:
    tarball = Path(image.tarball)
    if not image.tarball:
        raise BuildError(
            f"image {image.key} was built from a tree that is no package's: {image.source}"
        )
    if not image.tree.is_dir() or not tarball.is_file():
        raise BuildError(
            f"the source of image {image.key} is no longer in the cache; build it again"
        )
    progress.start("check the image and the package")
    if _sha256(image.path) != image.sha256:
        raise BuildError(f"{image.path} is not the file that was built")
    if _sha256(tarball) != image.tarball_sha256:
        raise BuildError(
            f"{tarball} is not the package's tarball that the source came from; "
            "if the package was upgraded, build again with --refresh"
        )
    _check_dpkg(tarball, dpkg)
    if manifest((image.tree / "Makefile").resolve().parent) != image.manifest:
        raise BuildError(f"the source of image {image.key} has changed since it was built")
    progress.start("compare the source with the package")
    present = tree_files(image.tree)
    count = _compare(image.tree, tarball, present, progress)
    return Verified(
        image.key,
        count,
        len(list(walk(image.tree / "arch" / ARCH))),
        str(tarball),
        image.tarball_sha256,
    )


def tree_files(tree: Path) -> set[str]:
    """All files that make can see in a composed tree, without the port's."""
    found = set()
    for top in os.scandir(tree):
        if top.name == "arch":
            for arch in os.scandir(top.path):
                if arch.name != ARCH:
                    found |= _below(Path(arch.path), f"arch/{arch.name}")
        elif top.name not in NOT_SOURCE:
            found |= _below(Path(top.path), top.name)
    return found


def _below(path: Path, name: str) -> set[str]:
    if path.is_dir():
        return {f"{name}/{x}" for x, _ in walk(path)}
    return {name}


def _compare(tree: Path, tarball: Path, present: set[str], progress: Progress) -> int:
    """Compare with the tarball's members as they stream by; return their number."""
    wrong: list[str] = []
    missing: list[str] = []
    seen: set[str] = set()
    with subprocess.Popen(["xz", "-dc", str(tarball)], stdout=subprocess.PIPE) as xz:
        assert xz.stdout is not None
        with tarfile.open(fileobj=xz.stdout, mode="r|") as tar:
            for member in tar:
                if member.isdir():
                    continue
                name = re.sub(r"^(\./)?[^/]+/", "", member.name, count=1)
                if name in NOT_SOURCE:
                    continue
                seen.add(name)
                if name not in present:
                    missing.append(name)
                elif not _equal(tree / name, member, tar):
                    wrong.append(name)
                if len(seen) % 500 == 0:
                    progress.update(len(seen), name)
        while xz.stdout.read(1 << 16):
            pass  # the padding after the last member, lest xz meets a closed pipe
    if xz.returncode:
        raise BuildError(f"cannot read {tarball}")
    problems = [
        f"{len(names)} {kind}: {', '.join(sorted(names)[:SHOWN])}"
        for kind, names in (
            ("changed", wrong),
            ("missing", missing),
            ("not in the package", present - seen),
        )
        if names
    ]
    if problems:
        raise BuildError("the source is not the package's: " + "; ".join(problems))
    return len(seen)


def _equal(path: Path, member: tarfile.TarInfo, tar: tarfile.TarFile) -> bool:
    if member.issym():
        return _link_text(path) == member.linkname
    if member.islnk():
        return path.is_file()
    content = tar.extractfile(member)
    if content is None or not path.is_file():
        return False
    if path.stat().st_size != member.size:
        return False
    with open(path, "rb") as f:
        return _same_stream(f, content)


def _link_text(path: Path) -> str:
    """What a link of the source says, seen through the composed tree."""
    if not path.is_symlink():
        return ""
    text = os.readlink(path)  # noqa: PTH115, a Path would tidy the text
    target = Path(text)
    if target.is_absolute() and target.is_symlink():
        text = os.readlink(target)  # noqa: PTH115
    return text


def _same_stream(a: IO[bytes], b: IO[bytes]) -> bool:
    while True:
        x, y = a.read(1 << 18), b.read(1 << 18)
        if x != y:
            return False
        if not x:
            return True


def _check_dpkg(tarball: Path, info: Path) -> None:
    """If the tarball is installed by a package, compare it with the package's record."""
    sums = info / f"{tarball.name.removesuffix('.tar.xz')}.md5sums"
    if tarball.parent != Path("/usr/src") or not sums.is_file():
        return
    found = re.search(
        rf"^([0-9a-f]{{32}})\s+usr/src/{re.escape(tarball.name)}$", sums.read_text(), re.M
    )
    if not found:
        return
    with open(tarball, "rb") as f:
        if file_digest(f, lambda: md5(usedforsecurity=False)).hexdigest() != found[1]:
            raise BuildError(f"{tarball} is not what its package installed")


def _sha256(path: Path) -> str:
    with open(path, "rb") as f:
        return file_digest(f, "sha256").hexdigest()
