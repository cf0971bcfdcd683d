# SPDX-License-Identifier: GPL-2.0-only
"""``python -m rumpel`` is the command ``rumpel``."""

from rumpel.cli import program

if __name__ == "__main__":
    program()
