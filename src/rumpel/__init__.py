# SPDX-License-Identifier: GPL-2.0-only
"""The Linux kernel as a library."""

from __future__ import annotations

__version__ = "0.1.0"
