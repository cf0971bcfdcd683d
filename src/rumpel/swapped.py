# SPDX-License-Identifier: GPL-2.0-only
"""Private copies of modules that work on a library kernel instead of the host's."""

from __future__ import annotations

import builtins
import sys
from _frozen_importlib import module_from_spec  # as importlib.util has it, which takes 2 ms
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.machinery import ModuleSpec
    from typing import Any

__all__ = ["Names", "private_copy"]


class Names(ModuleType):
    """A module of given names, to be imported by private copies.

    Example:
        >>> Names("tiny", answer=42).answer
        42
    """

    def __init__(self, name: str, /, **names: Any) -> None:
        super().__init__(name)
        self.__dict__.update(names)
        self.__all__ = list(names)


def private_copy(
    name: str,
    instead: Mapping[str, Any],
    *,
    globals: Mapping[str, Any] | None = None,
    keep: Mapping[str, type] | None = None,
) -> ModuleType:
    """Execute a module written in Python once more, with other modules for some of its imports.

    The copy is nobody else's: it does not stand in :data:`sys.modules`.

    Args:
        name: of the module.
        instead: what to import instead, by name.
        globals: what its functions find instead of built-in functions, such as ``open``.
        keep: classes that it shall not make anew, by name.

    Example:
        >>> import types
        >>> tiny = types.SimpleNamespace(stat=lambda path: types.SimpleNamespace(st_size=3))
        >>> private_copy("genericpath", {"os": tiny}).getsize("/")
        3
    """
    spec = _spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    module = module_from_spec(spec)

    def import_(
        name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> Any:
        # "import os.path" binds os, "from os.path import x" looks into os.path.
        wanted = name if fromlist else name.partition(".")[0]
        if level == 0 and wanted in instead:
            return instead[wanted]
        return builtins.__import__(name, globals, locals, fromlist, level)

    def build_class(body: Any, name: str, /, *bases: Any, **keywords: Any) -> Any:
        if keep and name in keep:
            return keep[name]
        return builtins.__build_class__(body, name, *bases, **keywords)

    module.__dict__["__builtins__"] = {
        **builtins.__dict__,
        "__import__": import_,
        "__build_class__": build_class,
        **(globals or {}),
    }
    spec.loader.exec_module(module)
    return module


def _spec(name: str) -> ModuleSpec | None:
    """Where a module is. Those that Python has started with know it themselves."""
    if name in sys.modules:
        return sys.modules[name].__spec__
    from importlib.util import find_spec

    return find_spec(name)
