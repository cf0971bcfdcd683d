# SPDX-License-Identifier: GPL-2.0-only
"""An event loop for the coroutines of a device."""

from __future__ import annotations

import asyncio
import contextlib
import threading

__all__ = ["LoopThread"]


class LoopThread:
    """An event loop that runs in a thread of its own until it is stopped.

    Args:
        name: of the thread.

    Attributes:
        loop: the event loop.
        thread: to be started, and joined.
    """

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def stop(self) -> None:
        """Let the thread end soon; what runs in the loop is cancelled."""
        with contextlib.suppress(RuntimeError):  # it has ended already
            self.loop.call_soon_threadsafe(self.loop.stop)

    def _run(self) -> None:
        try:
            self.loop.run_forever()
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(0))
            self.loop.close()
