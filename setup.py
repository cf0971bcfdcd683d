# SPDX-License-Identifier: GPL-2.0-only
"""The C extension and the data files; all else is in pyproject.toml."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
NOT_OURS = {"tests", "fuzz", "intercept", "bare", "shared"}
"""Directories of runtime/ that are not part of the library."""

AGENT, SHARED = "runtime/intercept/agent", "runtime/shared"

DATA = ["kernel/arch/rumpel", "kernel/configs", "kernel/versions.toml", "include/rumpel"]

IMAGES = os.environ.get("RUMPEL_WHEEL_IMAGES", "6.12:default 6.12:tiny").split()
"""Kernels that a wheel holds. They are built if the cache has none, which takes minutes."""


def sources() -> list[str]:
    """The binding and the runtime, which is linked into it."""
    binding = (ROOT / "src/rumpel/_native").glob("*.c")
    runtime = (
        p
        for kind in ("*.c", "*.S")
        for p in (ROOT / "runtime").rglob(kind)
        if not NOT_OURS & set(p.relative_to(ROOT / "runtime").parts)
    )
    return sorted(str(p.relative_to(ROOT)) for p in (*binding, *runtime))


def headers() -> list[str]:
    """What the objects depend on besides their sources."""
    found = [
        p for d in ("include", "runtime", "src/rumpel/_native") for p in (ROOT / d).rglob("*.h")
    ]
    return sorted(str(p.relative_to(ROOT)) for p in found)


def extensions() -> list[Extension]:
    """The extension, once it has a binding, and what programs are given to load."""
    binding = (ROOT / "src/rumpel/_native").glob("*.c")
    if not any("PyInit__native" in file.read_text() for file in binding):
        return []
    return [
        Extension(
            "rumpel._native",
            sources(),
            depends=headers(),
            include_dirs=["include", "runtime"],
            extra_compile_args=[
                "-O2",
                "-g",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-std=gnu11",
                "-fvisibility=hidden",
            ],
        ),
        # No module: it is preloaded into programs of the host, see rumpel.net.relay.
        Extension(
            "rumpel.net._preload",
            ["runtime/intercept/netlink.c"],
            extra_compile_args=[
                "-D_GNU_SOURCE",
                "-O2",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-std=gnu11",
                "-fvisibility=hidden",
            ],
        ),
    ]


class BuildExt(build_ext):
    """Lets the compiler take assembly too, and makes the agent."""

    def build_extensions(self) -> None:
        """Build as usual, with one more kind of source."""
        self.compiler.src_extensions = [*self.compiler.src_extensions, ".S"]
        super().build_extensions()
        self.build_program(AGENT, "OUT", "rumpel-agent")
        self.build_program(SHARED, "BUILD", "rumpel-shared")

    def build_program(self, directory: str, variable: str, name: str) -> None:
        """Make a program of rumpel.run's, which is no extension at all."""
        out = Path(self.build_temp).resolve() / name
        package = ROOT / "src" if self.inplace or self.editable_mode else Path(self.build_lib)
        make = ["make", "-s", "-C", str(ROOT / directory), f"{variable}={out}"]
        subprocess.run(make, check=True)
        into = package / "rumpel/run"
        into.mkdir(parents=True, exist_ok=True)
        # A new file: the old one may be running.
        shutil.copy(out / name, into / f"{name}.new")
        (into / f"{name}.new").replace(into / name)


class BuildPy(build_py):
    """Puts the port and the profiles into the package, so that it can build kernels."""

    def run(self) -> None:
        """Copy the package, then the data."""
        super().run()
        if self.editable_mode:
            return
        into = Path(self.build_lib) / "rumpel/_data"
        for name in DATA:
            origin, copy = ROOT / name, into / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if origin.is_dir():
                shutil.copytree(origin, copy, dirs_exist_ok=True)
            elif origin.exists():
                shutil.copyfile(origin, copy)
        self.add_images()

    def add_images(self) -> None:
        """Put the kernels into the package: who installs it needs no compiler."""
        sys.path.insert(0, str(ROOT / "src"))
        from rumpel.build import ensure_image
        from rumpel.build.progress import Lines

        for name in IMAGES:
            version, _, profile = name.partition(":")
            image = ensure_image(version, profile, progress=Lines(sys.stderr))
            into = Path(self.build_lib) / "rumpel/_images" / f"{version}-{profile}"
            into.mkdir(parents=True, exist_ok=True)
            for file in ("rumpel.so", "image.json"):
                shutil.copyfile(image.path.parent / file, into / file)


setup(ext_modules=extensions(), cmdclass={"build_py": BuildPy, "build_ext": BuildExt})
