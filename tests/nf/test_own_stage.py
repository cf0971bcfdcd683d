# SPDX-License-Identifier: GPL-2.0-only
"""A stage of another package, as the guide shows one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rumpel.nf import StageError, find
from tests.nf.tools import RUMPEL, echo_request, install, line, nf, shell

pytestmark = [pytest.mark.kernel, pytest.mark.once]

GUIDE = Path(__file__).parents[2] / "docs" / "chains.md"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Where a package with the guide's stage is installed, and two that are none."""
    example = re.search(
        r"```python\n(>>> from rumpel.nf import Option, Stage\n.*?)```", GUIDE.read_text(), re.S
    )
    assert example is not None
    code = "".join(x[4:] + "\n" for x in example[1].splitlines() if x)
    assert code.count("\n") <= 20
    code += "import click\nclass Clicks(Stage):\n    params = [click.Argument(['word'])]\n"
    return install(
        tmp_path,
        code,
        "quota = my_package:Quota",
        "broken = my_package:nothing",
        "number = math:pi",
        "clicks = my_package:Clicks",
    )


def test_the_guides_stage(default_image: str, environment: dict[str, str]) -> None:
    """It is a command with its options and help, and a part of a chain."""
    text = "".join(line(echo_request("10.0.0.2", n)) for n in range(1, 6))
    done = shell(nf(default_image, "quota --packets 3"), input=text, env=environment)
    assert done.returncode == 0, done.stderr
    assert [x.rpartition(" ")[2] for x in done.stdout.splitlines()] == ["1", "2", "3"]
    help = shell(nf(default_image, "quota --help"), env=environment).stdout
    assert "Let some packets pass, and then none." in help
    assert "--packets" in help
    words = [sys.executable, "-c", "from rumpel.cli import main; main()", "nf"]
    listed = subprocess.run([*words, "--help"], capture_output=True, text=True, env=environment)
    assert re.search(r"quota +Let some packets pass", listed.stdout)
    chain = "ping -c 1 -W 20 10.0.0.2 | quota --packets 50 | host 10.0.0.2"
    words += ["chain", "--fuse", "--image", default_image, chain]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert "1 sent, 1 answered" in done.stderr


@pytest.mark.parametrize("name", ["broken", "number", "clicks"])
def test_what_is_no_stage(default_image: str, environment: dict[str, str], name: str) -> None:
    """An entry point that leads nowhere, or to something else, is one line."""
    done = shell(nf(default_image, name), env=environment)
    assert done.returncode == 2
    assert f"the stage '{name}'" in done.stderr
    assert ("rumpel.nf.Option" in done.stderr) == (name == "clicks")
    assert done.stderr.count("\n") == 1
    # The others are as ever.
    assert "bridge" in shell(f"{RUMPEL} nf --help", env=environment).stdout


def test_a_stage_that_is_not_there() -> None:
    """The nearest names are suggested."""
    with pytest.raises(StageError, match="do you mean tunnel"):
        find("tunel")
