# SPDX-License-Identifier: GPL-2.0-only
"""What a source is, and which source a version was resolved to."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from rumpel.build.layout import Layout
from rumpel.errors import BuildError


@dataclass(frozen=True)
class Source:
    """A kernel source tree.

    Attributes:
        version: what it was asked for by, or what its Makefile says.
        identity: names the content; part of the image's key.
        tree: where it is extracted.
        tarball: the package's tarball, with which the tree can be compared.
        tarball_sha256: hash of that tarball when it was extracted.
    """

    version: str
    identity: str
    tree: Path
    tarball: Path | None = None
    tarball_sha256: str = ""

    def release(self) -> str:
        """The full version in the tree's Makefile, such as 6.12.1."""
        return makefile_release(self.tree)


def makefile_release(tree: Path) -> str:
    """The full version in a kernel tree's Makefile."""
    try:
        text = (tree / "Makefile").read_text(errors="replace")[:4000]
    except OSError as e:
        raise BuildError(f"{tree} is not a kernel source tree: it has no Makefile") from e
    found = dict(re.findall(r"^(VERSION|PATCHLEVEL|SUBLEVEL) *= *(\d+)", text, re.M))
    if not {"VERSION", "PATCHLEVEL"} <= found.keys():
        raise BuildError(f"{tree} is not a kernel source tree: its Makefile names no version")
    return ".".join(found[k] for k in ("VERSION", "PATCHLEVEL", "SUBLEVEL") if k in found)


def pinned(layout: Layout, name: str) -> Source | None:
    """The source that a version was resolved to before, without looking further.

    A version stays what it was at its first build until ``refresh`` asks for
    the archive's newest, so looking up an image costs one small file.
    """
    file = layout.sources / f"{name}.json"
    try:
        row = json.loads(file.read_text())
        return Source(
            version=row["version"],
            identity=row["identity"],
            tree=Path(row["tree"]),
            tarball=Path(row["tarball"]),
            tarball_sha256=row["tarball_sha256"],
        )
    except OSError:
        return None
    except (ValueError, KeyError, TypeError) as e:
        raise BuildError(f"{file} is damaged; remove it") from e
