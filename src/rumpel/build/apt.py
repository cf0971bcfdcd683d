# SPDX-License-Identifier: GPL-2.0-only
"""Fetch Debian packages without touching the system's package sources.

apt runs with lists, caches and sources of its own inside our cache, so it
works for any user and leaves no trace outside. The mirror and the keyring are
the system's.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rumpel.build.layout import disk_full, make_dir
from rumpel.errors import BuildError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DEFAULT_MIRROR = "http://deb.debian.org/debian"


@dataclass(frozen=True)
class Package:
    """A package as a mirror offers it."""

    name: str
    version: str


def mirror(etc: Path = Path("/etc/apt")) -> str:
    """The Debian mirror that the system is configured for, or the default one."""
    files = [etc / "sources.list", *sorted(etc.glob("sources.list.d/*.list"))]
    files += sorted(etc.glob("sources.list.d/*.sources"))
    for file in files:
        if not file.is_file():
            continue
        for line in file.read_text(errors="replace").splitlines():
            if line.startswith(("deb ", "URIs:")):
                found = re.search(r"https?://\S+/debian/?(?=\s|$)", line)
                if found:
                    return found.group().rstrip("/")
    return DEFAULT_MIRROR


def source_lines(base: str, suites: tuple[str, ...]) -> str:
    """The sources.list for these suites; security suites have an archive of their own."""
    lines = []
    for suite in suites:
        uri = base + "-security" if suite.endswith("-security") else base
        lines.append(f"deb [signed-by={KEYRING}] {uri} {suite} main\n")
    return "".join(lines)


class PrivateApt:
    """apt-get with directories of its own below ``home``."""

    def __init__(self, home: Path, suites: tuple[str, ...]) -> None:
        if not shutil.which("apt-get") or not KEYRING.exists():
            raise BuildError(
                "fetching a kernel source needs apt and Debian's keyring "
                "(apt-get install debian-archive-keyring); without them, use --source"
            )
        self._home = home / ("apt-" + "-".join(suites))
        make_dir(self._home / "state/lists/partial")
        make_dir(self._home / "cache/archives/partial")
        sources = self._home / "sources.list"
        sources.write_text(source_lines(mirror(), suites))
        settings = {
            "Dir::State": self._home / "state",
            "Dir::State::status": "/dev/null",
            "Dir::Cache": self._home / "cache",
            "Dir::Etc::sourcelist": sources,
            "Dir::Etc::sourceparts": "-",
            "Dir::Etc::preferences": "-",
            "Dir::Etc::preferencesparts": "-",
            "Dir::Log": self._home,
            "APT::Sandbox::User": "",
            "APT::Update::Post-Invoke": "",
            "Acquire::Languages": "none",
            "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled": "false",
            "Acquire::Retries": "3",
        }
        self._options = [x for k, v in settings.items() for x in ("-o", f"{k}={v}")]
        # Scripts that a desktop hangs on updates are not for our private lists.
        conf = self._home / "apt.conf"
        conf.write_text(
            "#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n"
        )
        self._options += ["-c", str(conf)]

    def _run(self, *args: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            [args[0], *self._options, *args[1:]],
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"} | _proxies(),
        )
        if done.returncode:
            lines = [x for x in done.stderr.splitlines() if x.startswith("E:")] or [done.stderr]
            if "No space left" in done.stderr or "enough free space" in done.stderr:
                raise disk_full(self._home)
            raise BuildError(f"{' '.join(args)} failed: {lines[0].strip()}")
        return done.stdout

    def update(self) -> None:
        """Fetch the lists of the suites."""
        self._run("apt-get", "update", "-q")

    def candidate(self, name: str) -> Package | None:
        """The newest version of a package in the suites, if there is one."""
        shown = self._run("apt-cache", "madison", name)
        rows = [[x.strip() for x in row.split("|")] for row in shown.splitlines()]
        return Package(rows[0][0], rows[0][1]) if rows and len(rows[0]) >= 2 else None

    def newest(self) -> Package | None:
        """The newest ``linux-source-N.M`` in the suites."""
        shown = self._run("apt-cache", "pkgnames", "linux-source-")
        found = [
            (int(m[1]), int(m[2]), m[0])
            for m in (re.fullmatch(r"linux-source-(\d+)\.(\d+)", x) for x in shown.split())
            if m
        ]
        return self.candidate(max(found)[2]) if found else None

    def download(self, package: Package, into: Path) -> Path:
        """Fetch a package; apt checks its hash against the signed lists."""
        make_dir(into)
        self._run("apt-get", "download", f"{package.name}={package.version}", cwd=into)
        found = sorted(into.glob(f"{package.name}_*.deb"), key=lambda p: p.stat().st_mtime_ns)
        if not found:
            raise BuildError(f"apt fetched no file for {package.name}")
        return found[-1]


def _proxies() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k.lower().endswith("_proxy") or k == "HOME"}
