# SPDX-License-Identifier: GPL-2.0-only
"""Coroutines of stages in an event loop: who runs them, and what ends them."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rumpel.nf.ending import wake_by_signals

if TYPE_CHECKING:
    from rumpel.kernel import Kernel
    from rumpel.nf.stage import Stage

__all__ = ["Server", "attend", "cancel", "in_thread", "start"]

LOOK = 0.02
"""Virtual seconds between two looks at whether anybody is there."""


def start(
    coroutines: Sequence[Coroutine[Any, Any, None]], errors: list[BaseException]
) -> list[asyncio.Task[None]]:
    """Make tasks of what stages serve. What they die of is put into a list at once."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            errors.append(error)

    tasks = [asyncio.ensure_future(each) for each in coroutines]
    for task in tasks:
        task.add_done_callback(ended)
    return tasks


async def cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """End tasks, and wait for that. What they may die of then is of no interest."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def in_thread(function: Callable[[], Any]) -> Any:
    """Call what blocks in a thread, which nobody waits for when this is cancelled."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def tell(result: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def work() -> None:
        result = error = None
        try:
            result = function()
        except BaseException as caught:
            error = caught
        try:  # noqa: SIM105 - the traceback of what is suppressed would keep the kernel
            loop.call_soon_threadsafe(tell, result, error)
        except RuntimeError:
            pass  # the chain has ended meanwhile

    threading.Thread(target=work, daemon=True).start()
    result = await future
    return await result if isinstance(result, Coroutine) else result


async def attend(
    coroutines: Sequence[tuple[Stage, Coroutine[Any, Any, int | None]]],
    servers: Sequence[asyncio.Task[None]],
    wires: Mapping[int, Callable[[], bool]],
    *,
    virtual: bool,
) -> int | None:
    """Wait for the first stage that has done what it does.

    Args:
        coroutines: what each of them does.
        servers: who serves meanwhile; if one of them dies, there is an end.
        wires: see :meth:`rumpel.nf.work.Work.run`.
        virtual: on a virtual clock nobody looks at descriptors of the host but now and then.

    Returns:
        Its exit code; None, if there is none.
    """
    loop = asyncio.get_running_loop()
    wake_by_signals(loop)
    tasks = {asyncio.ensure_future(each): stage for stage, each in coroutines}
    gone: list[bool] = []

    def look(is_gone: Callable[[], bool]) -> None:
        if is_gone():
            gone.append(True)
            for task in tasks:
                task.cancel()

    for fd, is_gone in wires.items():
        if not virtual:
            loop.add_reader(fd, look, is_gone)
    left = set(tasks)
    try:
        while left:
            await asyncio.wait(
                left | {task for task in servers if not task.done()},
                timeout=LOOK if virtual else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if any(task.done() and not task.cancelled() and task.exception() for task in servers):
                return None  # whose error it is, Work says
            for task in [task for task in tasks if task in left and task.done()]:
                left.remove(task)
                stage = tasks[task]
                # On a virtual clock it may have looked itself.
                alone = task.cancelled() and (gone or (virtual and stage.is_gone()))
                code = stage.left_alone() if alone else await task
                if code is not None:
                    return code
            for is_gone in wires.values() if virtual and not gone else ():
                look(is_gone)
        return None
    finally:
        if left:
            await cancel(list(left))


class Server:
    """An event loop in a thread, for coroutines that serve.

    Args:
        k: the kernel.
        coroutines: what is served.
        errors: where it is put what one of them has died of.

    Attributes:
        fd: a descriptor that is readable then.
    """

    def __init__(
        self,
        k: Kernel,
        coroutines: Sequence[Coroutine[Any, Any, None]],
        errors: list[BaseException],
    ) -> None:
        self._coroutines = coroutines
        self._errors = errors
        self._begun = threading.Event()
        self.fd = os.eventfd(0)
        self._thread = threading.Thread(target=lambda: k.aio.run(self._main()), daemon=True)
        self._thread.start()
        self._begun.wait()

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        tasks = start(self._coroutines, self._errors)
        for task in tasks:
            task.add_done_callback(self._ended)
        self._begun.set()
        await self._stop.wait()
        await cancel(tasks)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._errors:
            os.eventfd_write(self.fd, 1)

    def close(self) -> None:
        """End them, and the thread."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        os.close(self.fd)
