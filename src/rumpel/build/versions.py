# SPDX-License-Identifier: GPL-2.0-only
"""The supported kernel versions, from ``kernel/versions.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass

from rumpel.build.layout import Layout
from rumpel.errors import BuildError


@dataclass(frozen=True)
class Version:
    """A version and where its source comes from.

    ``newest`` allows another ``linux-source-*`` of the same suites once this
    one is gone from there.
    """

    name: str
    package: str
    suites: tuple[str, ...]
    newest: bool


def supported(layout: Layout) -> dict[str, Version]:
    """All versions, by name, in the table's order."""
    with open(layout.versions, "rb") as f:
        table = tomllib.load(f)
    return {
        name: Version(name, row["package"], tuple(row["suites"]), row.get("newest", False))
        for name, row in table["versions"].items()
    }


def version(layout: Layout, name: str) -> Version:
    """One version, or an error that lists those there are."""
    known = supported(layout)
    if name not in known:
        raise BuildError(
            f"kernel version {name!r} is not supported; there are: {', '.join(known)} "
            "(or build from a tree of your own with --source)"
        )
    return known[name]
