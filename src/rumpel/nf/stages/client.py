# SPDX-License-Identifier: GPL-2.0-only
"""What ``tcp`` and ``udp`` have in common: who is called, what is sent, where answers go."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, ClassVar

from rumpel.clock import VirtualClock
from rumpel.nf.stage import RIGHT, Stage, StageError
from rumpel.nf.stages.ping import near
from rumpel.options import Argument, IntRange, Option

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["Client"]


class _Daemons(Executor):
    """Threads that nobody waits for in the end: one that reads a terminal may never return."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See Executor."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()

        def work() -> None:
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=work, daemon=True).start()
        return future


class Client(Stage):
    """Who sends standard input to a port, and writes what comes back."""

    ports = (RIGHT,)
    params: ClassVar[Sequence[Option | Argument]] = (
        Argument("host"),
        Argument("port", type=IntRange(1, 65535)),
        Option("--input", metavar="FILE", help="What is sent.  [default: standard input]"),
        Option("--output", metavar="FILE", help="The answer.  [default: standard error]"),
        Option("--address", metavar="ADDRESS", help="Our own.  [default: one near by]"),
    )

    def configure(self, k: Kernel) -> None:
        """An address, and everybody behind the port."""
        try:
            own = self.options.address or near(self.options.host)
        except ValueError as error:
            raise StageError(str(error)) from None
        self.address(k, self.port, own)
        self._input, self._output = 0, 2
        try:
            if self.options.input is not None:
                self._input = os.open(self.options.input, os.O_RDONLY | os.O_CLOEXEC)
            if self.options.output is not None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
                self._output = os.open(self.options.output, flags, 0o666)
        except OSError as error:
            raise StageError.of(error) from None

    @property
    def there(self) -> tuple[str, int]:
        """The address of who is called."""
        return self.options.host, self.options.port

    async def chunks(self, k: Kernel, size: int) -> AsyncIterator[bytes]:
        """What is to be sent, at most so many bytes at a time.

        From a terminal or a pipe it comes as it is written. But on a virtual clock it is
        collected: who writes lives in another time.
        """
        regular = stat.S_ISREG(os.fstat(self._input).st_mode)
        whole = isinstance(k.clock, VirtualClock)
        loop, reader = asyncio.get_running_loop(), _Daemons()
        while True:
            data = b""
            while len(data) < size:
                left = size - len(data)
                more = (
                    os.read(self._input, left)
                    if regular
                    else await loop.run_in_executor(reader, os.read, self._input, left)
                )
                data += more
                if not more or not whole:
                    break
            if not data:
                return
            # On a virtual clock all of it is sent at one moment: nobody else looks meanwhile.
            if whole and self.is_gone():
                raise asyncio.CancelledError
            yield data

    def write(self, data: bytes) -> None:
        """Write an answer."""
        while data:
            data = data[os.write(self._output, data) :]
