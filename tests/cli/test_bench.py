# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel bench``: how it measures, what it prints, and that each loop runs."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from rich.console import Console

from rumpel.bench import Options, Result, find, memory, native, table, wire
from rumpel.bench.measure import compare, rounds_for
from rumpel.bench.result import TARGET, Figure, spread
from rumpel.bench.table import Benchmark
from rumpel.build.layout import Layout
from rumpel.cli.bench import command, show
from rumpel.errors import RumpelError
from tests.cli.test_cli import _rumpel

TIME = Figure("fake-time", "ns", 0.2, "host", "nothing, quickly")
RATE = Figure("fake-rate", "1/s", 4, "host", "nothing, often", more=True)
ALONE = Figure("fake-alone", "ms", 1, TARGET, "what no host does")

ISSUE = [
    "boot",
    "boot-tiny",
    "start",
    "memory",
    "getpid-c",
    "getpid-python",
    "pipe",
    "switch",
    "handoff",
]
ISSUE += ["tcp-lo-64k", "tcp-lo-16k", "tcp-lo-1k", "tcp-lo-threads", "rr-lo"]
ISSUE += ["udp-lo", "python-send-recv"]
ISSUE += ["tap-tcp-out", "tap-tcp-in", "tap-rr", "xdp-rr", "link-tcp"]
ISSUE += ["copy-in"]  # which is our own
ISSUE += ["blk-write", "blk-files"]
ISSUE += ["image-start", "image-list", "image-read", "image-fs", "image-mount"]
ISSUE += ["aio-1000", "clone"]
ISSUE += [
    "nf-start",
    "nf-chain-10",
    "nf-forward",
    "nf-text",
    "nf-goodput",
    "nf-latency",
    "nf-mangle",
]
ISSUE += ["intercept", "run-start", "run-local", "run-iperf3"]
ISSUE += ["run-rr", "run-nginx", "run-redis", "run-user"]


def _fake(options: Options) -> Iterator[Result]:
    yield TIME.result([10.0, 30.0, 20.0], [200.0, 200.0, 200.0])
    yield RATE.result([500.0, 500.0], [1000.0, 1000.0])
    yield ALONE.result([5.0], [10.0])


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    benchmarks = (Benchmark("fake", (TIME, RATE, ALONE), _fake), *table.BENCHMARKS)
    monkeypatch.setattr(table, "BENCHMARKS", benchmarks)


@pytest.mark.usefixtures("fake")
def test_json_has_what_the_issue_asks_for() -> None:
    """A ratio above 1 is better for us, for times and for rates."""
    done = CliRunner().invoke(command, ["fake", "--json", "--image", "none"])
    assert done.exit_code == 0, done.output
    time, rate, alone = json.loads(done.stdout)
    assert time == {
        "name": "fake-time",
        "value": 20.0,
        "unit": "ns",
        "peer": "host",
        "peer_value": 200.0,
        "ratio": 10.0,
        "runs": 3,
        "spread": 0.5,
    }
    assert (rate["ratio"], rate["spread"]) == (0.5, 0.0)
    assert (alone["peer"], alone["ratio"], alone["runs"]) == ("target", 2.0, 1)


@pytest.mark.usefixtures("fake")
def test_people_see_the_target_beside_the_figure() -> None:
    """In the words of the issue: a part of the host's time, or times its rate."""
    done = CliRunner().invoke(command, ["fake", "--image", "none"])
    lines = {line.split()[0]: line for line in done.stdout.splitlines()[1:]}
    assert "20.0 ns" in lines["fake-time"]
    assert "0.2 x time" in lines["fake-time"]
    assert "4 x " in lines["fake-rate"]
    assert "10.0 ms" in lines["fake-alone"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("pip", "did you mean pipe?"), ("tcp", "did you mean tcp-lo-64k or "), ("zzz", "there are: ")],
)
def test_an_unknown_name_suggests_near_ones(tmp_path: Path, name: str, hint: str) -> None:
    """One line on stderr, before anything is measured."""
    done = _rumpel(tmp_path, "bench", "boot", name)
    assert done.returncode == 2
    assert f"there is no benchmark {name!r}; {hint}" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_missing_image_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    """With the command that makes it."""
    done = _rumpel(tmp_path, "bench", "pipe", "boot-tiny", "--image", "/nonexistent")
    assert done.returncode == 1
    assert "make one: rumpel kernel build 6.12 --profile tiny" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_image_that_does_not_boot(tmp_path: Path) -> None:
    """The runtime's reason is shown."""
    (tmp_path / "image").write_text("this is none")
    with (
        pytest.raises(RumpelError, match=r"image does not boot: .*too short"),
        native.boot(Options(image=str(tmp_path / "image"))),
    ):
        pass


