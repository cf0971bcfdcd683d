# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel run`` without click: it reads a line as click does, and imports next to nothing."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from rumpel.cli.run import command
from rumpel.cli.run_quick import NAME_VARIABLE, PARAMS, Misused, become
from rumpel.options import parse
from rumpel.run.record import Record

RIGHT = [
    "true",
    "-- true --net none",
    "--net none echo --net host -x",
    "--net=tap:tap0,ip=192.0.2.2/24,gw=192.0.2.1 --net user --publish 80:80 -- sh -c 'a b'",
    "--sysctl a.b=c --sysctl x=y=z --mptcp --memory 64 --kernel 7.2 --profile tiny sh",
    "--path /a --path /b=kernel --dns 10.0.0.1 --name web --trap seccomp - a",
    "--pcap new --log /tmp/new --image a.img:1:/x --explain trace --explain-to to true",
]
WRONG = [
    "",
    "--net none",
    "--net color true",
    "--net none,ip=x true",
    "--sysctl x true",
    "--path /a=b true",
    "--memory 1 true",
    "--memory x true",
    "--memory 31M true",
    "--trap up true",
    "--log /tmp true",
    "--mptcp=yes true",
    "--config /nowhere true",
    "--color true",
    "--help",
]
HEAVY = {"click", "collections", "contextlib", "dataclasses", "enum", "functools", "json"} | {
    *("pathlib", "re", "shutil", "socket", "subprocess", "tempfile", "threading", "typing"),
}
SAY = """
import os, sys
os.execve = lambda *_: (print(*sys.modules), sys.stdout.flush(), os._exit(0))
sys.argv = ["rumpel", "run", *sys.argv[1:]]
from rumpel.cli import program
program()
"""


def by_click(line: str) -> dict[str, Any]:
    """The values that click reads."""
    with command.make_context("run", shlex.split(line)) as context:
        return context.params


@pytest.mark.parametrize("line", RIGHT)
def test_what_is_right(line: str) -> None:
    """Both read the same."""
    assert parse(PARAMS, shlex.split(line), interspersed=False) == by_click(line)


def test_memory_is_a_size() -> None:
    """As everywhere else; a number alone is MiB."""
    for given, size in (("64", 64 << 20), ("64M", 64 << 20), ("0.5G", 512 << 20)):
        values = parse(PARAMS, ["--memory", given, "true"], interspersed=False)
        assert values is not None
        assert values["memory"] == size


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Click says what, for we leave it to click."""
    assert parse(PARAMS, shlex.split(line), interspersed=False) is None
    with pytest.raises((click.UsageError, click.exceptions.Exit)):
        by_click(line)


def imported(*arguments: str) -> set[str]:
    """Which modules there are when the program is executed."""
    # As installed for users: what site-packages of a developer import is not ours.
    package = Path(__file__).parents[2] / "src"
    python = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(package)!r})"]
    python[-1] += SAY
    done = subprocess.run([*python, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_nothing_is_imported() -> None:
    """A start is short because it imports little: this finds out who makes it longer."""
    assert not imported("--net", "host", "true") & HEAVY


@pytest.mark.kernel
@pytest.mark.once
def test_nothing_is_imported_for_a_kernel(default_image: str) -> None:
    """The same, where one is booted."""
    found = imported("--kernel", default_image, "--net", "none", "--", "true")
    assert "rumpel.run.keeper" in found
    assert not found & HEAVY


def test_what_a_start_says_is_what_click_would(tmp_path: Path) -> None:
    """A kernel that is not there is one line."""
    from tests.run.conftest import CLI, run

    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    line = ["run", "--kernel", "/no/such", "--net", "none"]
    quick = run([*CLI, *line, "true"], env=env)
    slow = run([*CLI, *line, "--explain", "counts", "true"], env=env)
    assert quick.stderr == slow.stderr == "rumpel: no kernel: /no/such: No such file or directory\n"
    assert quick.returncode == slow.returncode == 1


def test_who_joins_asks_for_nothing_of_a_kernel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is refused, in the order of the help, before an image is looked for or a file made."""
    monkeypatch.setenv(NAME_VARIABLE, "web")
    line = f"--image /no/such:/x --explain-to {tmp_path}/file --name other --mptcp --dns x true"
    values = parse(PARAMS, line.split(), interspersed=False)
    assert values is not None
    with pytest.raises(Misused, match=r"web joins .*: --dns, --mptcp, --name, --image is for one"):
        become(values)
    assert not list(tmp_path.iterdir())


class Point(Record):
    """Of two numbers."""

    x: int
    y: int = 0


class TestRecord:
    """What :class:`Record` has of a dataclass."""

    def test_attributes(self) -> None:
        assert (Point(1).x, Point(1).y, Point(y=2, x=1).y) == (1, 0, 2)
        assert Point(1).but(y=3) == Point(1, 3) != Point(1)
        assert repr(Point(1)) == "Point(x=1, y=0)"

    @pytest.mark.parametrize(
        ("values", "more", "said"),
        [
            ((), {}, "needs x"),
            ((1, 2, 3), {}, "has 2 attributes, not 3"),
            ((1,), {"x": 2}, "takes no x, or not twice"),
            ((1,), {"z": 2}, "takes no z"),
        ],
    )
    def test_mistakes(self, values: tuple[int, ...], more: dict[str, int], said: str) -> None:
        with pytest.raises(TypeError, match=said):
            Point(*values, **more)
