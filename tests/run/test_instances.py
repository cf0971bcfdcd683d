# SPDX-License-Identifier: GPL-2.0-only
"""Names of kernels: whose files are whose, and keepers that do not answer."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from rumpel.errors import BootError
from rumpel.run import instance, keeper
from rumpel.run.instance import Instance, NameTaken, instances, name_for, register
from rumpel.run.launch import Options, launch
from rumpel.run.nets import Net
from tests.run.conftest import CLI, run


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of this test's own names; tmp_path is too long for sockets."""
    with tempfile.TemporaryDirectory(prefix="rumpel-") as run:
        monkeypatch.setenv("XDG_RUNTIME_DIR", run)
        yield Path(instance.directory())


def made(name: str) -> Instance:
    """An instance of this process'."""
    return Instance(name, os.getpid(), ["true"], "6.12", time.time(), [], 0)


def options(names: Path, name: str) -> Options:
    """Of a program whose kernel is to have the name; it is never booted."""
    image = names / "image"
    image.touch()
    return Options(nets=(Net("none"),), dns=("10.0.0.1",), version=str(image), name=name)


@contextmanager
def stuck(name: str) -> Iterator[Path]:
    """The socket of a keeper that does not accept, whose backlog is full."""
    with ExitStack() as stack:
        listener, (path, _) = register(made(name))
        stack.enter_context(closing(listener))
        with pytest.raises(BlockingIOError):
            for _ in range(1000):
                s = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
                s.setblocking(False)
                s.connect(os.fspath(path))
        yield Path(path)


def test_a_name_that_is_taken_loses_nothing(names: Path) -> None:
    """Who asks for the name of a kernel that runs does not touch its files."""
    with closing(register(made("web"))[0]):
        (names / "web.resolv").write_text("nameserver 10.0.0.9\n")
        with pytest.raises(NameTaken):
            launch(["true"], options(names, "web"))
        assert (names / "web.resolv").read_text() == "nameserver 10.0.0.9\n"
        assert [i.name for i in instances()] == ["web"]


def test_a_name_is_no_path(names: Path) -> None:
    """What is no name is refused before anything is written."""
    keep = names.parent / "keep.resolv"
    keep.write_text("mine")
    with pytest.raises(ValueError, match="is not a name"):
        launch(["true"], options(names, "../keep"))
    assert keep.read_text() == "mine"


def test_what_fails_leaves_nothing(names: Path) -> None:
    """The files of a kernel that does not boot are removed, and its name is free."""
    with pytest.raises(BootError):
        launch(["true"], options(names, "web"))
    assert [path.name for path in names.iterdir()] == ["image"]


@pytest.mark.parametrize("program", ["./g++x", "[", "a b", "-x", "ö" * 60, "x" * 200])
def test_any_program_has_a_name(program: str) -> None:
    """Names that are made up are taken."""
    register(made(name_for(program)))[0].close()


def test_a_keeper_that_does_not_accept_is_listed() -> None:
    """Nobody who lists kernels waits for it."""
    with stuck("slow"):
        assert [i.name for i in instances()] == ["slow"]


def test_a_keeper_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody who joins waits for ever, whether the backlog is full or not."""
    monkeypatch.setattr(keeper, "TIMEOUT", 1)
    with stuck("slow"), pytest.raises(BootError, match="does not answer"):
        instance.find("slow").join()
    with closing(register(made("silent"))[0]), pytest.raises(BootError, match="does not answer"):
        instance.find("silent").join()


def test_a_directory_that_is_too_long(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Paths of sockets have a limit, of which Linux names neither path nor length."""
    directory = tmp_path / ("d" * 100)
    directory.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    with pytest.raises(ValueError, match=f"{directory}.* is too long for a socket"):
        register(made("web"))


@pytest.mark.kernel
@pytest.mark.once
def test_a_start_copies_no_more_than_it_must(default_image: str, tmp_path: Path) -> None:
    """From a snapshot: no page of zeroes, nor such as the image has, which are mapped."""
    line = [*CLI, "run", "--kernel", default_image, "--net", "none", "--", "cat", "/proc/self/maps"]
    env = {**os.environ, "RUMPEL_CACHE": str(tmp_path)}
    maps = [run(line, env=env, check=True).stdout.splitlines() for _ in range(2)]
    first, second = ([each for each in some if each.endswith(default_image)] for some in maps)
    (snapshot,) = (tmp_path / "snapshots").iterdir()
    pages, image = (
        [data[at : at + 4096] for at in range(0, len(data), 4096)]
        for data in (snapshot.read_bytes(), Path(default_image).read_bytes())
    )
    assert bytes(4096) not in pages
    # Of those that are written to only some are as in the file.
    assert len({*pages} & {*image}) < len(pages) / 20
    assert {each.split()[1] for each in first} == {"r-xp"}
    assert {each.split()[1] for each in second} == {"r-xp", "r--p"}