def test_all_names_of_the_issue_are_there() -> None:
    """And a figure's name finds the benchmark that measures it."""
    assert [b.name for b in table.BENCHMARKS] == ISSUE
    figures = [f.name for b in table.BENCHMARKS for f in b.figures]
    assert len(set(figures)) == len(figures)
    assert all(any(figure.startswith(name) for figure in figures) for name in ISSUE)
    assert [b.name for b in find(["nf"])] == [name for name in ISSUE if name.startswith("nf-")]
    assert [b.name for b in find(["images"])] == [n for n in ISSUE if n.startswith("image-")]
    assert find(["tcp-lo-threads-16k", "memory"]) == find(["memory", "tcp-lo-threads"])


def test_runs_alternate_and_the_median_counts() -> None:
    """In pairs; a side that is slow only once does not show."""
    order = []

    def side(name: str, times: list[float]) -> list[float]:
        def work(rounds: int) -> float:
            order.append(name)
            return rounds * (times.pop(0) if len(order) > warm else 1.0)

        return work  # type: ignore[return-value]

    warm = 2
    ours, peer = side("ours", [1.0, 9.0, 1.0]), side("peer", [4.0, 4.0, 4.0])
    result = compare(TIME, ours, peer, scale=1, runs=3, sample=1)  # type: ignore[arg-type]
    assert order[warm:] == ["peer", "ours", "ours", "peer", "peer", "ours"]
    assert (result.value, result.peer_value, result.ratio, result.runs) == (1.0, 4.0, 4.0, 3)
    assert not result.met  # a fifth was asked for


def test_rounds_fill_the_time_of_a_run() -> None:
    """Also if one round takes longer than that."""
    assert rounds_for(lambda rounds: rounds * 0.001, 0.1) == pytest.approx(100, rel=0.01)
    assert rounds_for(lambda rounds: rounds * 5.0, 0.1) == 1


def test_spread_is_that_of_the_middle_half() -> None:
    """One outlier does not show."""
    assert spread([1.0]) == 0.0
    assert spread([10.0, 10.0, 10.0, 10.0, 90.0]) == 0.0
    assert spread([8.0, 9.0, 10.0, 11.0, 12.0]) == pytest.approx(0.2)


def test_the_loops_are_compiled_once(tmp_path: Path) -> None:
    """The second time finds them in the cache."""
    layout = Layout(cache=tmp_path)
    made = native.build(layout)
    before = made.stat()
    assert native.build(layout) == made
    assert made.stat() == before
    assert list(made.parent.iterdir()) == [made]


def test_a_missing_compiler_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RumpelError, match="sudo apt-get install gcc"):
        native.build(Layout(cache=tmp_path))


def seconds(work: Callable[[int], float], rounds: int, most: float) -> float:
    """What a round takes; on a busy machine once it is left alone."""
    found = most
    for _ in range(50):
        found = work(rounds) / rounds
        if found < most:
            break
    return found


@pytest.mark.kernel
@pytest.mark.once
def test_each_loop_runs_on_both_kernels(default_image: str) -> None:
    """A round takes less than a millisecond, and more than a nanosecond."""
    with native.boot(Options(image=default_image)) as bench:
        for name in ("getpid", "pipe", "tcp", "round_trip", "tasks", "threads", "tcp_threads"):
            for side in bench.sides(name, 1024):
                assert 1e-9 < seconds(side, 100, 1e-3) < 1e-3, name


