# SPDX-License-Identifier: GPL-2.0-only
"""Modules that are imported for a kernel: ``kernel.import_module``.

:func:`rumpel.swapped.private_copy` copies one module; here a module is copied with all
that it needs. Nothing of it shows in :data:`sys.modules`, and the modules of the rest of
the process stay as they are: to patch those for a while would swap the network under
every other thread as well.
"""

from __future__ import annotations

import builtins
import dis
import importlib
import importlib.util
import inspect
import os
import sys
import threading
import weakref
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any

__all__ = ["Modules"]

_SHARED = frozenset(
    {"asyncio", "concurrent", "email", "logging", "multiprocessing", "subprocess", "unittest"}
)
"""Packages that are never copied: they work on the host's descriptors, keep the state of a
process, or have classes that are asked for by name; email only wants a name for messages."""

_tables: weakref.WeakSet[Modules] = weakref.WeakSet()


def _forked() -> None:
    for table in _tables:
        table.forked()


os.register_at_fork(after_in_child=_forked)


class Modules:
    """The modules that a program on a kernel imports: a table of its own.

    A module is copied if what it imports when it is loaded leads to one of those that
    are replaced; all else is the one of :data:`sys.modules`. So its exceptions are the
    usual ones where nothing had to be copied (``urllib.error``), and else the copy's
    (``http.client``). What is written in C is never copied.

    Args:
        instead: what to import instead, by name; ``builtins.open`` replaces a built-in
            function in all copies.
        roots: those of them for whose sake modules are copied; others are replaced only in
            modules that are copied anyway. None is all.

    Example:
        >>> import types
        >>> calm = types.SimpleNamespace(monotonic=lambda: 0.0, sleep=None)
        >>> modules = Modules({"time": calm})
        >>> modules.load("sched").scheduler().timefunc()
        0.0
        >>> modules.load("json") is __import__("json")
        True
    """

    def __init__(self, instead: Mapping[str, Any], roots: Collection[str] | None = None) -> None:
        self._instead = dict(instead)
        self._roots = frozenset(instead if roots is None else roots)
        self._builtins = {
            **vars(builtins),
            **{
                name.removeprefix("builtins."): value
                for name, value in instead.items()
                if name.startswith("builtins.")
            },
            "__import__": self._import,
        }
        self._copies: dict[str, ModuleType] = {}
        self._making: list[str] = []
        self._decided: dict[str, bool] = {}
        self._lock = threading.RLock()
        _tables.add(self)

    def forked(self) -> None:
        """The child of a fork: another thread is not there to end what it was at."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
            return
        self._lock = threading.RLock()
        for name in self._making:
            self._copies.pop(name, None)
        self._making.clear()

    def load(self, name: str) -> Any:
        """Import a module, copied if it has to be.

        Args:
            name: an absolute one, such as ``http.client``.

        Raises:
            ModuleNotFoundError: if there is none.
        """
        with self._lock:
            if name in self._instead:
                replacement = self._instead[name]
                self._put_into_package(name, replacement)
                return replacement
            if name in self._copies:
                return self._copies[name]
            parent = name.rpartition(".")[0]
            if parent:
                self.load(parent)
            if name in self._copies:  # by the package itself
                return self._copies[name]
            # Also where a copy is made: dataclasses and enumerations look up their module.
            module = importlib.import_module(name)
            if self._needs_copy(name):
                module = self._copy(name)
                self._put_into_package(name, module)
            elif parent in self._copies:
                self._put_into_package(name, module)
            return module

    def _import(
        self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> Any:
        """What the import statement of a copy calls."""
        if level:
            name = importlib.util.resolve_name("." * level + name, globals["__package__"])
        module = self.load(name)
        if not fromlist:
            return self.load(name.partition(".")[0]) if not level else module
        for part in getattr(module, "__all__", ()) if "*" in fromlist else fromlist:
            child = f"{name}.{part}"
            if hasattr(module, "__path__") and (
                part not in vars(module) or child in self._instead or self._needs_copy(child)
            ):
                try:
                    self.load(child)
                except ModuleNotFoundError as error:
                    if error.name != child:
                        raise  # it is there, but something that it wants is not
        return self.load(name)  # a part may have made a copy of it

    def _copy(self, name: str) -> ModuleType:
        spec = _spec(name)
        assert spec is not None
        assert spec.loader is not None
        module = self._copies[name] = _blank(spec, self._builtins)
        self._making.append(name)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del self._copies[name]
            raise
        finally:
            self._making.remove(name)
        return module

    def _put_into_package(self, name: str, module: Any) -> None:
        """Make a module an attribute of its package, of which others see nothing."""
        parent, _, child = name.rpartition(".")
        if not parent or parent == "builtins":
            return
        package = self._copies.get(parent)
        if package is None:
            importlib.import_module(parent)
            # Needs no copy itself, so all but some modules of it is shared.
            package = self._copies[parent] = ModuleType(parent)
            vars(package).update(
                (key, value)
                for key, value in vars(sys.modules[parent]).items()
                if not (isinstance(value, ModuleType) and self._needs_copy(f"{parent}.{key}"))
            )
            self._put_into_package(parent, package)
        setattr(package, child, module)

    def _needs_copy(self, name: str) -> bool:
        """Does what a module imports lead to one that is replaced?"""
        known = self._decided.get(name)
        if known is None:
            seen, ahead = {name}, [name]
            while ahead and not known:
                for other in _imports(ahead.pop()):
                    known = known or other in self._roots or self._decided.get(other, False)
                    if other not in seen and other not in self._decided:
                        seen.add(other)
                        ahead.append(other)
            known = self._decided[name] = bool(known)
            if not known:
                self._decided.update(dict.fromkeys(seen, False))
        return known


def _blank(spec: ModuleSpec, functions: dict[str, Any]) -> ModuleType:
    """A module that is yet to be executed, with other built-in functions."""
    module = importlib.util.module_from_spec(spec)
    vars(module)["__builtins__"] = functions
    return module


@cache
def _spec(name: str) -> ModuleSpec | None:
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__spec__", None) is not None:
        return loaded.__spec__
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None


@cache
def _imports(name: str) -> frozenset[str]:
    """What a module written in Python imports while it is loaded."""
    spec = _spec(name)
    if spec is None or name.partition(".")[0] in _SHARED:
        return frozenset()
    try:
        code = spec.loader.get_code(name)  # type: ignore[union-attr]
    except (AttributeError, ImportError, SyntaxError):
        return frozenset()
    if code is None:
        return frozenset()
    found: set[str] = set()
    package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
    for target, names, level in _statements(code):
        absolute = target
        if level:
            try:
                absolute = importlib.util.resolve_name("." * level + target, package)
            except ImportError:
                continue
        found.update(_with_parents(absolute))
        base = _spec(absolute)
        if base is not None and base.submodule_search_locations is not None:
            found.update(f"{absolute}.{part}" for part in names if _spec(f"{absolute}.{part}"))
    return frozenset(found - {name})


def _with_parents(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition(".")[0]


def _statements(code: CodeType) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """The import statements that run at once: those of functions run later, if at all."""
    constants: list[Any] = [0, None]
    for each in dis.get_instructions(code):
        if each.opname in ("LOAD_CONST", "LOAD_SMALL_INT"):
            constants = [constants[-1], each.argval]
        elif each.opname == "IMPORT_NAME":
            level, names = constants
            yield each.argval, names or (), level or 0
    for constant in code.co_consts:
        if inspect.iscode(constant) and not constant.co_flags & inspect.CO_NEWLOCALS:
            yield from _statements(constant)  # of a class
