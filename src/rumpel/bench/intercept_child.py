# SPDX-License-Identifier: GPL-2.0-only
"""The program that ``intercept`` measures: under the agent, and once more without it.

Each line that it reads is three numbers, the arguments of ``bench_intercept``; it
answers with the time in ns.
"""

from __future__ import annotations

import ctypes
import sys


def main() -> None:
    """Answer until there are no more questions."""
    from rumpel.bench import native

    function = native.load().bench_intercept
    function.argtypes = [ctypes.c_bool, ctypes.c_long, ctypes.c_long]
    function.restype = ctypes.c_int64
    for line in sys.stdin:
        known, nr, rounds = map(int, line.split())
        print(function(known, nr, rounds), flush=True)


if __name__ == "__main__":
    main()
