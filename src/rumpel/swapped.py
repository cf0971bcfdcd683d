# SPDX-License-Identifier: GPL-2.0-only
"""Private copies of modules that work on a library kernel instead of the host's."""

from __future__ import annotations

import builtins
import importlib.util
from collections.abc import Mapping
from types import ModuleType
from typing import Any

__all__ = ["private_copy"]


def private_copy(name: str, instead: Mapping[str, Any]) -> ModuleType:
    """Execute a module written in Python once more, with other modules for some of its imports.

    The copy is nobody else's: it does not stand in :data:`sys.modules`.

    Args:
        name: of the module.
        instead: what to import instead, by name.

    Example:
        >>> import types
        >>> tiny = types.SimpleNamespace(stat=lambda path: types.SimpleNamespace(st_size=3))
        >>> private_copy("genericpath", {"os": tiny}).getsize("/")
        3
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    module = importlib.util.module_from_spec(spec)

    def import_(
        name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> Any:
        if level == 0 and name in instead:
            return instead[name]
        return builtins.__import__(name, globals, locals, fromlist, level)

    module.__dict__["__builtins__"] = {**builtins.__dict__, "__import__": import_}
    spec.loader.exec_module(module)
    return module
