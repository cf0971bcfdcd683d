# SPDX-License-Identifier: GPL-2.0-only
"""Coroutines of stages that share an event loop, each in its network namespace of the kernel."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextvars import ContextVar
from typing import Any, Self, TypeVar, cast

from rumpel.nf.namespaces import Namespace

__all__ = ["InNamespace"]

T_co = TypeVar("T_co", covariant=True)

_NAMESPACE: ContextVar[Namespace] = ContextVar("namespace")


class InNamespace(Coroutine[Any, Any, T_co]):
    """A coroutine whose steps are made in a namespace, as are those of all tasks that it starts.

    Between them the thread is where it was, and others have theirs.

    Args:
        coroutine: to be run as a task.
        namespace: of the kernel on which the event loop is.
    """

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T_co] | Generator[Any, None, T_co],
        namespace: Namespace,
    ) -> None:
        self._coroutine = coroutine
        self._namespace = namespace

    def send(self, value: Any) -> Any:
        """Go on."""
        if value is None:
            _NAMESPACE.set(self._namespace)
            asyncio.get_running_loop().set_task_factory(_start)
        with self._namespace:
            return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        """Go on with an exception."""
        with self._namespace:
            return self._coroutine.throw(*error)

    def close(self) -> None:
        """End it."""
        with self._namespace:
            self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, T_co]:
        return cast("Generator[Any, Any, T_co]", self)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return self.send(None)


def _start(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, T_co] | Generator[Any, None, T_co],
    **options: Any,
) -> asyncio.Task[T_co]:
    """Make a task where its parent is."""
    namespace = _NAMESPACE.get(None)
    if namespace is not None and not isinstance(coroutine, InNamespace):
        coroutine = InNamespace(coroutine, namespace)
    return asyncio.Task(coroutine, loop=loop, **options)
