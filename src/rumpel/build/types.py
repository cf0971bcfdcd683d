# SPDX-License-Identifier: GPL-2.0-only
"""What a debugger has to know of the kernel's structures.

Images are built without debug information, which would take minutes and a gigabyte.
One object of the kernel's own that includes most headers, compiled once more with it,
has the layout of tasks, memory and namespaces: a second and half a megabyte.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from rumpel.build import toolchain
from rumpel.errors import BuildError

__all__ = ["TYPES", "compile_types"]

TYPES = "types.o"
"""The file's name beside an image."""

_OBJECT = "init/init_task.o"


def compile_types(objects: Path, into: Path) -> None:
    """Compile the object with debug information, as make compiled it without.

    Args:
        objects: the directory in which make did.
        into: the file to write.

    Raises:
        BuildError: if that fails, with what the compiler said.
    """
    kept = objects / _OBJECT
    kept = kept.with_name(f".{kept.name}.cmd")
    try:
        found = re.match(r"(?:saved)?cmd_\S+ := ([^;\n]*)", kept.read_text())
    except OSError as e:
        raise BuildError(f"make left no command for {_OBJECT}: {e.strerror}") from e
    if found is None:
        raise BuildError(f"make left no command in {kept}")
    words = [word for word in shlex.split(found[1]) if not word.startswith("-Wp,-MMD")]
    words[words.index("-o") + 1] = str(into.absolute())
    run = subprocess.run(
        [*words, "-g", "-w"],
        cwd=objects,
        env=toolchain.environment(objects.parent),
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise BuildError(f"cannot compile types for debuggers: {run.stderr.strip()[:500]}")
