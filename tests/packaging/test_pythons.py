# SPDX-License-Identifier: GPL-2.0-only
"""Wheels for the other versions of Python that are supported, as far as they are here."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.packaging.test_wheel import ROOT, compiler, tracked

SUPPORTED = ("3.11", "3.12", "3.13")
OTHERS = [v for v in SUPPORTED if v != "{}.{}".format(*sys.version_info)]

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        os.environ.get("RUMPEL_TEST_VERSION", "6.12") != "6.12",
        reason="the wheel holds kernels of 6.12, and was tested with them",
    ),
    pytest.mark.timeout(900),  # two builds, perhaps beside others
]

WHEEL = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
PROGRAM = """
import asyncio, os, pathlib, sys
import rumpel

with rumpel.boot() as k:
    # Paths, of which each version of Python has its own.
    k.os.makedirs("/a/b")
    k.os.symlink("/a/b", "/tmp/link")
    link = k.Path("/tmp/link")
    assert str(link.resolve()) == "/a/b"
    assert k.Path("/proc").is_mount() and not k.Path("/a").is_mount()
    assert str(k.Path("~").expanduser()) == str(k.Path.home()) == k.os.environ["HOME"]
    (k.Path("/a") / "file").write_text("text")
    assert [p.name for p in sorted(k.Path("/a").iterdir())] == ["b", "file"]
    assert [str(p) for p in k.Path("/").glob("a/f*")] == ["/a/file"]
    assert k.Path("/a") == pathlib.PurePosixPath("/a") != link
    for function in (open, os.stat):
        try:
            function(link)
        except TypeError:
            continue
        raise AssertionError(f"{function} took a kernel's path for the host's")
    with k.open("/a/file", encoding="utf-8") as file:
        assert file.read() == "text"
    with k.tempfile.TemporaryDirectory() as name:
        k.shutil.copy("/a/file", name)

    # Sockets.
    server = k.socket.create_server(("127.0.0.1", 0))
    client = k.socket.create_connection(server.getsockname(), timeout=20)
    peer, _ = server.accept()
    with server, client, peer, client.makefile("rb") as lines:
        peer.sendall(b"line\\n")
        assert lines.readline() == b"line\\n"

    # An event loop.
    async def echo(reader, writer):
        writer.write(await reader.readline())
        writer.close()
        await writer.wait_closed()

    async def main():
        server = await asyncio.start_server(echo, "127.0.0.1", 80)
        reader, writer = await asyncio.open_connection("127.0.0.1", 80)
        writer.write(b"hello\\n")
        assert await asyncio.wait_for(reader.read(), 20) == b"hello\\n"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        r, w = k.os.pipe()
        reading = asyncio.ensure_future(k.aio.os.read(r, 9))
        await asyncio.sleep(0)
        k.os.write(w, b"piped")
        assert await reading == b"piped"

    k.aio.run(main())

with rumpel.boot(clock=rumpel.VirtualClock()) as k:
    k.aio.run(asyncio.sleep(3600))

print("{}.{}".format(*sys.version_info), "good")
"""


def interpreter(version: str) -> Path | None:
    """One of this version that has what an extension is compiled with."""
    names = [shutil.which(f"python{version}")]
    names += map(
        str, sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python"))
    )
    ask = "import sysconfig; print(sysconfig.get_path('include') + '/Python.h')"
    for name in names:
        if name is None:
            continue
        run = subprocess.run([name, "-I", "-c", ask], capture_output=True, text=True)
        if run.returncode == 0 and Path(run.stdout.strip()).exists():
            return Path(name)
    return None


@pytest.mark.parametrize("version", OTHERS)
def test_another_python(version: str, tmp_path: Path) -> None:
    """Its wheel is built, and paths, sockets and event loops work on what is in it."""
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} with headers here")
    tree, tools, installed = (tmp_path / name for name in ("tree", "tools", "installed"))
    for name in tracked():
        if not name.startswith(("tests/", "docs/")):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    # setuptools is Python alone: that of the test's own environment does.
    tools.mkdir()
    for name in ("setuptools", "_distutils_hack", "pkg_resources"):
        found = importlib.util.find_spec(name)
        if found is not None and found.submodule_search_locations:
            (tools / name).symlink_to(found.submodule_search_locations[0])
            for about in Path(found.submodule_search_locations[0]).parent.glob(f"{name}-*-info"):
                (tools / about.name).symlink_to(about)  # it finds its commands there
    environment = {
        **os.environ,
        **compiler(tmp_path),
        "PYTHONPATH": str(tools),
        "RUMPEL_WHEEL_IMAGES": "6.12:default",
    }
    run = subprocess.run(
        [python, "-c", WHEEL, tmp_path],
        cwd=tree,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        timeout=800,
    )
    assert run.returncode == 0, run.stdout[-4000:]
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    run = subprocess.run(
        [python, "-W", "error", "-c", PROGRAM],
        env={"PYTHONPATH": str(installed), "HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (run.returncode, run.stdout) == (0, f"{version} good\n"), run.stderr
