# SPDX-License-Identifier: GPL-2.0-only
"""Building and finding images, with a kernel tree in miniature."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rumpel.build import Layout, ensure_image, find_image, list_images, remove_image
from rumpel.build.image import KEPT
from rumpel.errors import BuildError
from tests.build import fake


def test_build_makes_an_image_with_all_it_promises(layout: Layout) -> None:
    """The image is there, stripped, with symbols beside it and its origin told."""
    log = fake.Log()
    image = ensure_image(layout=layout, progress=log)
    assert image.path.stat().st_size == image.size
    assert image.path.read_bytes()[:4] == b"\x7fELF"
    assert b".symtab" not in image.path.read_bytes()
    assert b".symtab" in image.vmlinux.read_bytes()
    assert b".debug_info" in image.path.with_name("types.o").read_bytes()
    assert (image.version, image.release, image.profile) == ("6.12", "6.12.99", "default")
    assert image.modified is False
    assert json.loads(json.dumps(image.to_json()))["key"] == image.key


def test_progress_counts_objects_done_of_objects_to_do(layout: Layout) -> None:
    """The total comes from a dry run and equals what is then compiled."""
    log = fake.Log()
    ensure_image(layout=layout, progress=log)
    totals = {step: total for step, total in log.steps if total}
    assert totals == {"build 6.12 default": 3}
    assert [done for done, what in log.updates if what] == [1, 2, 3]


def test_nothing_is_built_twice(layout: Layout) -> None:
    """A second call finds the image, builds nothing and tells nothing."""
    first = ensure_image(layout=layout)
    log = fake.Log()
    assert ensure_image(layout=layout, progress=log) == first
    assert not log.steps


def test_the_source_is_never_written_to(layout: Layout) -> None:
    """Building leaves the extracted tree as it was."""
    from rumpel.build.source import packaged
    from rumpel.build.tree import manifest

    tree = packaged(layout, "6.12", fake.Log()).tree
    before = manifest(tree)
    ensure_image(layout=layout)
    assert manifest(tree) == before


@pytest.mark.parametrize(
    "change",
    ["kernel/arch/rumpel/entry.c", "include/rumpel/host_ops.h", "kernel/configs/default.config"],
)
def test_what_an_image_is_made_from_is_its_key(layout: Layout, change: str) -> None:
    """A change of port, header or profile is another image; undoing it finds the old one."""
    first = ensure_image(layout=layout)
    file = layout.data / change
    old = file.read_text()
    file.write_text(old + "CONFIG_MORE=y\n")
    assert find_image(layout=layout) is None
    file.write_text(old)
    found = find_image(layout=layout)
    assert found is not None
    assert found.key == first.key


def test_the_compiler_is_part_of_the_key(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another compiler is another image; with no compiler at all any image will do."""
    first = ensure_image(layout=layout)
    tools = fake.path_without({"gcc"}, tmp_path / "bin")
    monkeypatch.setenv("PATH", tools)
    assert find_image(layout=layout) == first
    gcc = Path(tools) / "gcc"
    gcc.write_text("#!/bin/sh\necho another compiler\n")
    gcc.chmod(0o755)
    assert find_image(layout=layout) is None


def test_other_checkouts_share_objects(layout: Layout, tmp_path: Path) -> None:
    """The same port in another directory is the same image, without a build."""
    first = ensure_image(layout=layout)
    shutil.copytree(layout.data, tmp_path / "clone")
    other = Layout(tmp_path / "clone", layout.cache, layout.packaged, layout.system_sources)
    assert find_image(layout=other) == first


def test_a_failed_build_shows_the_error_and_resumes(layout: Layout, tmp_path: Path) -> None:
    """The compiler's first error and the log are named; only what is left is built next time."""
    source = fake.tree(tmp_path / "own", objects=6)
    bad = source / "init/f5.c"
    good = bad.read_text()
    bad.write_text("int f5(void) { return nonsense; }\n")
    with pytest.raises(BuildError, match=r"f5\.c.*error: .nonsense(?s:.)*build\.log"):
        ensure_image(source=source, layout=layout, jobs=1)
    bad.write_text(good)
    log = fake.Log()
    ensure_image(source=source, layout=layout, progress=log, jobs=1)
    assert {total for _, total in log.steps if total} <= {1, 6}
    assert [what for _, what in log.updates if what] == ["init/f5.o"]
    assert log.updates[-1][0] == max(total or 0 for _, total in log.steps)


def test_an_interrupt_ends_all_compilers(layout: Layout, tmp_path: Path) -> None:
    """After Ctrl-C nothing that make started is left to write objects."""
    source = fake.tree(tmp_path / "own")
    pids = tmp_path / "pids"
    text = (source / "Makefile").read_text()
    (source / "Makefile").write_text(
        text.replace("$(CC) -fPIC", f"sh -c 'echo $$$$ >> {pids}; exec sleep 100'; $(CC) -fPIC")
    )

    class Interrupt(fake.Log):
        def update(self, done: int, what: str = "") -> None:
            super().update(done, what)
            while what and not pids.exists():
                time.sleep(0.01)
            if what:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_image(source=source, layout=layout, progress=Interrupt())
    deadline = time.monotonic() + 60
    for pid in pids.read_text().split():
        while not ended(pid):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def ended(pid: str) -> bool:
    """Is a process gone, or is only its parent still to hear of it?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_full_disk_says_so(layout: Layout, tmp_path: Path) -> None:
    """A compiler that finds no space is told as such, and that a new run goes on."""
    source = fake.tree(tmp_path / "own")
    text = (source / "Makefile").read_text()
    broken = text.replace("$(CC) -fPIC", "echo 'cc1: No space left on device'; false; $(CC) -fPIC")
    (source / "Makefile").write_text(broken.replace("; false;", "; exit 1;"))
    with pytest.raises(BuildError, match=r"disk of .* is full.*goes on where it stopped"):
        ensure_image(source=source, layout=layout)


def test_a_missing_tool_names_the_apt_command(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing programs are named with the packages that bring them."""
    monkeypatch.setenv("PATH", fake.path_without({"flex", "objcopy"}, tmp_path / "bin"))
    with pytest.raises(BuildError, match=r"objcopy, flex; .*apt-get install binutils flex"):
        ensure_image(layout=layout)


