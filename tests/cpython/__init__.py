# SPDX-License-Identifier: GPL-2.0-only
"""CPython's own tests of its network modules, run on a library kernel.

``run`` is a program that boots a kernel, swaps the modules (``world``) and runs one of
CPython's test modules; ``differences`` lists what is known to fail, and why, which
docs/test_socket.md tells; ``test_cpython`` holds all of it to what is listed.
"""
