# SPDX-License-Identifier: GPL-2.0-only
"""Finished images: what they are, where they lie, how they are found.

This is the path that every boot takes, so it reads a few small files and
imports little.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from rumpel.build import memo
from rumpel.build.layout import Layout
from rumpel.errors import BuildError

IMAGE = "rumpel.so"
META = "image.json"
KEPT = 5
"""How many images that differ only in port, source state or compiler stay in the cache."""

RECIPE = 1
"""Counted up when the way of building changes what comes out."""


@dataclass(frozen=True)
class Image:
    """A kernel image and where it came from.

    Attributes:
        path: the image, to be loaded.
        vmlinux: the same with symbols and debug information; may be absent.
        version: as asked for, such as 6.12.
        release: the full version of the source, such as 6.12.1.
        profile: the name of the profile.
        options: the user's options on top of it.
        source: identity of the source.
        modified: does the source differ from Debian's of that version? None: not known.
        port: hash of arch/rumpel.
        compiler: what the compiler called itself.
        size: of the image, in bytes.
        sha256: of the image.
        key: what the cache knows it by.
        warnings: options of the profile that did not come out as asked.
        build: the build directory; tree: the source; manifest: of the source when built.
    """

    path: Path
    vmlinux: Path
    version: str
    release: str
    profile: str
    options: dict[str, str]
    source: str
    modified: bool | None
    port: str
    compiler: str
    size: int
    sha256: str
    key: str
    tree: Path
    tarball: str = ""
    tarball_sha256: str = ""
    manifest: str = ""
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        """All of it in plain types."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}


def port_hash(layout: Layout) -> str:
    """Hash of the content of the port and of the header it shares with the host."""
    from rumpel.build.tree import walk

    names = [name for name, _ in walk(layout.port)]
    if not names:
        raise BuildError(f"there is no port at {layout.port}")
    files = [layout.port / name for name in names]
    if layout.host_ops.exists():
        files.append(layout.host_ops)

    def compute() -> str:
        digest = sha256()
        for file in files:
            content = file.read_bytes()
            name = file.relative_to(layout.data)
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()

    where = sha256(str(layout.data).encode()).hexdigest()[:12]
    return memo.remember(layout.state, f"port-{where}", memo.fingerprint(files), compute)


def key_of(
    source: str, port: str, wanted: Mapping[str, str], options: Mapping[str, str], compiler: str
) -> str:
    """The name of an image in the cache: a hash of all that it is made from."""
    parts = [RECIPE, source, port, sorted(wanted.items()), sorted(options.items()), compiler]
    return sha256(json.dumps(parts).encode()).hexdigest()[:16]


def load(directory: Path) -> Image | None:
    """The image in a directory, or None if there is none that is whole."""
    try:
        row = json.loads((directory / META).read_text())
        size = (directory / IMAGE).stat().st_size
    except (OSError, ValueError):
        return None
    known = {k: v for k, v in row.items() if k in Image.__dataclass_fields__}
    known["tree"] = Path(known.get("tree", ""))
    known["path"] = directory / IMAGE
    known["vmlinux"] = directory / "vmlinux"
    try:
        image = Image(**known)
    except TypeError:
        return None
    return image if image.size == size else None


def stored(layout: Layout) -> Iterator[Image]:
    """All images of the package and of the cache, in the order of their names."""
    for root in (layout.packaged, layout.images):
        if root.is_dir():
            for directory in sorted(root.iterdir()):
                image = load(directory)
                if image is not None:
                    yield image


def publish(layout: Layout, image: Image, files: Mapping[str, Path]) -> Image:
    """Move a finished image into the cache with files beside it, whole or not at all."""
    import shutil

    from rumpel.build.layout import make_dir

    final = make_dir(layout.images) / image.key
    part = layout.images / f".{image.key}.{os.getpid()}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        shutil.copyfile(image.path, part / IMAGE)
        for name, file in files.items():
            shutil.copyfile(file, part / name)
        done = replace(image, path=final / IMAGE, vmlinux=final / "vmlinux")
        (part / META).write_text(json.dumps(done.to_json(), indent=2) + "\n")
        shutil.rmtree(final, ignore_errors=True)
        part.rename(final)
    except OSError as e:
        shutil.rmtree(part, ignore_errors=True)
        raise BuildError(f"cannot keep the image in {layout.images}: {e.strerror}") from e
    _prune(layout, done)
    return done


def _prune(layout: Layout, newest: Image) -> None:
    """Drop the oldest images of the same kind, lest work on the port fills the disk."""
    import shutil

    def kind(image: Image) -> object:
        return (image.version, image.profile, image.options)

    alike = [
        x
        for x in stored(layout)
        if kind(x) == kind(newest) and x.path.is_relative_to(layout.images) and x.key != newest.key
    ]
    alike.sort(key=lambda x: x.path.stat().st_mtime_ns, reverse=True)
    for image in alike[KEPT - 1 :]:
        shutil.rmtree(image.path.parent, ignore_errors=True)
