# SPDX-License-Identifier: GPL-2.0-only
"""The child of a fork imports anew what other threads of its parent were importing.

rumpel imports its parts as they are used, so a thread that uses one for the first time is in
the middle of an import. Its locks are Python's, one for each module, and in the child nobody
is left to release them: whoever wanted that module there would wait for ever.
"""

from __future__ import annotations

import _thread
import os
import sys

__all__ = ["forget_imports", "watch"]


def watch() -> None:
    """Do so in all forks from here on."""
    os.register_at_fork(after_in_child=forget_imports)


def forget_imports() -> None:
    """Forget the modules that other threads are importing; there must be none of these left."""
    # Nothing else knows which they are. What has other names some day is left as it is.
    bootstrap = sys.modules.get("_frozen_importlib")
    locks = getattr(bootstrap, "_module_locks", {})
    own = _thread.get_ident()
    for name, reference in list(locks.items()):
        owner = getattr(reference(), "owner", None)
        if owner is None or owner == own:
            continue
        del locks[name]
        spec = getattr(sys.modules.get(name), "__spec__", None)
        if getattr(spec, "_initializing", False):
            del sys.modules[name]
    blocking = getattr(bootstrap, "_blocking_on", None)
    if blocking is not None:
        blocking.clear()
