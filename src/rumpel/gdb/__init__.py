# SPDX-License-Identifier: GPL-2.0-only
"""Commands for gdb that know the kernels in a process; ``rumpel gdb`` loads them.

``commands`` is run by gdb in its own Python, which sees this package, but none of
those that it depends on.
"""
