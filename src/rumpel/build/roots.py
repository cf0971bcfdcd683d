# SPDX-License-Identifier: GPL-2.0-only
"""The two directories that all others are found from, and programs: without pathlib.

Every boot looks up its image, so what that needs imports next to nothing.
"""

from __future__ import annotations

import os

__all__ = ["PACKAGE", "cache_root", "data_root", "which"]

PACKAGE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120


def data_root() -> str:
    """Where the port, profiles and the table of versions are: of the package, or a checkout."""
    installed = f"{PACKAGE}/_data"
    if os.path.isdir(installed):  # noqa: PTH112
        return installed
    return os.path.dirname(os.path.dirname(PACKAGE))  # noqa: PTH120


def cache_root() -> str:
    """Where what is built is kept."""
    told = os.environ.get("RUMPEL_CACHE")
    if told:
        return os.path.join(os.getcwd(), os.path.expanduser(told))  # noqa: PTH109, PTH111, PTH118
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return f"{base}/rumpel"


def which(name: str, path: str | None = None) -> str | None:
    """As shutil.which, which takes long to import for each boot.

    Args:
        name: of a program.
        path: where; ``PATH`` by default.
    """
    for directory in (os.environ.get("PATH", os.defpath) if path is None else path).split(":"):
        found = os.path.join(directory, name)  # noqa: PTH118
        if os.access(found, os.X_OK) and os.path.isfile(found):  # noqa: PTH113
            return found
    return None
