# SPDX-License-Identifier: GPL-2.0-only
"""The command ``rumpel``: one module for each subcommand, and one table.

click rather than typer: the table stays a table (``commands``), commands load only when
they are called, and there is one dependency instead of four.

What takes long begins first, so this imports next to nothing.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as typing has it, which takes as long to import as a kernel to boot
if TYPE_CHECKING:
    from collections.abc import Sequence

_WITHOUT = ("mount", "umount", "commit")
"""Commands of images that have no kernel, or one that needs more."""

_QUICK = ("ls", "find", "cat", "cp", "stat", "df")
"""Commands of images that do not need click."""


_HELP = """The Linux kernel as a library.

\b
Examples:
  rumpel demo
  rumpel image ls -l disk.img:2:/etc
  rumpel run -- curl http://example.org/
  rumpel nf chain 'ping 10.0.0.2 | nat | host 10.0.0.2'
"""
_PROGRAMS = (["run"], ["exec"], ["attach"], ["gdb"], ["valgrind"])
"""Commands that become a program, which gets the descriptors as they are."""


def _boots(words: Sequence[str]) -> bool:
    return not {"--no-sandbox", "--help"} & {*words}


def main() -> None:
    """Run the command line."""
    words = sys.argv[1:]
    if words[:1] not in _PROGRAMS:
        _stand_in()
    if words[:1] == ["image"] and words[1:2] and words[1] not in _WITHOUT and _boots(words):
        # Its kernel boots while the rest is imported here.
        from rumpel.images.prestart import prestart

        prestart(words)
    if words[:1] == ["image"] and words[1:2] and words[1] in _QUICK:
        from rumpel.cli.image.quick import quick as quick_image

        quick_image(words[1:])
    if words[:1] == ["run"]:
        # The program is there before click would be.
        from rumpel.cli.run_quick import quick as quick_run

        quick_run(words[1:])
    if words[:1] == ["nf"]:
        # A stage is there before click would be.
        from rumpel.cli.nf_start import Start

        start = Start(words[1:])
        from rumpel.cli.nf_run import quick

        quick(words[1:], start)
    from rumpel.cli.commands import COMMANDS
    from rumpel.cli.table import LazyGroup, run

    run(LazyGroup("rumpel", COMMANDS, _HELP))


def _stand_in() -> None:
    """Have something where a standard descriptor is closed, or a kernel would be there."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # the lowest that is free; what is written fails
    # Python has none where it found none.
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def collect_garbage() -> None:
    """Have Python look for garbage again, if :func:`program` has ended that.

    Not among what is there: that is modules, which stay.
    """
    import gc

    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def program() -> None:
    """The command line as a process, which begins and ends without what only costs time.

    Modules make thousands of objects that stay, so nothing is looked for that could be thrown
    away; and in the end all is done that was asked for, but objects are not taken apart.
    """
    try:
        if sys.argv[1:2] in (["image"], ["run"], ["nf"]):
            import gc

            gc.disable()  # until collect_garbage()
        main()
        code: object = 0
    except SystemExit as ended:
        code = ended.code or 0
    except KeyboardInterrupt:
        # While modules are imported: commands say it themselves.
        sys.stderr.write("rumpel: interrupted\n")
        code = 130
    threading = sys.modules.get("threading")
    if isinstance(code, int) and (threading is None or threading.active_count() == 1):
        import atexit

        from rumpel.cli.terminal import end

        code = end(code)
        atexit._run_exitfuncs()
        os._exit(end(code))
    sys.exit(code)  # type: ignore[arg-type]
