# SPDX-License-Identifier: GPL-2.0-only
"""Run make on a composed tree, count objects, and read its failures."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import IO

from rumpel.build import toolchain
from rumpel.build.layout import disk_full
from rumpel.build.progress import Progress
from rumpel.build.tree import ARCH, walk
from rumpel.errors import BuildError

_OBJECT = re.compile(r"^\s+(?:CC|AS)\s+(\S+)")
_WOULD = re.compile(r"(?:^|['\"# ])\s*(?:CC|AS)  +(\S+\.o)\b")
_ERROR = re.compile(
    r"error:|Error:|undefined reference|multiple definition|No rule to make target|not clean|"
    r"No space left|ERROR:|^ld: |internal compiler error|Killed"
)


class Make:
    """make for one build directory, with its log."""

    def __init__(self, home: Path, jobs: int | None = None) -> None:
        self.home = home
        self.tree = home / "tree"
        self.objects = home / "obj"
        self.log = home / "build.log"
        self._jobs = jobs or len(os.sched_getaffinity(0))

    def command(self, *targets: str) -> list[str]:
        """The command line for some targets."""
        cc = f"ccache {toolchain.CC}"
        return [
            "make",
            "-C",
            str(self.tree),
            f"O={self.objects}",
            f"ARCH={ARCH}",
            f"CC={cc}",
            f"HOSTCC={cc}",
            "KBUILD_VERBOSE=0",
            f"-j{self._jobs}",
            *targets,
        ]

    def run(self, *targets: str) -> None:
        """Make targets.

        Raises:
            BuildError: with the first lines that say what is wrong.
        """
        for _ in self._run(*targets):
            pass

    def compile(self, target: str, step: str, progress: Progress) -> None:
        """Make a target of many objects, and tell how many of them are up to date.

        A dry run tells the objects. It takes all of them for out of date, since
        it cannot know that headers made anew come out the same, so those that
        are newer than all that they may depend on are taken as done, until make
        compiles them.
        """
        objects = self._dry_run(target)
        left = objects - {name for name in objects if self._is_fresh(self.objects / name)}
        progress.start(step, len(objects) or None)
        done = len(objects) - len(left)
        progress.update(done)
        for line in self._run(target):
            found = _OBJECT.match(line)
            if found:
                if found[1] in left or found[1] not in objects:
                    done += 1
                progress.update(done, found[1])
        progress.update(max(done, len(objects)))

    def _is_fresh(self, file: Path) -> bool:
        with contextlib.suppress(OSError):
            return file.stat().st_mtime_ns > self._newest_input
        return False

    @cached_property
    def _newest_input(self) -> int:
        """When the port or the configuration changed last."""
        port = self.tree / "arch" / ARCH
        inputs = [entry.stat().st_mtime_ns for _, entry in walk(port)]
        config = self.objects / "include/generated/autoconf.h"
        if config.exists():
            inputs.append(config.stat().st_mtime_ns)
        return max(inputs, default=0)

    def _run(self, *targets: str) -> Iterator[str]:
        """Make targets, writing the log; the lines as they come."""
        with open(self.log, "a", errors="replace") as log:
            start = log.tell()
            with self._popen(*targets) as make:
                for line in _lines(make):
                    log.write(line)
                    yield line
        if make.returncode:
            with open(self.log, errors="replace") as log:
                log.seek(start)
                raise self._failure(log.read())

    def _dry_run(self, target: str) -> set[str]:
        """The objects that make would compile if none were there."""
        with self._popen("--dry-run", "--keep-going", target) as make:
            return {found[1] for line in _lines(make) for found in _WOULD.finditer(line)}

    @contextlib.contextmanager
    def _popen(self, *targets: str) -> Iterator[subprocess.Popen[str]]:
        make = subprocess.Popen(
            self.command(*targets),
            env=toolchain.environment(self.home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            yield make
            make.wait()
        except BaseException:
            _end(make)
            raise
        finally:
            if make.stdout:
                make.stdout.close()

    def _failure(self, text: str) -> BuildError:
        if "No space left on device" in text:
            return disk_full(self.home)
        package = toolchain.missing_header(text)
        if package:
            return BuildError(
                f"a header is not installed; to install: sudo apt-get install {package}"
            )
        lines = [x.rstrip() for x in text.splitlines() if _ERROR.search(x)]
        lines = lines or [x for x in text.splitlines() if "***" in x] or text.splitlines()[-5:]
        return BuildError("\n".join(["the kernel did not build:", *lines[:5], f"log: {self.log}"]))


def _end(make: subprocess.Popen[str]) -> None:
    """End make and all that it started, so that nothing writes objects after us."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(make.pid, signal.SIGTERM)
        make.wait()
        for _ in range(100):
            os.killpg(make.pid, 0)
            time.sleep(0.05)
        os.killpg(make.pid, signal.SIGKILL)
    make.wait()


def _lines(make: subprocess.Popen[str]) -> IO[str]:
    assert make.stdout is not None
    return make.stdout
