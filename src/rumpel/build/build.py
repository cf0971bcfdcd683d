# SPDX-License-Identifier: GPL-2.0-only
"""The steps from a source tree to an image in the cache."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterable
from hashlib import file_digest, sha256
from pathlib import Path

from rumpel.build import config, toolchain, tree
from rumpel.build.compare import differs
from rumpel.build.compile import Make
from rumpel.build.image import IMAGE, Image, judge, key_of, load, port_hash, publish
from rumpel.build.kconfig import Kconfig
from rumpel.build.layout import Layout, disk_full, make_dir
from rumpel.build.lock import locked
from rumpel.build.memo import write_atomic
from rumpel.build.pin import Source
from rumpel.build.progress import Progress
from rumpel.build.source import own, packaged
from rumpel.build.types import TYPES, compile_types
from rumpel.errors import BuildError, ConfigError


def build(
    layout: Layout,
    version: str,
    profile: str,
    options: Iterable[str],
    source: str | Path | None,
    progress: Progress | None,
    refresh: bool,
    jobs: int | None,
) -> Image:
    """Build an image that :func:`rumpel.build.ensure_image` did not find."""
    progress = progress or Progress()
    wanted, extra = config.profile_options(layout, profile), config.user_options(options)
    toolchain.check()
    make_dir(layout.cache)
    try:
        if source is None:
            found = packaged(layout, version, progress, refresh)
        else:
            found = own(layout, Path(source), progress)
        name = _build_name(found, profile, extra)
        with locked(layout.builds / f"{name}.lock", name, progress):
            return _build(layout, found, profile, wanted, extra, progress, jobs, name)
    except OSError as e:
        if e.errno == errno.ENOSPC:
            raise disk_full(layout.cache) from e
        raise
    finally:
        progress.stop()


def _build_name(source: Source, profile: str, extra: dict[str, str]) -> str:
    """The build directory's name: the same for all that can share objects."""
    rest = sha256(f"{source.tree}\0{sorted(extra.items())}".encode()).hexdigest()[:8]
    return f"{source.version}-{profile}-{rest}"


def _build(
    layout: Layout,
    source: Source,
    profile: str,
    wanted: dict[str, str],
    extra: dict[str, str],
    progress: Progress,
    jobs: int | None,
    name: str,
) -> Image:
    port, cc = port_hash(layout), toolchain.compiler(layout) or ""
    key = key_of(source.identity, port, wanted, extra, cc)
    ready = load(layout.images / key)
    if ready is not None:
        return ready if ready.modified is not None else judge(ready, differs(layout, source))
    home = make_dir(layout.builds / name)
    make = Make(home, jobs)
    make.log.unlink(missing_ok=True)
    make_dir(make.objects)
    tree.compose(layout, source.tree, home)
    progress.start(f"configure {source.version} {profile}")
    warnings = _configure(make, wanted, extra)
    _warn(progress, warnings)
    make.run("prepare")
    make.compile("vmlinux", f"build {source.version} {profile}", progress)
    progress.start("keep the image")
    stripped = home / IMAGE
    _strip(make.objects / "vmlinux", stripped)
    compile_types(make.objects, home / TYPES)
    with open(stripped, "rb") as f:
        digest = file_digest(f, "sha256").hexdigest()
    image = Image(
        path=stripped,
        vmlinux=make.objects / "vmlinux",
        version=source.version,
        release=source.release(),
        profile=profile,
        options=extra,
        source=source.identity,
        modified=differs(layout, source),
        port=port,
        compiler=cc,
        size=stripped.stat().st_size,
        sha256=digest,
        key=key,
        tree=home / "tree",
        tarball=str(source.tarball or ""),
        tarball_sha256=source.tarball_sha256,
        manifest=tree.manifest(source.tree),
        warnings=warnings,
    )
    kept = {
        "vmlinux": make.objects / "vmlinux",
        "config": make.objects / ".config",
        TYPES: home / TYPES,
    }
    return publish(layout, image, kept)


def _configure(make: Make, wanted: dict[str, str], extra: dict[str, str]) -> list[str]:
    """Write the configuration; return what of the profile was lost."""
    asked = config.render({**wanted, **extra})
    file, done = make.home / "all.config", make.objects / ".config"
    same = file.exists() and file.read_text() == asked
    if not (same and done.exists()):
        file.unlink(missing_ok=True)
        fresh = make.home / "new.config"
        fresh.write_text(asked)
        make.run("allnoconfig", f"KCONFIG_ALLCONFIG={fresh}")
        write_atomic(file, asked)
    got = config.parse(done.read_text())
    refused = config.lost(extra, got)
    kconfig = Kconfig(make.tree)
    if refused:
        file.unlink(missing_ok=True)
        raise ConfigError("; ".join(config.explain(kconfig, x, extra[x], got) for x in refused))
    missing = [x for x in config.lost(wanted, got) if x not in extra]
    return [config.explain(kconfig, x, wanted[x], got) for x in missing]


def _warn(progress: Progress, warnings: list[str]) -> None:
    """Tell what was lost; options that the version does not have share one line."""
    unknown = [x.partition("=")[0] for x in warnings if x.endswith(config.UNKNOWN)]
    for warning in warnings:
        if not warning.endswith(config.UNKNOWN):
            progress.note(f"warning: {warning}")
    if unknown:
        progress.note(f"warning: {config.UNKNOWN}: {' '.join(unknown)}")


def _strip(vmlinux: Path, image: Path) -> None:
    """Drop all that is not loaded; the dynamic symbol table stays."""
    done = subprocess.run(
        ["objcopy", "--strip-all", "--remove-section=.comment", str(vmlinux), str(image)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildError(f"objcopy failed: {done.stderr.strip()}")
