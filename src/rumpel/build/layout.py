# SPDX-License-Identifier: GPL-2.0-only
"""Where the builder finds its inputs and keeps its outputs.

Inputs (the port, profiles, the table of versions, the hypercall header) lie in
one root, a checkout or the data of an installed package, always as::

    kernel/arch/rumpel  kernel/configs  kernel/versions.toml  include/rumpel/host_ops.h

Outputs lie in the cache::

    images/KEY/     rumpel.so, vmlinux, types.o, config, image.json
    sources/        packages, what was extracted from them, VERSION.json
    build/NAME/     the composed tree with the copy of the port, objects, build.log
    state/          results remembered by the stat of what they came from
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from rumpel.build import roots
from rumpel.errors import BuildError

PACKAGE = Path(roots.PACKAGE)


@dataclass(frozen=True)
class Layout:
    """The directories of one builder; tests make their own."""

    data: Path = field(default_factory=lambda: Path(roots.data_root()))
    cache: Path = field(default_factory=lambda: Path(roots.cache_root()))
    packaged: Path = PACKAGE / "_images"
    system_sources: Path = Path("/usr/src")

    @property
    def port(self) -> Path:
        """The directory that becomes ``arch/rumpel``."""
        return self.data / "kernel/arch/rumpel"

    @property
    def host_ops(self) -> Path:
        """The one header that the port shares with the host."""
        return self.data / "include/rumpel/host_ops.h"

    @property
    def configs(self) -> Path:
        """The profiles; their fragments are in ``fragments/`` below."""
        return self.data / "kernel/configs"

    @property
    def versions(self) -> Path:
        """The table of supported versions."""
        return self.data / "kernel/versions.toml"

    @property
    def images(self) -> Path:
        """Finished images, a directory for each key."""
        return self.cache / "images"

    @property
    def sources(self) -> Path:
        """Fetched packages and extracted trees."""
        return self.cache / "sources"

    @property
    def builds(self) -> Path:
        """Object directories, kept so that a stopped build resumes."""
        return self.cache / "build"

    @property
    def state(self) -> Path:
        """Remembered results, safe to delete at any time."""
        return self.cache / "state"


def make_dir(path: Path) -> Path:
    """Make a directory of the cache, or say what is wrong with the cache."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise unwritable(path, e) from e
    if not os.access(path, os.W_OK | os.X_OK):
        raise unwritable(path, PermissionError("permission denied"))
    return path


def disk_full(path: Path) -> BuildError:
    """The one message for a full disk: all steps go on where they stopped."""
    return BuildError(
        f"the disk of {path} is full; make room and run the same command again, "
        "it goes on where it stopped"
    )


def unwritable(path: Path, error: OSError) -> BuildError:
    """The one message for a cache that cannot be written."""
    reason = error.strerror or str(error)
    return BuildError(
        f"cannot write to the cache at {path}: {reason}; "
        "set RUMPEL_CACHE to a directory that you may write to"
    )
