# SPDX-License-Identifier: GPL-2.0-only
"""Kernels for tests. Each test boots its own, which takes some 10 ms.

RUMPEL_TEST_VERSION says which version; ./dev test builds the images. To test an image
of one's own, name it in RUMPEL_TEST_IMAGE_DEFAULT or RUMPEL_TEST_IMAGE_TINY.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from itertools import chain, groupby, islice
from typing import Any

import pytest

import rumpel
from rumpel.build import find_image

VERSION = os.environ.get("RUMPEL_TEST_VERSION", "6.12")

Boot = Callable[..., rumpel.Kernel]


def image(profile: str) -> str:
    """Find the image of a profile, or fail."""
    own = os.environ.get(f"RUMPEL_TEST_IMAGE_{profile.upper()}")
    if own:
        return own
    found = find_image(VERSION, profile)
    if found is None:
        pytest.fail(f"no image: rumpel kernel build {VERSION} --profile {profile}", pytrace=False)
    return str(found.path)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first, so that none is alone in the end.

    With ``--dist worksteal`` each worker begins with a run of the list, all as long. So the
    long ones are dealt to the heads of those.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        items[:] = dealt(items, workers)


def dealt(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """The tests in an order in which each worker has its share of the long ones first."""

    def together(item: pytest.Item) -> str:
        mark = item.get_closest_marker("long")
        return str(mark.args[0]) if mark and mark.args else item.nodeid

    long = [item for item in items if item.get_closest_marker("long")]
    others = iter([item for item in items if not item.get_closest_marker("long")])
    groups = [list(group) for _, group in groupby(long, together)]
    order: list[pytest.Item] = []
    left = len(items)
    for worker in range(workers):
        size = left // (workers - worker)
        left -= size
        share = list(chain.from_iterable(groups[worker::workers]))
        order += share
        order += islice(others, max(size - len(share), 0))
    return [*order, *others]


@pytest.fixture(scope="session")
def default_image() -> str:
    """The rich image."""
    return image("default")


@pytest.fixture(scope="session")
def tiny_image() -> str:
    """The small image."""
    return image("tiny")


@pytest.fixture
def boot(default_image: str) -> Iterator[Boot]:
    """Boot kernels with any arguments; they end with the test.

    One that has panicked, and no call said so, fails it.
    """
    with contextlib.ExitStack() as booted:

        def boot(**arguments: Any) -> rumpel.Kernel:
            arguments.setdefault("image", default_image)
            kernel = rumpel.boot(**arguments)
            booted.push(kernel)
            return kernel

        yield boot


@pytest.fixture
def kernel(boot: Boot) -> rumpel.Kernel:
    """A kernel of the default profile."""
    return boot()


@pytest.fixture
def tiny(boot: Boot, tiny_image: str) -> rumpel.Kernel:
    """A kernel of the profile tiny."""
    return boot(image=tiny_image)