def test_an_unwritable_cache_says_so(layout: Layout, tmp_path: Path) -> None:
    """A cache that cannot be made is named, and the variable that moves it."""
    (tmp_path / "file").write_text("")
    bad = Layout(layout.data, tmp_path / "file/cache", layout.packaged, layout.system_sources)
    with pytest.raises(BuildError, match=r"cannot write to the cache.*RUMPEL_CACHE"):
        ensure_image(layout=bad)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"version": "5.4"}, "'5.4' is not supported; there are: 6.12"),
        ({"profile": "huge"}, "no profile 'huge'; there are: default, tiny"),
        ({"options": ["NET"]}, "'NET' is no option"),
        ({"options": ["CONFIG_NET=m"]}, "no modules"),
        ({"source": "/nonexistent"}, "there is no source at"),
    ],
)
def test_wrong_arguments_are_told(
    layout: Layout, arguments: dict[str, object], message: str
) -> None:
    """Each wrong argument has a message that says what would be right."""
    with pytest.raises(BuildError, match=message):
        ensure_image(layout=layout, **arguments)  # type: ignore[arg-type]


def _ensure(layout: Layout) -> None:
    ensure_image(layout=layout)


def test_two_processes_build_once(layout: Layout, tmp_path: Path) -> None:
    """The second of two processes waits for the first and takes its image."""
    count = tmp_path / "count"
    source = layout.system_sources / "linux-source-6.12"
    fake.tree(source)
    makefile = source / "Makefile"
    makefile.write_text(
        makefile.read_text().replace("@echo '  LD", f"@echo x >> {count}; sleep 0.5; echo '  LD")
    )
    tarball = layout.system_sources / "linux-source-6.12.tar.xz"
    subprocess.run(["tar", "-cJf", tarball, "-C", layout.system_sources, source.name], check=True)
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=_ensure, args=(layout,)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    assert count.read_text() == "x\n"


def test_a_waiting_process_says_for_whom(layout: Layout) -> None:
    """The holder of the lock is named to the one who waits."""
    from rumpel.build.lock import locked

    class Log(fake.Log):
        """Lets the holder end."""

        def note(self, text: str) -> None:
            super().note(text)
            os.write(go, b"x")

    log = Log()
    file = layout.cache / "x.lock"
    (reader, writer), (wait, go) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        with locked(file, "it", fake.Log()):
            os.write(writer, b"x")
            os.read(wait, 1)
        os._exit(0)
    os.read(reader, 1)
    with locked(file, "it", log):
        pass
    os.waitpid(child, 0)
    for fd in (reader, writer, wait, go):
        os.close(fd)
    assert log.notes == [f"process {child} is busy with it; waiting for it"]


def test_images_are_listed_and_removed(layout: Layout) -> None:
    """An image can be removed by the beginning of its key; the other one stays."""
    one = ensure_image(layout=layout)
    two = ensure_image(profile="tiny", layout=layout)
    assert {x.key for x in list_images(layout)} == {one.key, two.key}
    remove_image(one.key[:8], layout)
    assert [x.key for x in list_images(layout)] == [two.key]
    with pytest.raises(BuildError, match="no images have a key"):
        remove_image(one.key, layout)


def test_old_images_of_a_kind_are_dropped(layout: Layout) -> None:
    """Work on the port leaves the newest images only; other profiles are not touched."""
    other = ensure_image(profile="tiny", layout=layout)
    keys = []
    for n in range(KEPT + 2):
        (layout.port / "entry.c").write_text(f"/* {n} */\n")
        keys.append(ensure_image(layout=layout).key)
    assert {x.key for x in list_images(layout)} == {other.key, *keys[-KEPT:]}


def test_a_truncated_image_is_not_used(layout: Layout) -> None:
    """An image that is not whole counts as absent."""
    image = ensure_image(layout=layout)
    image.path.write_bytes(image.path.read_bytes()[:100])
    assert find_image(layout=layout) is None


def test_a_packaged_image_comes_first(layout: Layout, tmp_path: Path) -> None:
    """An image shipped with the package is used without a cache or a compiler."""
    image = ensure_image(layout=layout)
    shutil.copytree(image.path.parent, tmp_path / "shipped/6.12-default")
    other = Layout(layout.data, tmp_path / "nocache", tmp_path / "shipped", tmp_path)
    found = find_image(layout=other)
    assert found is not None
    assert found.path == tmp_path / "shipped/6.12-default/rumpel.so"
    with pytest.raises(BuildError, match="came with the package"):
        remove_image(found.key, other)


def test_finding_an_image_is_fast(layout: Layout) -> None:
    """Every boot looks up its image: under 10 ms, and without heavy imports."""
    ensure_image(layout=layout)
    find_image(layout=layout)
    best = min(_timed(layout) for _ in range(20))
    assert best < 0.010
    heavy = "{'rich', 'click', 'subprocess', 'tarfile'}"
    code = f"import sys, rumpel.build; print(*{heavy} & {{*sys.modules}})"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == ""


def _timed(layout: Layout) -> float:
    start = time.perf_counter()
    assert find_image(layout=layout) is not None
    return time.perf_counter() - start
