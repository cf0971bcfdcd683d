# SPDX-License-Identifier: GPL-2.0-only
"""Coroutines of stages that share an event loop, each in its place of the kernel."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Generator
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar

from rumpel.nf.place import Place

__all__ = ["placed"]

T = TypeVar("T")

_PLACE: ContextVar[Place] = ContextVar("place")


class _Steps(Awaitable[T]):
    """A coroutine whose steps are each made in a place: others have theirs between them."""

    def __init__(
        self, coroutine: Coroutine[Any, Any, T] | Generator[Any, None, T], place: Place
    ) -> None:
        self._coroutine = coroutine
        self._place = place

    def __await__(self) -> Generator[Any, Any, T]:
        step = partial(self._coroutine.send, None)
        while True:
            with self._place:
                try:
                    waits = step()
                except StopIteration as end:
                    result: T = end.value
                    return result
            try:
                step = partial(self._coroutine.send, (yield waits))
            except BaseException as error:
                step = partial(self._coroutine.throw, error)


def _start(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, T] | Generator[Any, None, T],
    **options: Any,
) -> asyncio.Task[T]:
    """Make a task where its parent is."""
    place = _PLACE.get(None)
    if place is None:
        return asyncio.Task(coroutine, loop=loop, **options)

    async def run() -> T:
        return await _Steps(coroutine, place)

    return asyncio.Task(run(), loop=loop, **options)


async def placed(coroutine: Coroutine[Any, Any, T], place: Place) -> T:
    """Await a coroutine that is in a place, with all tasks that it starts."""
    _PLACE.set(place)
    asyncio.get_running_loop().set_task_factory(_start)
    return await _Steps(coroutine, place)