@pytest.mark.kernel
@pytest.mark.once
def test_each_network_carries_bytes(default_image: str) -> None:
    """Both ways, and leaves no namespace behind."""
    if os.geteuid():
        pytest.skip("to make a network namespace takes root")
    options = Options(image=default_image)
    stations = [wire.station(options, "packet")]
    with contextlib.suppress(OSError):
        socket.socket(44, socket.SOCK_RAW).close()  # AF_XDP
        stations.append(wire.station(options, "xdp"))
    for made in (wire.tap(options), wire.linked(options), wire.veth(), *stations):
        with made as network:
            for work in (network.work("stream", 1024), network.work("stream", 1024, True)):
                assert 1e-9 < seconds(work, 100, 1e-2) < 1e-2
            assert 1e-7 < seconds(network.work("trips"), 20, 1e-2) < 1e-2
    assert not list(Path("/run/netns").glob(f"rumpel-bench-{os.getpid()}-*"))


def test_namespaces_take_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    with pytest.raises(RumpelError, match="network namespaces, which takes root"), wire.veth():
        pass


@pytest.mark.kernel
@pytest.mark.once
def test_memory_of_fresh_processes(
    default_image: str, tiny_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A further kernel costs something, but less than its memory."""
    for name in ("SETTLE", "IDLE"):
        monkeypatch.setattr(memory, name, 0.05)
    found = memory.child(default_image, tiny_image)
    assert 0.1 < found["memory-further-tiny"] < found["memory-further"] < 64
    assert found["memory"] > found["python"] > 1
    assert found["without"] < 1e5


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    """As here, where there is no image."""
    with pytest.raises(RumpelError, match=r"failed: .*BootError: cannot open"):
        memory.child(str(tmp_path / "none"), str(tmp_path / "none"))


def test_what_cannot_be_told_from_nothing_is_no_loss() -> None:
    """The ratio is of what can be measured, the values are what was measured."""
    figure = Figure("x", "us/s", 1, "nothing", "rests", least=100)
    result = figure.result([50.0], [2.0])
    assert (result.value, result.peer_value, result.ratio, result.met) == (50.0, 2.0, 1.0, True)
    assert figure.result([200.0], [2.0]).ratio == 0.5


@pytest.mark.usefixtures("fake")
def test_a_row_is_printed_as_soon_as_it_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there is no terminal: a full run takes minutes."""
    seen: list[str] = []

    def slow(options: Options) -> Iterator[Result]:
        yield TIME.result([1.0], [1.0])
        seen.append(output.getvalue())
        yield RATE.result([1.0], [1.0])

    output = io.StringIO()
    for result in show([Benchmark("slow", (TIME, RATE), slow)], Options(), Console(file=output)):
        assert output.getvalue().splitlines()[-1].startswith(result.figure.name)
    assert "fake-time" in seen[0]
    assert "fake-rate" not in seen[0]


@pytest.mark.usefixtures("fake")
def test_a_picture_shows_each_ratio_beside_its_target(tmp_path: Path) -> None:
    """Bars begin at the peer's speed; one that misses its target has another colour."""
    picture = tmp_path / "bench.svg"
    done = CliRunner().invoke(command, ["fake", "--plot", str(picture), "--image", "none"])
    assert done.exit_code == 0, done.output
    root = ElementTree.parse(picture).getroot()
    space = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in root.iter(f"{space}text")]
    assert {"fake-time", "fake-rate", "10, of 5", "0.5, of 4"} <= set(texts)
    _, slow, quick, alone = root.iter(f"{space}rect")
    # fake-time: ten times as fast; fake-rate: half as fast, so its bar is on the other side.
    assert float(slow.get("x", 0)) == pytest.approx(
        float(quick.get("x", 0)) + float(quick.get("width", 0)), abs=0.2
    )
    assert slow.get("fill") == alone.get("fill") != quick.get("fill")


def test_a_picture_that_cannot_be_written_is_told_first(tmp_path: Path) -> None:
    """Before minutes of measuring."""
    done = _rumpel(tmp_path, "bench", "pipe", "--plot", "/nonexistent/bench.svg")
    assert done.returncode == 2
    assert "/nonexistent/bench.svg" in done.stderr
