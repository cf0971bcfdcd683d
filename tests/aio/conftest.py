# SPDX-License-Identifier: GPL-2.0-only
"""Both kinds of event loop for the tests of ``kernel.aio``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import rumpel

Run = Callable[[rumpel.Kernel, Coroutine[Any, Any, Any]], Any]


def on_asyncio(kernel: rumpel.Kernel, main: Coroutine[Any, Any, Any]) -> Any:
    """An event loop that knows nothing of kernels."""
    return asyncio.run(main)


def on_kernel(kernel: rumpel.Kernel, main: Coroutine[Any, Any, Any]) -> Any:
    """The loop over the kernel."""
    return kernel.aio.run(main)


@pytest.fixture(params=[on_asyncio, on_kernel])
def run(request: pytest.FixtureRequest) -> Run:
    """Each test is run on both."""
    return request.param  # type: ignore[no-any-return]


def descriptors(kernel: rumpel.Kernel) -> list[str]:
    """All of the kernel's."""
    # But for the one that lists them.
    return sorted(kernel.os.listdir("/proc/1/fd"), key=int)[:-1]
