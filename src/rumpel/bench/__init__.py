# SPDX-License-Identifier: GPL-2.0-only
"""Benchmarks: each figure of the library kernel beside the host kernel's.

``table`` lists them; ``calls``, ``switching``, ``tcp``, ``wire``, ``aio``, ``boot``, ``clone``,
``intercept``, ``run`` and ``memory`` are the benchmarks, one subject a file; ``measure`` runs
both sides in turn, ``result`` is what comes out, and ``plot`` draws it. The loops that must not
be slower than what they measure are in C (``*.c``): ``native`` compiles them when they are first
used, against the library that Python has loaded, so that what is measured is what is installed.
For the same reason they are part of the package: ``rumpel bench`` works from a wheel too.
"""

from __future__ import annotations

from rumpel.bench.options import Options
from rumpel.bench.result import Result
from rumpel.bench.table import BENCHMARKS, Benchmark, find

__all__ = ["BENCHMARKS", "Benchmark", "Options", "Result", "find"]
