# SPDX-License-Identifier: GPL-2.0-only
"""How mounts have ended, where the number of one is soon another's."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import pytest

from rumpel.images.fuse.outcome import kept, opened, outcome


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def test_an_end_is_told() -> None:
    up = Event()
    up.set()
    with pytest.raises(ValueError, match="is wrong"), kept("0:99", up):
        told = opened("0:99")
        raise ValueError("this is wrong")
    assert told
    with told:
        assert outcome(told, "0:99") == "this is wrong"
    assert opened("0:99") is None


@pytest.mark.parametrize("well", [True, False])
def test_a_number_that_is_given_again(well: bool) -> None:
    """One is unmounted and still writes; another, which got its number, fails: that is told."""
    up = Event()
    up.set()
    first, second = kept("0:99", up), kept("0:99", up)
    first.__enter__()
    of_first = opened("0:99")
    assert of_first
    with of_first:
        second.__enter__()
        if well:
            first.__exit__(None, None, None)
            assert outcome(of_first, "0:99") == ""
        else:
            first.__exit__(ValueError, ValueError("the first"), None)
            assert outcome(of_first, "0:99") == "the first"
    of_second = opened("0:99")
    assert of_second
    with of_second:
        second.__exit__(ValueError, ValueError("the second"), None)
        assert outcome(of_second, "0:99") == "the second"
