# SPDX-License-Identifier: GPL-2.0-only
"""``python -m rumpel`` is the command ``rumpel``."""

from rumpel.cli import main

main()
