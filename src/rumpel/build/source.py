# SPDX-License-Identifier: GPL-2.0-only
"""From a version or a user's argument to a kernel tree with an identity."""

from __future__ import annotations

import json
import lzma
import os
import shutil
import subprocess
from dataclasses import asdict
from hashlib import file_digest, sha256
from pathlib import Path

from rumpel.build.apt import PrivateApt
from rumpel.build.layout import Layout, disk_full, make_dir, unwritable
from rumpel.build.lock import locked
from rumpel.build.memo import fingerprint, remember, write_atomic
from rumpel.build.pin import Source, makefile_release, pinned
from rumpel.build.progress import Progress
from rumpel.build.tree import manifest
from rumpel.build.versions import Version, version
from rumpel.errors import BuildError


def packaged(layout: Layout, name: str, progress: Progress, refresh: bool = False) -> Source:
    """The source of a supported version, fetched and extracted if need be."""
    known = version(layout, name)
    with locked(layout.sources / f"{name}.lock", f"the source of {name}", progress):
        kept = pinned(layout, name)
        if kept is not None and not refresh and (kept.tree / "Makefile").exists():
            return kept
        source = _obtain(layout, known, progress, refresh)
        row = {k: str(v) for k, v in asdict(source).items()}
        try:
            write_atomic(layout.sources / f"{name}.json", json.dumps(row, indent=2) + "\n")
        except OSError as e:
            raise unwritable(layout.sources, e) from e
        return source


def _obtain(layout: Layout, known: Version, progress: Progress, refresh: bool) -> Source:
    system = layout.system_sources / f"{known.package}.tar.xz"
    if system.exists() and not refresh:
        found = extract(layout, system, progress)
        return Source(known.name, found.identity, found.tree, system, found.tarball_sha256)
    progress.start(f"fetch {known.package}")
    apt = PrivateApt(layout.sources, known.suites)
    apt.update()
    package = apt.candidate(known.package)
    name = known.name
    if package is None and known.newest:
        package = apt.newest()
        if package is not None:
            name = package.name.removeprefix("linux-source-")
            progress.note(f"{known.package} is no longer in Debian; taking {package.name}")
    if package is None:
        raise BuildError(f"{known.package} is not in Debian {', '.join(known.suites)}")
    home = layout.sources / f"{package.name}_{package.version.replace(':', '_')}"
    tarball = home / f"{package.name}.tar.xz"
    if not tarball.exists():
        deb = apt.download(package, make_dir(home))
        _unpack_deb(deb, tarball)
        deb.unlink()
    found = extract(layout, tarball, progress)
    return Source(name, found.identity, found.tree, tarball, found.tarball_sha256)


def _unpack_deb(deb: Path, tarball: Path) -> None:
    """Take the one tarball out of a linux-source package."""
    part = tarball.with_suffix(".part")
    member = f"./usr/src/{tarball.name}"
    with (
        open(part, "wb") as out,
        subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", str(deb)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as dpkg,
    ):
        tar = subprocess.run(
            ["tar", "-xOf", "-", member],
            stdin=dpkg.stdout,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    if tar.returncode:
        part.unlink(missing_ok=True)
        raise _tar_failure(deb, tar.stderr, tarball.parent)
    part.rename(tarball)


def extract(layout: Layout, tarball: Path, progress: Progress) -> Source:
    """Extract a tarball into the cache, once; its identity is its hash."""

    def digest() -> str:
        with open(tarball, "rb") as f:
            return file_digest(f, "sha256").hexdigest()

    sha = remember(layout.state, f"tarball-{_short(str(tarball))}", fingerprint([tarball]), digest)
    home = layout.sources / f"tree-{sha[:16]}"
    if not home.exists():
        progress.start(f"extract {tarball.name}")
        make_dir(layout.sources)
        part = home.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        make_dir(part)
        done = subprocess.run(
            ["tar", "-xf", str(tarball), "-C", str(part), "--no-same-owner"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
        if done.returncode:
            shutil.rmtree(part, ignore_errors=True)
            raise _tar_failure(tarball, done.stderr, layout.sources)
        part.rename(home)
    tops = list(home.iterdir())
    tree = tops[0] if len(tops) == 1 and tops[0].is_dir() else home
    return Source(makefile_release(tree), f"sha256:{sha}", tree, tarball, sha)


def _tar_failure(archive: Path, stderr: str, into: Path) -> BuildError:
    if "Wrote only" in stderr or "No space left" in stderr:
        return disk_full(into)
    line = (stderr.splitlines() or ["tar failed"])[0]
    return BuildError(f"cannot extract {archive}: {line}")


def own(layout: Layout, path: Path, progress: Progress) -> Source:
    """A user's own source: a tarball, a git tree or a directory.

    A git tree is known by its revision and a hash of what differs from it. A
    plain directory is known by the paths, sizes and modification times of its
    files: hashing the content of 80,000 files would take longer than finding
    that there is nothing to build. An edit that keeps both size and time is
    therefore missed.
    """
    path = path.expanduser().absolute()
    if path.is_file():
        try:
            return extract(layout, path, progress)
        except lzma.LZMAError as e:
            raise BuildError(f"cannot read {path}: {e}") from e
    if not path.is_dir():
        raise BuildError(f"there is no source at {path}")
    release = makefile_release(path)
    progress.start(f"look at {path}")
    if (path / ".git").exists() and shutil.which("git"):
        return Source(release, _git_identity(path), path)
    return Source(release, f"files:{manifest(path)}", path)


def _git_identity(path: Path) -> str:
    def git(*args: str) -> bytes:
        done = subprocess.run(["git", "-C", str(path), *args], capture_output=True, check=False)
        if done.returncode:
            raise BuildError(f"git {args[0]} failed in {path}: {done.stderr.decode().strip()}")
        return done.stdout

    revision = git("rev-parse", "HEAD").decode().strip()
    digest = sha256(git("diff", "HEAD", "--binary"))
    extra = git("ls-files", "-z", "--others", "--exclude-standard")
    for name in extra.split(b"\0"):
        file = path / name.decode(errors="surrogateescape")
        if name and file.is_file():
            digest.update(name + b"\0" + file.read_bytes())
    clean = sha256().hexdigest()
    dirty = digest.hexdigest()
    return f"git:{revision}" + ("" if dirty == clean else f"+{dirty[:16]}")


def _short(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:12]
