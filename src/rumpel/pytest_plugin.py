# SPDX-License-Identifier: GPL-2.0-only
"""For pytest: tests that begin with the same kernel, each with a copy of its own.

A ``conftest.py`` loads it::

    pytest_plugins = ["rumpel.pytest_plugin"]

A test with the mark ``clone`` that uses a fixture which is a kernel is run by
:meth:`rumpel.Kernel.clone`: in a child process, which has copies of all kernels. So a fixture
of the scope ``session`` boots and configures once, and no test sees what another one did.
"""

from __future__ import annotations

from typing import Any

import pytest

from rumpel.kernel import Kernel

__all__ = ["pytest_configure", "pytest_pyfunc_call"]

_OUTCOMES: tuple[Any, ...] = (pytest.skip.Exception, pytest.xfail.Exception, pytest.fail.Exception)
"""What pytest raises itself, which cannot be pickled; the second is one of the third."""


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest of the mark."""
    text = "clone(timeout=None): run the test with copies of its kernels, in a child process"
    config.addinivalue_line("markers", text)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is marked in a clone."""
    mark = pyfuncitem.get_closest_marker("clone")
    if mark is None:
        return None
    names = pyfuncitem._fixtureinfo.argnames
    values = {name: pyfuncitem.funcargs[name] for name in names}
    kernels = [value for value in pyfuncitem.funcargs.values() if isinstance(value, Kernel)]
    if not kernels:
        raise pytest.UsageError(f"{pyfuncitem.name} is marked clone, but no fixture is a kernel")

    def test(_: Kernel) -> tuple[int, str] | None:
        try:
            pyfuncitem.obj(**values)
        except _OUTCOMES as outcome:
            kind = next(i for i, each in enumerate(_OUTCOMES) if isinstance(outcome, each))
            return kind, outcome.msg
        return None

    outcome = kernels[0].clone(test, timeout=mark.kwargs.get("timeout"))
    if outcome is not None:
        kind, message = outcome
        raise _OUTCOMES[kind](message)
    return True
