# SPDX-License-Identifier: GPL-2.0-only
"""A kernel tree in miniature: the same targets and output as kbuild's, in a second.

``allnoconfig`` takes the options it is given but for those in ``refuse``;
``vmlinux`` compiles ``init/*.c`` and links them as a shared object.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from rumpel.build import Layout, Progress

MAKEFILE = r"""VERSION = 6
PATCHLEVEL = 12
SUBLEVEL = 99
O ?= .
SRC := $(dir $(abspath $(firstword $(MAKEFILE_LIST))))
SRCS := $(notdir $(wildcard $(SRC)init/*.c))
OBJS := $(SRCS:%.c=init/%.o)
REFUSE := $(shell cat $(SRC)refuse 2>/dev/null)

ifneq ($(CURDIR),$(abspath $(O)))
.PHONY: allnoconfig prepare vmlinux
allnoconfig prepare vmlinux:
	@$(MAKE) --no-print-directory -C $(O) -f $(SRC)Makefile O=$(abspath $(O)) $@
else
allnoconfig:
	@test -f $(SRC)arch/rumpel/Kconfig
	@grep -v -F -x "$(REFUSE)" $(KCONFIG_ALLCONFIG) > .config
prepare:
	@test -f .config
init/%.o: $(SRC)init/%.c .config
	@mkdir -p init; echo '  CC      $@'; $(CC) -fPIC -c -o $@ $<
vmlinux: $(OBJS)
	@echo 'savedcmd_init/init_task.o := $(CC) -c -o init/init_task.o $(SRC)init/f0.c' \
		>init/.init_task.o.cmd
	@echo '  LD      vmlinux'; gcc -shared -nostdlib -o $@ $(OBJS)
endif
"""


class Log(Progress):
    """Keeps all that it is told."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int | None]] = []
        self.updates: list[tuple[int, str]] = []
        self.notes: list[str] = []

    def start(self, step: str, total: int | None = None) -> None:
        self.steps.append((step, total))

    def update(self, done: int, what: str = "") -> None:
        self.updates.append((done, what))

    def note(self, text: str) -> None:
        self.notes.append(text)


def tree(at: Path, objects: int = 3) -> Path:
    """Make a tree that compiles so many objects."""
    for name in ("arch/x86", "init", "fs"):
        (at / name).mkdir(parents=True)
    (at / "Makefile").write_text(MAKEFILE)
    (at / "arch/x86/Kconfig").write_text("# x86\n")
    (at / "fs/Kconfig").write_text(
        'config FAT\n\tbool "FAT"\n\tdepends on BLOCK && NLS\n\nconfig EXT4\n\tbool "ext4"\n'
    )
    os.symlink(".././arch/x86/Kconfig", at / "fs/link")  # noqa: PTH211, kept untidy
    for n in range(objects):
        (at / f"init/f{n}.c").write_text(f"int f{n}(void) {{ return {n}; }}\n")
    return at


def layout(home: Path) -> Layout:
    """A checkout, a cache and a system's sources, all below one directory."""
    data = home / "checkout"
    port = data / "kernel/arch/rumpel"
    port.mkdir(parents=True)
    (port / "Kconfig").write_text("# port\n")
    (port / "entry.c").write_text("/* port */\n")
    header = data / "include/rumpel"
    header.mkdir(parents=True)
    (header / "host_ops.h").write_text("/* host_ops */\n")
    fragments = data / "kernel/configs/fragments"
    fragments.mkdir(parents=True)
    (fragments / "net.config").write_text("CONFIG_NET=y\nCONFIG_INET=y\n")
    (data / "kernel/configs/default.config").write_text("# include net.config\nCONFIG_EXT4=y\n")
    (data / "kernel/configs/tiny.config").write_text("CONFIG_NET=y\n")
    (data / "kernel/versions.toml").write_text(
        '[versions."6.12"]\npackage = "linux-source-6.12"\nsuites = ["none"]\n'
    )
    return Layout(
        data=data, cache=home / "cache", packaged=home / "none", system_sources=home / "src"
    )


def package(at: Layout, objects: int = 3) -> Path:
    """Install a source package, as the tarball of a fake tree."""
    top = at.system_sources / "linux-source-6.12"
    tree(top, objects)
    tarball = at.system_sources / "linux-source-6.12.tar.xz"
    subprocess.run(
        ["tar", "-cJf", str(tarball), "-C", str(at.system_sources), top.name], check=True
    )
    subprocess.run(["rm", "-r", str(top)], check=True)
    return tarball


def path_without(tools: set[str], into: Path) -> str:
    """A PATH that has this one's programs but for some."""
    into.mkdir()
    for directory in os.environ["PATH"].split(":"):
        if Path(directory).is_dir():
            for entry in os.scandir(directory):
                link = into / entry.name
                if entry.name not in tools and not link.is_symlink():
                    link.symlink_to(entry.path)
    return str(into)
