# SPDX-License-Identifier: GPL-2.0-only
"""The command line: one line for a mistake, JSON for programs, a fast start."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from rumpel.cli import _HELP, collect_garbage
from rumpel.cli.commands import COMMANDS
from rumpel.cli.table import LazyGroup


def _rumpel(cache: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from rumpel.cli import main; main()", *args],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "RUMPEL_CACHE": str(cache)},
        timeout=60,
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["kernel", "build", "5.4"], "'5.4' is not supported; there are: 6.12"),
        (["kernel", "build", "-p", "huge"], "no profile 'huge'"),
        (["kernel", "build", "-c", "NET"], "'NET' is no option"),
        (["kernel", "build", "6.12", "--source", "x"], "not both"),
        (["kernel", "build", "--source", "/nonexistent"], "no source at /nonexistent"),
        (["kernel", "info", "1.0"], "there is no image 1.0"),
        (["kernel", "verify", "1.0"], "there is no image 1.0"),
        (["kernel", "remove", "1.0"], "no image fits"),
        (["kernel", "remove"], "say which"),
        (["kernel", "nonsense"], "No such command"),
        (["imag", "ls"], "there is no command 'imag': did you mean image?"),
        (["kernel", "biuld"], "there is no command 'biuld': did you mean build?"),
        (["ls", "disk.img"], "there is no command 'ls': did you mean image ls?"),
        (["--nonsense"], "No such option"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, args: list[str], message: str) -> None:
    """Non-zero exit, one line on stderr, never a traceback."""
    done = _rumpel(tmp_path, *args)
    assert done.returncode != 0
    assert message in done.stderr
    assert done.stderr.startswith("rumpel: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_an_unwritable_cache_is_one_line(tmp_path: Path) -> None:
    """The path and the way out are named."""
    (tmp_path / "file").write_text("")
    done = _rumpel(tmp_path / "file", "kernel", "build")
    assert done.returncode == 1
    assert "cannot write to the cache" in done.stderr
    assert "RUMPEL_CACHE" in done.stderr


def test_json_of_an_empty_cache_is_an_empty_list(tmp_path: Path) -> None:
    """Programs get JSON in every case."""
    assert json.loads(_rumpel(tmp_path, "kernel", "list", "--json").stdout) == []


@pytest.mark.parametrize("name", ["build", "list", "info", "verify", "remove"])
def test_every_command_shows_an_example(tmp_path: Path, name: str) -> None:
    """Its --help has an example and tells of --json."""
    shown = _rumpel(tmp_path, "kernel", name, "--help").stdout
    assert f"\n    rumpel kernel {name}" in shown
    assert "--json" in shown


def test_version_and_help_load_no_command(tmp_path: Path) -> None:
    """The list of commands comes from the table alone."""
    assert _rumpel(tmp_path, "--version").stdout.startswith("rumpel, version ")
    code = (
        "import sys, rumpel.cli\nsys.argv = ['rumpel', '--help']\ntry:\n    rumpel.cli.main()\n"
        "except SystemExit:\n    pass\nprint('rumpel.cli.kernel' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "kernel" in shown.stdout
    assert shown.stdout.endswith("False\n")


@pytest.mark.parametrize(
    ("args", "status"), [(["--version"], 0), (["image", "ls", "none.img"], 1), (["nope"], 2)]
)
def test_the_program_ends_at_once(tmp_path: Path, args: list[str], status: int) -> None:
    """What was printed is there, its status is right, and what waits for the end is done."""
    code = "import atexit, sys; from rumpel.cli import program; atexit.register(print, 'at exit');"
    code += f" sys.argv = ['rumpel', *{args!r}]; program()"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert done.stdout.splitlines()[-1] == "at exit"
    assert len(done.stdout.splitlines()) + len(done.stderr.splitlines()) == 2


def test_an_interrupt_before_there_is_a_command() -> None:
    """Ctrl-C while modules are imported is one line, and the status of any other."""
    code = """
import signal, sys
from rumpel import cli

class Interrupted:
    def find_spec(self, *_):
        sys.meta_path.remove(self)
        signal.raise_signal(signal.SIGINT)

