# SPDX-License-Identifier: GPL-2.0-only
"""Check the arrows between the C parts: which header may be included from where.

    kernel/arch -> host_ops.h <- runtime -> rumpel.h <- _native

The kernel sees host_ops.h only, the binding rumpel.h only; the runtime knows
no Python, and only the binding does.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', re.M)

FORBIDDEN = {
    "kernel/arch": r"rumpel/(?!host_ops\.h)|Python\.h|std(io|lib)\.h|pthread\.h",
    "include/rumpel": r"Python\.h|linux/",
    "runtime": r"Python\.h",
    # It has no libc; a kernel that it shares has an interface for such.
    "runtime/intercept/agent": r"^(?!(asm|linux)/|rumpel/shared\.h|std(bool|def|int)\.h|[a-z]+\.h)"
    r"|^(errno|pthread|signal|stdio|stdlib|string|unistd)\.h",
    "src/rumpel/_native": r"rumpel/(?!rumpel\.h)|(^|/)runtime/|virtio/",
    "examples": r"rumpel/(?!rumpel\.h)",
}
"""For each directory, what its files must not include."""


def offences(root: Path) -> Iterator[str]:
    """Every include against an arrow."""
    for directory, pattern in FORBIDDEN.items():
        for file in sorted((root / directory).rglob("*.[chS]")):
            for header in INCLUDE.findall(file.read_text()):
                if re.search(pattern, header):
                    yield f"{file.relative_to(root)}: includes {header}"


def main() -> int:
    """Print the offences; their presence is the exit code."""
    found = list(offences(ROOT))
    for line in found:
        print(line, file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
