# SPDX-License-Identifier: GPL-2.0-only
"""A stage's kernel boots while the program is imported: a guess that may be wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rumpel.cli.nf_start import BOOTED, Start
from rumpel.errors import BootError
from rumpel.nf.packet_stage import PacketStage
from rumpel.nf.stage import _STAGES, find


def test_the_stages_that_have_a_kernel() -> None:
    """All of this package that are no Python code alone, and chains."""
    kernels = {name for name in _STAGES if not issubclass(find(name), PacketStage)}
    assert {"chain", *kernels} == BOOTED
    assert all(module == f"rumpel.nf.stages.{name}" for name, (module, _) in _STAGES.items())


def test_it_imports_little() -> None:
    """What comes before the boot."""
    heavy = {"typing", "re", "contextlib", "enum", "json", "threading", "rumpel.kernel"}
    code = "import sys; before = {*sys.modules}; import rumpel.cli, rumpel.cli.nf_start;"
    code += f"print(*{heavy} & ({{*sys.modules}} - before))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == ""


@pytest.mark.kernel
def test_nothing_is_imported_for_a_stage(default_image: str) -> None:
    """Until packets pass: a start is short because it imports little, and most is Python's own."""
    heavy = {"array", "asyncio", "collections", "contextlib", "ctypes", "dataclasses", "enum"}
    heavy |= {"functools", "importlib", "json", "re", "signal", "struct", "threading", "typing"}
    heavy |= {"warnings", "weakref", "rumpel.devices.shapes", "rumpel.records"}
    # As installed for users: what site-packages of a developer import is not ours.
    package = Path(__file__).parents[2] / "src"
    code = f"import sys; sys.path.insert(0, {str(package)!r}); import rumpel.nf.runner as r\n"
    code += "run = r._Life.run; r._Life.run = lambda self: (print(*sys.modules), run(self))[1]\n"
    code += "import os; os.dup2(2, 1); sys.stdout = sys.stderr\n"
    code += "from rumpel.cli import program; program()"
    command = [sys.executable, "-I", "-S", "-c", code, "nf", "route", "--image", default_image]
    shown = subprocess.run(command, input=b"", capture_output=True, check=False, timeout=60)
    assert shown.returncode == 0, shown.stderr
    imported = set(shown.stderr.decode().split())
    assert "rumpel.nf.work" in imported
    assert not imported & heavy


@pytest.mark.kernel
@pytest.mark.parametrize("words", [["nat"], ["filter", "ip saddr 192.0.2.1 drop"]])
def test_rules_import_little(words: list[str], default_image: str) -> None:
    """What nft is run with has to be imported before the first packet passes."""
    heavy = {"dataclasses", "inspect", "pathlib", "pyroute2", "shutil", "tempfile"}
    code = "import sys; from rumpel.cli import program\ntry: program()\n"
    code += f"finally: print(*{heavy} & {{*sys.modules}}, file=sys.stderr)"
    command = [sys.executable, "-c", code, "nf", *words, "--image", default_image]
    shown = subprocess.run(command, input=b"", capture_output=True, check=False, timeout=60)
    assert (shown.stderr.split(), shown.returncode) == ([], 0)


@pytest.mark.kernel
def test_it_is_taken_once(default_image: str) -> None:
    """By who wants this one."""
    start = Start(["route", "--image", default_image, "--format=pcap"])
    assert start.take({}) is None
    kernel = start.take({"image": default_image})
    assert kernel is not None
    with kernel as k:
        assert k.os.getpid() == 1
    assert start.take({"image": default_image}) is None
    start.close()


@pytest.mark.kernel
@pytest.mark.parametrize(
    "words", [[], ["mangle"], ["own-stage"], ["route", "--help"], ["chain", "--fuse", "ping x"]]
)
def test_nothing_is_booted(words: list[str], default_image: str) -> None:
    """Where no kernel will be wanted, or several."""
    start = Start([*words, "--image", default_image])
    assert start.take({"image": default_image}) is None


@pytest.mark.kernel
def test_what_nobody_takes_is_closed(default_image: str) -> None:
    """With the last word."""
    start = Start(["nat", f"--image={default_image}"])
    native = start._native
    assert native is not None
    assert native.state == "running"
    start.close()
    assert native.state != "running"
    assert start.take({"image": default_image}) is None


def test_an_error_is_told_when_it_is_wanted(tmp_path: Path) -> None:
    """Not before it is known that the line is right."""
    missing = str(tmp_path / "none.so")
    start = Start(["route", "--image", missing])
    assert start.take({"image": "another"}) is None
    with pytest.raises(BootError, match=r"none\.so"):
        start.take({"image": missing})