sys.argv = ["rumpel", "image", "ls", "x"]
sys.meta_path.insert(0, Interrupted())
cli.program()
"""
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (130, "rumpel: interrupted\n")


def _all_helps() -> dict[str, str]:
    """Of every command, by its name."""
    found: dict[str, str] = {}

    def add(name: str, command: click.Command) -> None:
        context = click.Context(command, info_name=name)
        found[name] = command.get_help(context)
        if isinstance(command, click.Group):
            for each in command.list_commands(context):
                below = command.get_command(context, each)
                assert below is not None
                add(f"{name} {each}", below)

    add("rumpel", LazyGroup("rumpel", COMMANDS, _HELP))
    return found


def test_every_help_has_an_example() -> None:
    """Of that command, and nothing is cut off."""
    helps = _all_helps()
    assert len(helps) > 60
    for name, text in helps.items():
        assert "\n  Example" in text, name
        assert f"    {name} " in text or f"| {name.rpartition(' ')[2]} " in text or "'" in text, (
            name
        )
        assert "..." not in text.partition("Commands:")[2], name


@pytest.mark.parametrize(
    ("command", "own", "shared"),
    [
        (["image", "ls"], "-l ", "--read-only"),
        (["image", "cp"], "--exclude", "--read-only"),
        (["image", "create"], "--from", "--read-only"),
        (["nf", "shape"], "--delay", "--return-left"),
    ],
)
def test_help_begins_with_what_is_the_commands_own(
    tmp_path: Path, command: list[str], own: str, shared: str
) -> None:
    """Options that others have, too, are below, under a heading of their own."""
    shown = _rumpel(tmp_path, *command, "--help").stdout
    first, second = shown.partition("\nOptions:\n")[2].split("\nOptions of all ")
    assert f"  {own}" in first
    assert "--help" in first
    assert shared in second
    assert shared not in first


def test_a_shell_completes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As README.md says, commands and options."""
    monkeypatch.setenv("_RUMPEL_COMPLETE", "bash_complete")
    for words, expected in (
        ("rumpel im", "plain,image"),
        ("rumpel image unt", "plain,untar"),
        ("rumpel image cp --excl", "plain,--exclude"),
        ("rumpel nf sha", "plain,shape"),
        ("rumpel run --sys", "plain,--sysctl"),
    ):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
        # The shell's function starts it without arguments.
        code = "import sys; sys.argv = ['rumpel']; from rumpel.cli import program; program()"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert expected in done.stdout.split()


def test_garbage_is_looked_for_again() -> None:
    """Once all is imported, and not among that; what looks for it anyway is left alone."""
    assert gc.isenabled()
    before = gc.get_freeze_count()
    collect_garbage()
    assert gc.get_freeze_count() == before
    code = "import gc; from rumpel.cli import collect_garbage; gc.disable(); collect_garbage()\n"
    code += "print(gc.isenabled(), gc.get_freeze_count() > 1000)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["True", "True"]


@pytest.mark.parametrize(
    ("where", "why"), [(">&-", "Bad file descriptor"), (">/dev/full", "No space left on device")]
)
@pytest.mark.parametrize("command", ["--help", "kernel list --json", "ps", "image ls --help"])
def test_output_that_cannot_be_written(tmp_path: Path, command: str, where: str, why: str) -> None:
    """One line, and no exit status of success."""
    code = "from rumpel.cli import program; program()"
    line = f"{sys.executable} -c '{code}' {command} {where}"
    env = {**os.environ, "RUMPEL_CACHE": str(tmp_path)}
    done = subprocess.run(line, shell=True, capture_output=True, text=True, env=env, timeout=60)
    assert done.stderr in (f"rumpel: {why}\n", f"rumpel: standard output: {why}\n")
    assert done.returncode == 1


def test_closed_standard_error(tmp_path: Path) -> None:
    """What is said there is not said elsewhere."""
    code = "from rumpel.cli import program; program()"
    line = f"{sys.executable} -c '{code}' kernel info 1.0 2>&-"
    env = {**os.environ, "RUMPEL_CACHE": str(tmp_path)}
    done = subprocess.run(line, shell=True, capture_output=True, env=env, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == (b"", b"", 1)
