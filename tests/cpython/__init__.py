# SPDX-License-Identifier: GPL-2.0-only
"""CPython's own tests, run on a library kernel.

``run`` is a program that boots a kernel, puts the kernel's modules in the place of the host's
(``files``, ``networks``) and runs one of CPython's test modules; ``table.toml`` lists what is
known to fail, and why, which docs/test_socket.md tells; ``test_cpython`` holds all of it to that.
"""
