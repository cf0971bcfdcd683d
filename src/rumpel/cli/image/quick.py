# SPDX-License-Identifier: GPL-2.0-only
"""What ``rumpel image`` does without click: it takes longer to import than a kernel to boot.

:func:`quick` runs a line that is right. All else, help and mistakes, is click's, which makes its
commands of the same declarations (:mod:`rumpel.cli.image.group`).
"""

from __future__ import annotations

import os
import sys

from rumpel.cli import collect_garbage
from rumpel.cli.image.how import HOW, How
from rumpel.cli.image.leaving import Failed
from rumpel.cli.terminal import escaped, flush
from rumpel.errors import RumpelError
from rumpel.options import Misused, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence
else:
    import _signal as signal  # signal makes enums of it, whose import takes longer

__all__ = ["quick"]


def quick(words: Sequence[str]) -> None:
    """Run ``rumpel image WORDS`` and exit; return if click is to have a look at it.

    Args:
        words: the command's.
    """
    name, *rest = words
    module = __import__(f"rumpel.cli.image.{name}", fromlist=["run"])
    values = parse((*HOW, *module.PARAMS), rest)
    if values is None:
        return
    collect_garbage()  # all is imported
    code, said = 0, ""
    try:
        module.run(How.taken(values), **values)
        flush()
    except BrokenPipeError:
        # What is left in the buffer shall not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 128 + signal.SIGPIPE
    except Failed as error:
        code = error.status
    except Misused as error:
        code, said = 2, f"{error} (see rumpel image {name} --help)"
    except KeyboardInterrupt:
        code, said = 130, "interrupted"
    except RumpelError as error:
        code, said = 1, str(error)
    except OSError as error:
        path = error.filename
        code, said = 1, f"{path}: {error.strerror}" if path else error.strerror or str(error)
    if said:
        print(f"rumpel: {escaped(said)}", file=sys.stderr)
    sys.exit(code)
