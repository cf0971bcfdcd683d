# SPDX-License-Identifier: GPL-2.0-only
"""Whole trees listed, copied out of an image and into it, as whole processes.

Beside a loop mount by the host's kernel, debugfs and fuse2fs; and other file systems beside
ext4. Loop mounts need root.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from rumpel.bench.images import LOOP, TREE, ImageBench, bench, need_root, run, timed
from rumpel.bench.mounts import fuse2fs
from rumpel.bench.options import Options
from rumpel.bench.result import Figure, Result

RUNS = 3
_WORKS = {
    "list": f"rumpel image find of {TREE}",
    "extract": f"rumpel image cp of {TREE} out of it",
    "insert": f"rumpel image cp of {TREE} into it",
}
_LOOP = {"list": "find", "extract": "cp -a", "insert": "cp -a, sync"}
_DEBUGFS = {"list": "ls -p of each directory", "extract": "rdump", "insert": "write of each file"}
_PEERS = {LOOP: (1.0, "", _LOOP), "debugfs": (1.0, "-debugfs", _DEBUGFS)}
_PEERS["fuse2fs"] = 1 / 5, "-fuse2fs", _LOOP
FIGURES = {
    (work, peer): Figure(f"image-{work}{suffix}", "s", target, peer, f"{ours}; {theirs[work]}")
    for work, ours in _WORKS.items()
    for peer, (target, suffix, theirs) in _PEERS.items()
}
KINDS = ("xfs", "btrfs", "vfat")


def _name(work: str, kind: str) -> str:
    return "image-fs" if (work, kind) == ("list", "xfs") else f"image-fs-{kind}-{work}"


FS_FIGURES = {
    (work, kind): Figure(_name(work, kind), "s", 1.5, "ext4", f"{ours}, of {kind}")
    for kind in KINDS
    for work, ours in _WORKS.items()
}

Works = dict[str, Callable[[ImageBench], float]]


def _rumpel() -> Works:
    return {
        "insert": lambda b: b.ours("cp", b.here / "tree", f"{b.image}:/tree"),
        "list": lambda b: b.ours("find", b.image),
        "extract": lambda b: b.ours("cp", f"{b.image}:/tree", b.out),
    }


def _loop() -> Works:
    return {
        "insert": lambda b: b.host("sh", "-c", _copy_in(b)),
        "list": lambda b: b.host("find", b.mounted),
        "extract": lambda b: b.host("cp", "-a", b.mounted / "tree", b.out),
    }


def _copy_in(b: ImageBench) -> str:
    return f"cp -a {b.here}/tree {b.mounted}/tree && sync -f {b.mounted}"


def _fuse2fs() -> Works:
    def mounted(*command: str) -> Callable[[ImageBench], float]:
        def work(b: ImageBench) -> None:
            words = [each.format(b=b) for each in command]
            with fuse2fs(b):
                run(words)

        return lambda b: timed(lambda: work(b))

    return {
        "insert": mounted("cp", "-a", "{b.here}/tree", "{b.mounted}/tree"),
        "list": mounted("find", "{b.mounted}"),
        "extract": mounted("cp", "-a", "{b.mounted}/tree", "{b.out}"),
    }


def _debugfs() -> Works:
    """Scripts, which know what is in the tree."""

    def script(b: ImageBench, lines: Iterator[str]) -> float:
        file = b.here / "script"
        file.write_text("".join(f"{line}\n" for line in lines))
        return timed(lambda: run(["debugfs", "-w", "-f", file, b.image]))

    def extract(b: ImageBench) -> float:
        b.out.mkdir()
        return timed(lambda: run(["debugfs", "-R", f"rdump /tree {b.out}", b.image]))

    return {
        "insert": lambda b: script(b, _written(b.here / "tree")),
        "list": lambda b: script(b, _listed(b.here / "tree")),
        "extract": extract,
    }


def _listed(tree: Path) -> Iterator[str]:
    for directory, _, _ in os.walk(tree):
        yield f'ls -p "/tree{directory.removeprefix(str(tree))}"'


def _written(tree: Path) -> Iterator[str]:
    for directory, _, names in os.walk(tree):
        below = f"/tree{directory.removeprefix(str(tree))}"
        yield f'mkdir "{below}"'
        for name in names:
            path = Path(directory, name)
            if path.is_symlink():
                yield f'symlink "{below}/{name}" "{path.readlink()}"'
            elif path.is_file():
                yield f'write "{path}" "{below}/{name}"'


_WAYS = {LOOP: _loop(), "debugfs": _debugfs(), "fuse2fs": _fuse2fs()}


def trees(options: Options) -> Iterator[Result]:
    """Copy a tree in, list it, and copy it out, in turn by all ways."""
    need_root()
    ways = {"": _rumpel(), **_WAYS}
    times: dict[tuple[str, str], list[float]] = {(w, way): [] for w in _WORKS for way in ways}
    with bench(options) as b:
        _tree(b)
        for _ in range(RUNS):
            for way, works in ways.items():
                for work, seconds in _round(b, works, "ext4"):
                    times[work, way].append(seconds)
    for (work, peer), figure in FIGURES.items():
        yield figure.result(times[work, ""], times[work, peer])


def kinds(options: Options) -> Iterator[Result]:
    """The same by ``rumpel image`` only, on several file systems in turn."""
    times: dict[tuple[str, str], list[float]]
    times = {(work, kind): [] for work in _WORKS for kind in ("ext4", *KINDS)}
    with bench(options) as b:
        _tree(b)
        _make_plain(b.here / "tree")
        for _ in range(RUNS):
            for kind in ("ext4", *KINDS):
                for work, seconds in _round(b, _rumpel(), kind):
                    times[work, kind].append(seconds)
    for (work, kind), figure in FS_FIGURES.items():
        yield figure.result(times[work, kind], times[work, "ext4"])


def _tree(b: ImageBench) -> None:
    run(["cp", "-a", TREE, b.here / "tree"])  # and so it is in the page cache


def _make_plain(tree: Path) -> None:
    """Leave what every file system can have."""
    for directory, below, names in os.walk(tree):
        for name in (*below, *names):
            path = Path(directory, name)
            if path.is_symlink() or (path.is_file() and set(name) & set('"*:<>?\\|')):
                path.unlink()


def _round(b: ImageBench, works: Works, kind: str) -> Iterator[tuple[str, float]]:
    b.make(kind)
    for work in ("insert", "list", "extract"):
        b.another_out()
        os.sync()  # what others have left to write is not part of it
        yield work, works[work](b)
