# SPDX-License-Identifier: GPL-2.0-only
"""Who runs what stages do: :meth:`Stage.run` and :meth:`Stage.serve`."""

from __future__ import annotations

from _collections_abc import Coroutine  # which is there when Python has started

from rumpel.clock import VirtualClock
from rumpel.netlink import Calls
from rumpel.nf.ending import wake_by_signals
from rumpel.nf.stage import Stage, StageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Any, Self, TypeVar

    from rumpel.kernel import Kernel
    from rumpel.nf.attending import Server
    from rumpel.nf.namespaces import Namespace

    T = TypeVar("T")

__all__ = ["Work"]

_CO_COROUTINE = 0x80  # inspect.CO_COROUTINE


class Work:
    """What the stages of a process do and serve, all at once.

    Coroutines share one event loop with the kernel, in the calling thread, if there is any that
    does something; one who only serves is served in a thread. A stage that blocks has the calling
    thread for itself if nobody else does or serves anything, and else one of its own. On a
    virtual clock there are no threads: the loop lives when the calling thread waits, so that every
    run is the same. Without coroutines there is no loop: to import asyncio takes longer than to
    boot.

    Args:
        k: the kernel.
        stages: those in it.

    Attributes:
        together: is there one event loop, which has to be let live by :meth:`sleep`?
        fd: a descriptor that is readable when one of those who serve has died, if they do so in
            a thread; else -1.

    Raises:
        StageError: if a stage blocks on a virtual clock, and others have something to do.
    """

    def __init__(self, k: Kernel, stages: Sequence[Stage]) -> None:
        self._k = k
        self._virtual = isinstance(k.clock, VirtualClock)
        self._errors: list[BaseException] = []
        self._runner: asyncio.Runner | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._server: Server | None = None
        self._served: list[tuple[Coroutine[Any, Any, None], Namespace | None]] = []
        self._stages = stages
        self.fd = -1
        try:
            self._prepare(stages)
        except BaseException:
            self._close()
            raise

    def _prepare(self, stages: Sequence[Stage]) -> None:
        for stage in stages:
            with _told(stage.namespace), _within(stage.namespace):
                self._served += [(each, stage.namespace) for each in stage.serve(self._k)]
        self._blocking = [stage for stage in stages if _blocks(stage)]
        some = [*self._blocking, *(stage for stage in stages if _is_coroutine(stage.run))]
        self._alone = some[0] if len(some) == 1 and not self._served and _alone(some[0]) else None
        self.together = bool(self._virtual or (some and self._alone is None))
        if self._virtual and self._blocking and self._alone is None:
            stage = self._blocking[0]
            raise StageError(
                f"{'' if stage.namespace is None else stage.namespace.name + ': '}its run() blocks,"
                " and on a virtual clock nobody else would do anything meanwhile: let it be a"
                " coroutine function"
            )
        served = [_placed(*each) for each in self._served]
        self._served = []
        if not served:
            return
        if self.together:
            self._run(self._start(served))
        else:
            from rumpel.nf.attending import Server

            self._server = Server(self._k, served, self._errors)
            self.fd = self._server.fd

    def _call(self, stage: Stage, function: Callable[[Kernel], Any]) -> Any:
        """What it returns; if that is a coroutine, as one that is where the stage is."""
        with _told(stage.namespace):
            with _within(stage.namespace):
                result = function(self._k)
            if isinstance(result, Coroutine):
                return _placed(result, stage.namespace)
            return result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        """Whom is being served gets what has been asked for; then there is an end.

        Raises:
            Exception: what one of those who serve has died of.
        """
        self._close()
        if kind is None:
            self.check()

    def _close(self) -> None:
        for coroutine, _ in self._served:
            coroutine.close()
        if self._runner is not None:
            if self._tasks:
                from rumpel.nf.attending import cancel

                self._runner.run(cancel(self._tasks))
            self._runner.close()
        if self._server is not None:
            self._server.close()

    def check(self) -> None:
        """See whether those who serve are alive.

        Raises:
            Exception: what one of them has died of.
        """
        if self._errors:
            raise self._errors[0]

    def run(self, wires: Mapping[int, Callable[[], bool]] | None = None) -> int | None:
        """Let the stages do what they do, until the first of them has done it; its exit code.

        Args:
            wires: descriptors and what is called when they are readable. If that says so,
                nobody is there any more, and stages that are coroutines end; others may
                ask (:attr:`Stage.is_gone`).

        Returns:
            The exit code; None if there was nothing to do.

        Raises:
            Exception: what one of them, or of those who serve, has died of.
        """
        looked_at = dict(wires or {})
        if self._server is not None:
            looked_at[self.fd] = self._has_failed
        for stage in self._stages:
            stage.is_gone = lambda: any(is_gone() for is_gone in looked_at.values())
        found = [(stage, self._begin(stage)) for stage in self._stages]
        for _, result in found:
            if result is not None and not isinstance(result, Coroutine):
                code: int | None = result
                return code
        coroutines = [(stage, result) for stage, result in found if result is not None]
        if not coroutines:
            return None
        from rumpel.nf.attending import attend

        attended = attend(coroutines, self._tasks, looked_at, virtual=self._virtual)
        code = self._run(attended)
        self.check()
        return code

    def _has_failed(self) -> bool:
        return bool(self._errors)

    def _begin(self, stage: Stage) -> Any:
        """Its exit code, if it is alone; else a coroutine, or None."""
        if stage is self._alone:
            return self._call(stage, stage.run if stage in self._blocking else stage.run_alone)
        if stage not in self._blocking:
            return self._call(stage, stage.run)
        from rumpel.nf.attending import in_thread

        return in_thread(lambda: self._call(stage, stage.run))

    def sleep(self, seconds: float) -> None:
        """Wait, on the clock of the kernels.

        Raises:
            Exception: what one of those who serve has died of.
        """
        if self._tasks:
            import asyncio

            self._run(asyncio.sleep(seconds))
        else:
            # k.sleep() would import all of rumpel.os.
            Calls(self._k).sleep(seconds)
        self.check()

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        if self._runner is None:
            import asyncio
            from functools import partial

            from rumpel.aio import EventLoop

            self._runner = asyncio.Runner(loop_factory=partial(EventLoop, self._k))
            wake_by_signals(self._runner.get_loop())
        return self._runner.run(coroutine)

    async def _start(self, coroutines: list[Coroutine[Any, Any, None]]) -> None:
        from rumpel.nf.attending import start

        self._tasks += start(coroutines, self._errors)


