# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel kernel``: build, list, info, verify, remove."""

from __future__ import annotations

from rumpel.cli.row import Row
from rumpel.cli.table import LazyGroup

COMMANDS = (
    Row("build", "rumpel.cli.kernel.build", "Build an image, or find it in the cache."),
    Row("list", "rumpel.cli.kernel.list", "List the images in the cache."),
    Row("info", "rumpel.cli.kernel.info", "Tell all about an image."),
    Row("verify", "rumpel.cli.kernel.verify", "Prove that an image's source is untouched."),
    Row("remove", "rumpel.cli.kernel.remove", "Remove images from the cache."),
)

HELP = """Build, list and verify kernel images.

\b
Examples:
  rumpel kernel build 6.12
  rumpel kernel list
"""

command = LazyGroup("kernel", COMMANDS, HELP)
