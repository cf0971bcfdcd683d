# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image shell``: scripts, the prompt, and what it completes."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from rumpel.cli.image.prompt import ImageCompleter
from tests.conftest import VERSION
from tests.images.tools import check

pytestmark = [pytest.mark.kernel, pytest.mark.once]

_RUMPEL = [sys.executable, "-c", "from rumpel.cli import main; main()", "image", "shell"]


def _shell(disk: Path | str, script: str, *options: str, code: int = 0) -> tuple[str, str]:
    done = subprocess.run(
        [*_RUMPEL, "--kernel", VERSION, *options, disk],
        input=script, capture_output=True, text=True, cwd=Path(disk).parent,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def test_scripts(disk: Path, tmp_path: Path) -> None:
    """All work on the one image that is open; names are the image's, or with a colon."""
    (tmp_path / "file").write_text("content\n")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "leaf").write_text("green\n")
    script = """
        mkdir dir "with a blank"    # and a comment
        cp file :dir/copy
        cd dir
        pwd
        ls
        cat copy ./copy /dir/copy
        cp :copy out
        mv copy moved
        ln -s moved link
        cd ..
        find dir
        cd /
        ls
        cp tree :tree
        diff :tree tree
        rm -r tree
        cat dir/link
    """
    told, complained = _shell(disk, script)
    assert complained == ""
    lines = told.splitlines()
    assert lines[:5] == ["/dir", "copy", *["content"] * 3]
    assert [line.rpartition("/")[2] for line in lines[5:8]] == ["dir", "link", "moved"]
    assert lines[8:] == ["dir", "lost+found", "with a blank", "content"]
    assert (tmp_path / "out").read_text() == "content\n"
    check(disk)


def test_mistakes(disk: Path) -> None:
    """One line each; a script ends there, and what was done before is kept."""
    for line, message in (
        ("nothing", "no such command here: nothing"),
        ("mount mnt", "no such command here: mount"),
        ("cat none", "No such file or directory"),
        ("cd none", "rumpel: /none: No such file or directory"),
        ("ls --what", "No such option"),
        ("cat 'open", "No closing quotation"),
    ):
        told, complained = _shell(disk, f"mkdir a\n{line}\nmkdir b\n", code=1)
        assert message in complained
        assert complained.count("\n") == 1
        assert told == ""
        assert _shell(disk, "ls\nrm -r a\nexit\nnothing")[0] == "a\nlost+found\n"
    before = disk.read_bytes()
    assert "Read-only" in _shell(disk, "mkdir a", "--read-only", code=1)[1]
    assert disk.read_bytes() == before


def test_the_prompt(disk: Path, tmp_path: Path) -> None:
    """On a terminal it goes on after a mistake and Ctrl-C; what was typed is kept."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "TERM": "xterm"}
    command = [*_RUMPEL, "--kernel", VERSION, str(disk)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as process:
        os.close(theirs)
        try:
            _until(ours, "/>")
            for typed, wanted in (
                ("nothing\n", "no such command"),
                ("mkdir made\n", "/>"),
                ("cd ma\t", "de/"),
                ("\n", "/made>"),
                ("\x03", "/made>"),
                ("pwd\n", "/made\r\n"),
            ):
                os.write(ours, typed.encode())
                _until(ours, wanted)
            os.write(ours, b"exit\n")
            assert process.wait(60) == 0
        finally:
            process.kill()
    os.close(ours)
    assert "+mkdir made" in (tmp_path / "state" / "rumpel" / "image_history").read_text()
    check(disk)
    assert _shell(disk, "ls")[0] == "lost+found\nmade\n"


def _until(fd: int, wanted: str) -> str:
    said = ""
    while wanted not in said:
        assert select.select([fd], [], [], 60)[0], said
        said += os.read(fd, 4096).decode()
        if "\x1b[6n" in said:  # where is the cursor?
            os.write(fd, b"\x1b[1;1R")
            said = said.replace("\x1b[6n", "")
    return said


def test_completion(disk: Path, opened: Any) -> None:
    """Commands first, then names: with a slash after directories, hidden ones when asked for."""
    image = opened(disk)
    image.makedirs("/etc/deep")
    image.pipe({"/etc/host name": b"", "/etc/hosts": b"", "/etc/.hidden": b""})
    completer = ImageCompleter(image.volume, lambda: "/etc", ["cat", "chmod", "ls"])

    def complete(text: str) -> list[str]:
        found = completer.get_completions(Document(text), CompleteEvent())
        return [each.text for each in found]

    assert complete("c") == ["cat", "chmod"]
    assert complete("cat ") == ["deep/", "host\\ name", "hosts"]
    assert complete("cat :ho") == ["host\\ name", "hosts"]
    assert complete("cat .") == [".hidden"]
    assert complete("ls /e") == ["etc/"]
    assert complete("ls /etc/d") == ["deep/"]
    assert complete("ls /none/d") == []