def _is_coroutine(function: Callable[..., Any]) -> bool:
    """Is it a coroutine function, by its code?"""
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & _CO_COROUTINE)


def _blocks(stage: Stage) -> bool:
    """Does its run() do something, in the thread that calls it?"""
    own = getattr(stage.run, "__func__", None) is not Stage.run
    return own and stage.blocks and not _is_coroutine(stage.run)


def _alone(stage: Stage) -> bool:
    """Can it do without a coroutine, if nobody else does or serves anything?"""
    return not _is_coroutine(stage.run) or type(stage).run_alone is not Stage.run_alone


class _Nowhere:
    """Where a stage is that has a kernel of its own: contextlib has it, too, but is not there."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        pass


def _within(namespace: Namespace | None) -> AbstractContextManager[object]:
    """The namespace; or where a stage is that has none."""
    return _Nowhere() if namespace is None else namespace


def _told(namespace: Namespace | None) -> AbstractContextManager[object]:
    """See :func:`rumpel.nf.namespaces.named`. Of a process of its own, that says whose it is."""
    if namespace is None:
        return _Nowhere()
    from rumpel.nf.namespaces import named

    return named(namespace)


def _placed(
    coroutine: Coroutine[Any, Any, T], namespace: Namespace | None
) -> Coroutine[Any, Any, T]:
    """The same, in a namespace, and what it dies of says whose it is."""
    if namespace is None:
        return coroutine
    from rumpel.nf.in_namespace import InNamespace

    return _named(InNamespace(coroutine, namespace), namespace)


async def _named(coroutine: Coroutine[Any, Any, T], namespace: Namespace) -> T:
    with _told(namespace):
        return await coroutine
