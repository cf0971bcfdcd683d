# SPDX-License-Identifier: GPL-2.0-only
"""The examples in the help of ``rumpel nf``: they do what they are for."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from rumpel.cli.nf import _CHAIN_HELP, _HELP
from rumpel.nf.stage import find, names
from tests.nf.tools import nf, shell

pytestmark = [pytest.mark.kernel, pytest.mark.once]

_ELSEWHERE = re.compile(r"\b(eth1|tap0|mkfifo|user)\b|--port|--run")
"""What these need is not everywhere, and tested where it is."""
_MAY_FAIL = re.compile(r"grep -v|--loss")
"""Not all requests are answered there, which is what ping's status says."""


def examples() -> list[str]:
    """All lines."""
    texts = [_HELP, _CHAIN_HELP, *(inspect.getdoc(find(name)) or "" for name in names())]
    lines = [
        line.strip()
        for text in texts
        for line in text.partition("\nExample")[2].splitlines()
        if line.startswith("  rumpel nf ")
    ]
    return [line for line in dict.fromkeys(lines) if not _ELSEWHERE.search(line)]


@pytest.mark.parametrize("line", examples())
def test_it_works(line: str, default_image: str, tmp_path: Path) -> None:
    """Nothing is wrong with it, and what comes last says something."""
    shell(f"{nf(default_image, 'ping -c 1 10.0.0.2 --format pcap')} > {tmp_path}/trace.pcap")
    for name in ("other.pcap", "query"):
        (tmp_path / name).write_bytes((tmp_path / "trace.pcap").read_bytes())
    command = re.sub(r"rumpel nf (\w+)", lambda found: nf(default_image, found.group(1)), line)
    done = shell(f"cd {tmp_path}; {command}", input="" if "<" not in line else None)
    said = done.stdout + done.stderr
    assert done.returncode == 0 or _MAY_FAIL.search(line), said
    assert "rumpel: " not in said
    assert "unknown file format" not in said
