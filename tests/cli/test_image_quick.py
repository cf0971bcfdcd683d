# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image`` without click: it reads a line as click does, and imports little."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from rumpel.cli import _QUICK
from rumpel.cli.image.group import command as group
from rumpel.cli.image.how import HOW
from rumpel.images.prestart import _LOOK, JOBS, LOOKING, MODULES
from rumpel.options import parse
from rumpel.sandbox.kernel import boot

RIGHT = [
    "ls disk.img",
    "ls -laR -h disk.img:2:/etc other.img --json",
    "ls -ld --no-sandbox --sandbox --memory 1G --kernel=7.2 --timeout 0 disk.img",
    "find disk.img --name *.c --type f --size +1k --mtime -3 --perm -4000 --uid 0 --maxdepth 0",
    "cat --password-file - --disk a --disk b --format raw -- -name",
    "cp -ra one two three --exclude *.o --exclude=b --owner 1:2 -j4 --progress",
    "cp --owner 4294967294 -j 64 one two",
    "stat -L disk.img:/etc --verity-offset 4096 --backing",
    "df -hi disk.img --no-sandbox",
]
WRONG = [
    "ls",
    "ls --long disk.img",
    "ls -lx disk.img",
    "ls -l-h disk.img",
    "ls --help",
    "ls --sandbox=yes disk.img",
    "ls --memory x disk.img",
    "ls --timeout -1 disk.img",
    "ls disk.img --kernel",
    "find disk.img --type x",
    "find disk.img --maxdepth -1",
    "cp one",
    "cp -j0 one two",
    "cp --owner root one two",
    "cp --owner 4294967295 one two",
    "cp --owner 0:99999999999 one two",
]


def by_click(line: str) -> dict[str, Any]:
    """The values that click reads."""
    name, *rest = line.split()
    with click.Context(group) as context:
        command = group.get_command(context, name)
        assert command
        with command.make_context(name, rest) as made:
            return made.params


def by_us(line: str) -> dict[str, Any] | None:
    """The values that are read without it."""
    name, *rest = line.split()
    assert name in _QUICK
    module = importlib.import_module(f"rumpel.cli.image.{name}")
    return parse((*HOW, *module.PARAMS), rest)


@pytest.mark.parametrize("line", RIGHT)
def test_what_is_right(line: str) -> None:
    """Both read the same."""
    assert by_us(line) == by_click(line)


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong(line: str) -> None:
    """Click says what, for we leave it to click."""
    assert by_us(line) is None
    with pytest.raises((click.UsageError, click.exceptions.Exit)):
        by_click(line)


def python(code: str, *arguments: str) -> list[str]:
    """What a program says, such as its modules, as installed for users: without a developer's."""
    package = Path(__file__).parents[2] / "src"
    code = f"import sys; sys.path.insert(0, {str(package)!r}); {code}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


SLOW = {"click", "enum", "fnmatch", "json", "re", "signal", "typing"}
HEAVY = {"contextlib", "functools", "threading"} | SLOW


def test_a_kernel_starts_before_anything_is_imported() -> None:
    """What the parent needs to start the child, and the child to boot, imports next to nothing."""
    say = "print(*sys.modules)"
    said = python(f"import rumpel.cli, rumpel.images.prestart, rumpel.sandbox.spawn; {say}")
    assert not {*said} & (HEAVY | {"subprocess", "pathlib"})
    said = python(f"import rumpel.sandbox.early; {say}")
    assert not {*said} & (HEAVY | {"rumpel.kernel"})


@pytest.mark.kernel
@pytest.mark.once
@pytest.mark.parametrize("name", _QUICK)
def test_a_command_needs_no_click(name: str, default_image: str, tmp_path: Path) -> None:
    """Nor what else is long: this finds out who makes the start longer."""
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(4 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", image], check=True)
    end = f"{image}:/lost+found"
    words = [name, "--kernel", default_image, end, *([str(tmp_path / "out")] * (name == "cp"))]
    if name == "cat":
        words[-1] = f"{image}:/none"
    code = "import os; end = os._exit; os._exit = lambda _: (print('', *sys.modules), "
    code += "sys.stdout.flush(), end(0)); sys.argv = ['rumpel', 'image', *sys.argv[1:]];"
    found = {*python(f"{code} from rumpel.cli import program; program()", *words)}
    assert "rumpel.sandbox.native" in found
    allowed = {"stat": {"datetime"}}.get(name, set())
    heavy = {"datetime", "inspect", "pathlib", "socket", "subprocess", "tempfile", "uuid"} | SLOW
    heavy |= {"importlib", "threading", "warnings"}
    assert not found & (heavy - allowed)


@pytest.mark.kernel
@pytest.mark.once
@pytest.mark.parametrize("name", sorted({*_QUICK, *_LOOK}))
def test_the_process_that_was_started_is_the_right_one(
    name: str, default_image: str, tmp_path: Path
) -> None:
    """It has what the command needs of it: no other has to be started."""
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(4 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", image], check=True)
    end = f"{image}:/" if name in ("cat", "cp") else image
    words = [name, "--kernel", default_image, end, *([tmp_path / "out"] * (name == "cp"))]
    code = "import os, sys; begin = os.posix_spawn; os.posix_spawn = lambda *a, **k: "
    code += "(sys.stderr.write('begun\\n'), begin(*a, **k))[1]; from rumpel.cli import program; "
    command = [sys.executable, "-c", f"{code} program()", "image", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stderr.count("begun") == 1
    # That is a directory, and has no content.
    assert (done.returncode, done.stdout == "") == (name == "cat", name in ("cat", "cp"))


@pytest.mark.kernel
@pytest.mark.parametrize("modules", [LOOKING, MODULES])
def test_nor_does_the_child(
    modules: tuple[str, ...], default_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What serves the command imports as little, until it is ready and later."""
    begin = os.posix_spawn

    def spawn(program: str, args: list[str], env: dict[str, str], **more: Any) -> int:
        return begin(program, [args[0], "-X", "importtime", *args[1:]], env, **more)

    monkeypatch.setattr(os, "posix_spawn", spawn)
    kernel = boot([], image=default_image, modules=modules)
    with kernel:
        assert list(kernel.remote.stream("run", JOBS, "walk", "/", 1, True))
        said = os.pread(kernel.remote._process._errors, 1 << 20, 0).decode()
    found = {line.rpartition("|")[2].strip() for line in said.splitlines()}
    assert {"rumpel.sandbox.worker", "rumpel.os.stdlib", *modules} <= found
    assert ("rumpel.copying.target" in found) == (modules == MODULES)
    # Of which threading, if another thread were first, would take that for the main one.
    assert not found & (HEAVY | {"collections", "importlib.util", "operator", "struct", "warnings"})
