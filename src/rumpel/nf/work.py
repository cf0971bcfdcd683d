# SPDX-License-Identifier: GPL-2.0-only
"""Who runs what stages do: :meth:`Stage.run` and :meth:`Stage.serve`."""

from __future__ import annotations

from _collections_abc import Coroutine  # which is there when Python has started

from rumpel.clock import VirtualClock
from rumpel.netlink import Calls
from rumpel.nf.ending import wake_by_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Any, Self, TypeVar

    from rumpel.kernel import Kernel
    from rumpel.nf.namespaces import Namespace
    from rumpel.nf.stage import Stage

    T = TypeVar("T")

__all__ = ["Work"]

_CO_COROUTINE = 0x80  # inspect.CO_COROUTINE
LOOK = 0.02
"""Virtual seconds between two looks at whether anybody is there."""


class Work:
    """The coroutines of stages.

    On a virtual clock they share one event loop with the kernel, which lives when the
    calling thread waits, so that every run is the same. In real time they do so, too, if what
    a stage does is a coroutine: threads would wake each other for each piece. Else what a
    stage serves is served in a thread. Without coroutines there is neither: to import asyncio
    takes longer than to boot.

    Args:
        k: the kernel.
        stages: those in it.

    Attributes:
        together: is there one event loop, which has to be let live by :meth:`sleep`?
    """

    def __init__(self, k: Kernel, stages: Sequence[Stage]) -> None:
        self._k = k
        self._virtual = isinstance(k.clock, VirtualClock)
        self.together = self._virtual or any(map(_talks, stages))
        self._runner: asyncio.Runner | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._threads: list[_Server] = []
        try:
            for stage in stages:
                self._serve(stage)
        except BaseException:
            self._close()
            raise

    def _serve(self, stage: Stage) -> None:
        with _told(stage.namespace), _within(stage.namespace):
            served = stage.serve(self._k)
        if not served:
            return
        coroutines: list[Coroutine[Any, Any, None]] = [
            _named(_in_namespace(each, stage.namespace), stage.namespace) for each in served
        ]
        if self.together:
            self._run(self._start(coroutines))
        else:
            self._threads.append(_Server(self._k, coroutines))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        """Whom is being served gets what has been asked for; then there is an end.

        Raises:
            Exception: what one of those who serve has died of.
        """
        errors = self._close()
        if kind is None and errors:
            raise errors[0]

    def _close(self) -> list[BaseException]:
        errors: list[BaseException] = []
        if self._runner is not None:
            if self._tasks:
                errors += self._runner.run(_cancel(self._tasks))
            self._runner.close()
        for thread in self._threads:
            errors += thread.close()
        return errors

    def run(
        self, stage: Stage, wires: Mapping[int, Callable[[], bool]] | None = None
    ) -> int | None:
        """Let a stage do what it does; its exit code.

        Args:
            stage: the stage.
            wires: descriptors and what is called when they are readable. If that says so,
                nobody is there any more, and a stage that is a coroutine ends; another one
                may ask (:attr:`Stage.is_gone`).
        """
        if wires:
            stage.is_gone = lambda: any(is_gone() for is_gone in wires.values())
        with _told(stage.namespace):
            with _within(stage.namespace):
                result = stage.run(self._k)
            if not isinstance(result, Coroutine):
                return result
            result = _in_namespace(result, stage.namespace)
            attended = _attended(stage, result, wires or {}, virtual=self._virtual)
            if self.together:
                code: int | None = self._run(attended)
                return code
            return self._k.aio.run(attended)

    def sleep(self, seconds: float) -> None:
        """Wait, on the clock of the kernels."""
        if self._tasks:
            import asyncio

            self._run(asyncio.sleep(seconds))
        else:
            # k.sleep() would import all of rumpel.os.
            Calls(self._k).sleep(seconds)

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        if self._runner is None:
            import asyncio
            from functools import partial

            from rumpel.aio import EventLoop

            self._runner = asyncio.Runner(loop_factory=partial(EventLoop, self._k))
            wake_by_signals(self._runner.get_loop())
        return self._runner.run(coroutine)

    async def _start(self, coroutines: list[Coroutine[Any, Any, None]]) -> None:
        import asyncio

        self._tasks += [asyncio.ensure_future(each) for each in coroutines]


def _talks(stage: Stage) -> bool:
    """Is what it does a coroutine, by its code?"""
    code = getattr(stage.run, "__code__", None)
    return code is not None and bool(code.co_flags & _CO_COROUTINE)


class _Alone:
    """Where a stage is that has a kernel of its own: contextlib has it, too, but is not there."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        pass


def _within(namespace: Namespace | None) -> AbstractContextManager[object]:
    return _Alone() if namespace is None else namespace


def _told(namespace: Namespace | None) -> AbstractContextManager[object]:
    """See :func:`rumpel.nf.namespaces.named`. Of a process of its own, that says whose it is."""
    if namespace is None:
        return _Alone()
    from rumpel.nf.namespaces import named

    return named(namespace)


def _in_namespace(
    coroutine: Coroutine[Any, Any, T], namespace: Namespace | None
) -> Coroutine[Any, Any, T]:
    if namespace is None:
        return coroutine
    from rumpel.nf.in_namespace import InNamespace

    return InNamespace(coroutine, namespace)


async def _named(coroutine: Coroutine[Any, Any, None], namespace: Namespace | None) -> None:
    with _told(namespace):
        await coroutine


async def _attended(
    stage: Stage,
    coroutine: Coroutine[Any, Any, int | None],
    wires: Mapping[int, Callable[[], bool]],
    *,
    virtual: bool,
) -> int | None:
    import asyncio

    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(coroutine)
    wake_by_signals(loop)
    gone = False

    def look(is_gone: Callable[[], bool]) -> None:
        nonlocal gone
        if is_gone():
            gone = True
            task.cancel()

    for fd, is_gone in wires.items():
        if not virtual:
            loop.add_reader(fd, look, is_gone)
    try:
        # On a virtual clock nobody looks at descriptors of the host but now and then.
        while virtual and not task.done():
            await asyncio.wait([task], timeout=LOOK)
            for is_gone in wires.values():
                look(is_gone)
        return await task
    except asyncio.CancelledError:
        if not gone and not (virtual and stage.is_gone()):
            raise
        return stage.left_alone()


async def _cancel(tasks: list[asyncio.Task[None]]) -> list[BaseException]:
    """End them; what those have died of that had ended before."""
    import asyncio

    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    errors = [None if task.cancelled() else task.exception() for task in tasks]
    return [error for error in errors if error is not None]


class _Server:
    """An event loop in a thread."""

    def __init__(self, k: Kernel, coroutines: list[Coroutine[Any, Any, None]]) -> None:
        import threading

        self._k = k
        self._coroutines = coroutines
        self._begun = threading.Event()
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=lambda: k.aio.run(self._main()), daemon=True)
        self._thread.start()
        self._begun.wait()

    async def _main(self) -> None:
        import asyncio

        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        tasks = [asyncio.ensure_future(each) for each in self._coroutines]
        self._begun.set()
        await self._stop.wait()
        self._errors = await _cancel(tasks)

    def close(self) -> list[BaseException]:
        """Ends the thread. What those who serve have died of."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        return self._errors
