# SPDX-License-Identifier: GPL-2.0-only
"""Stages that share a kernel: each has its own network, and what it does is done there."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import rumpel
from rumpel.nf.in_namespace import InNamespace
from rumpel.nf.namespaces import Namespace, Namespaces, join, wait_for_links
from rumpel.nf.wire import name_ports
from tests.conftest import Boot
from tests.nf.tools import chain, install, line, nf, shell

pytestmark = [pytest.mark.kernel, pytest.mark.once]

MODES = pytest.mark.parametrize("mode", ["--fuse", "--virtual"])

TALK = '''\
import asyncio
from rumpel.nf import Argument, Stage
class Talk(Stage):
    """Say a word over UDP, by a task that makes its socket itself, and tell the answer."""
    ports = ("right",)
    def configure(self, k):
        self.address(k, self.port, "10.0.0.1")
    async def run(self, k):
        print(await asyncio.create_task(self.ask(k)))
        return 0
    async def ask(self, k):
        await asyncio.sleep(0.01)
        with k.socket.socket(k.socket.AF_INET, k.socket.SOCK_DGRAM) as sock:
            sock.connect(("10.0.0.2", 7))
            await k.aio.sock_sendall(sock, b"hello")
            return await k.aio.sock_recv(sock, 99)
class Look(Stage):
    """Have a look at an interface that is no device where kernels are shared."""
    def configure(self, k):
        self.interfaces["left"].capture(1)
class Fail(Stage):
    """Do what is wrong, somewhere."""
    params = (Argument("where"),)
    def at(self, where):
        if where == self.options.where:
            raise ValueError("no such luck")
    def configure(self, k):
        self.bridge(k)
        self.at("configure")
        if self.options.where == "sysctl":
            k.sysctl["net.core.netdev_budget"] = "500"
    def serve(self, k):
        self.at("serve")
        return [self.served()]
    async def served(self):
        self.at("served")
    async def run(self, k):
        self.at("run")
    def end(self, k):
        self.at("end")
class Die(Stage):
    """Serve for a moment, and then die of it, whatever else is done."""
    def configure(self, k):
        self.bridge(k)
    def serve(self, k):
        return [self.served()]
    async def served(self):
        await asyncio.sleep(0.3)
        raise ValueError("no such luck")
class Ask(Stage):
    """Ask somebody who serves, in a thread that waits for the answer."""
    ports = ("right",)
    def configure(self, k):
        self.address(k, self.port, "10.0.0.1")
    def run(self, k):
        with k.socket.create_connection(("10.0.0.2", 7)) as sock:
            sock.sendall(b"hello")
            print(sock.recv(99), flush=True)
        return 0
class Wait(Stage):
    """Wait for somebody who connects, in the thread that runs it."""
    ports = ("left",)
    def configure(self, k):
        self.address(k, self.port, "10.0.0.2")
        self.server = k.socket.create_server(("10.0.0.2", 7))
    def run(self, k):
        sock, _ = self.server.accept()
        with sock:
            sock.sendall(sock.recv(99))
            sock.recv(99)
class Doze(Stage):
    """A coroutine that has nothing to do for long."""
    def configure(self, k):
        self.bridge(k)
    async def run(self, k):
        await asyncio.sleep(3600)
'''


COMPANY = ("die", "ask", "wait", "doze")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Where a package with these stages is installed."""
    stages = [f"{name} = my_package:{name.title()}" for name in ("talk", "look", "fail", *COMPANY)]
    return install(tmp_path, TALK, *stages)


@MODES
def test_what_a_task_makes_is_in_its_stages_network(
    default_image: str, environment: dict[str, str], mode: str
) -> None:
    """Also where all stages share one event loop."""
    command = nf(default_image, f"chain {mode} 'talk | route | host 10.0.0.2 --echo 7'")
    done = shell(command, env=environment)
    assert done.stdout == "b'hello'\n", done.stderr
    assert done.returncode == 0


def test_a_port_that_is_no_device(default_image: str, environment: dict[str, str]) -> None:
    """Whoever wants it as one is told how to have it."""
    command = nf(default_image, "chain --fuse 'ping 10.0.0.2 | look | host 10.0.0.2'")
    done = shell(command, env=environment)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "interface 'left' is no device: the stage has to say so in devices" in done.stderr


@MODES
@pytest.mark.parametrize("where", ["configure", "serve", "served", "run", "end", "sysctl"])
def test_a_stage_that_fails_is_named(
    default_image: str, environment: dict[str, str], mode: str, where: str
) -> None:
    """Whatever it was doing; a setting that a namespace has not is said to be none."""
    text = f"host 10.0.0.2 --echo 7 | fail {where} | ping -c 1 10.0.0.2"
    done = shell(nf(default_image, f"chain {mode} '{text}'"), env=environment)
    assert done.returncode == 1
    what = "net.core.netdev_budget is no setting of a network namespace"
    assert f"fail: {what if where == 'sysctl' else 'ValueError: no such luck'}" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr


@pytest.mark.parametrize(
    ("text", "modes"),
    [
        ("tcp 10.0.0.2 7 --input /dev/zero | die | host 10.0.0.2 --discard 7", ["", "--fuse"]),
        ("ping -c 1000000 10.0.0.2 | die | host 10.0.0.2", ["", "--fuse", "--virtual"]),
        ("ping -c 1000000 10.0.0.2 | die | host 10.0.0.2 --echo 7", ["--fuse", "--virtual"]),
        ("bridge | die | bridge", ["", "--fuse", "--virtual"]),
        ("die | doze | bridge", ["--fuse", "--virtual"]),
    ],
)
def test_a_server_that_dies_ends_the_chain(
    default_image: str, environment: dict[str, str], modes: list[str], text: str
) -> None:
    """At once, with its name, whatever the others do, and whoever waits for input."""
    for mode in modes:
        with subprocess.Popen(["sleep", "200"], stdout=subprocess.PIPE) as nothing:
            start = time.monotonic()
            done = chain(default_image, text, *mode.split(), env=environment, stdin=nothing.stdout)
            nothing.kill()
        assert done.returncode == 1, done.stderr
        assert "die: ValueError: no such luck" in done.stderr
        assert "Traceback" not in done.stderr
        assert time.monotonic() - start < 60


def test_who_blocks_is_not_in_the_others_way(
    default_image: str, environment: dict[str, str]
) -> None:
    """Beside coroutines that serve and that do something: it has a thread of its own."""
    for text in (
        "ask | bridge | host 10.0.0.2 --echo 7",
        "ask | doze | host 10.0.0.2 --echo 7",
        "ask | doze | wait",
    ):
        for mode in ([], ["--fuse"]):
            done = chain(default_image, text, *mode, env=environment)
            assert done.stdout == "b'hello'\n", done.stderr
            assert done.returncode == 0


def test_who_blocks_cannot_be_in_virtual_time(
    default_image: str, environment: dict[str, str]
) -> None:
    """There is only one thread: it is said before anything is sent."""
    for text in ("ask | bridge | host 10.0.0.2 --echo 7", "ask | doze | host 10.0.0.2"):
        done = chain(default_image, text, "--virtual", env=environment)
        assert done.returncode == 1
        assert "ask: its run() blocks, and on a virtual clock" in done.stderr
        assert done.stderr.count("\n") == 1


@MODES
def test_all_stages_do_what_they_do_at_once(default_image: str, mode: str) -> None:
    """As between pipes: the first that has done it ends the chain."""
    done = chain(
        default_image,
        "ping -c 1000000 10.0.0.2 | ping -c 2 -W 20 --address 10.0.0.2 10.0.0.1",
        mode,
    )
    assert done.returncode == 0, done.stderr
    assert "2 sent, 2 answered" in done.stderr
    assert "64 bytes from 10.0.0.2" in done.stderr


@MODES
def test_a_signal_in_the_middle_of_a_stage_without_a_kernel(default_image: str, mode: str) -> None:
    """It ends the chain as elsewhere, and is no fault of the stage."""
    text = "ping 10.0.0.2 | mangle '__import__(\"os\").kill(0, 15)' | host 10.0.0.2"
    done = chain(default_image, text, mode, start_new_session=True)
    assert done.returncode == 128 + 15, done.stderr
    assert "mangle" not in done.stderr


@MODES
def test_a_long_chain(default_image: str, mode: str) -> None:
    """Forty routers, each of which takes one off the time to live."""
    text = "ping -c 1 -W 60 10.0.0.2 | " + "route | " * 40 + "mangle 'p' | host 10.0.0.2"
    done = chain(default_image, text, mode)
    assert "1 sent, 1 answered" in done.stderr, done.stderr


@MODES
def test_frames_of_any_length_pass(default_image: str, mode: str) -> None:
    """From one namespace to the next, whatever the MTU of the receiver is."""
    frame = bytes.fromhex("020000000002020000000001 88b5") + bytes(9000)
    done = chain(default_image, "bridge | filter | bridge", mode, input=line(frame))
    assert done.returncode == 0, done.stderr
    assert frame.hex() in done.stdout


def test_a_thread_is_back_where_it_was(boot: Boot) -> None:
    """Namespaces are entered within others; an interface is in one of them, and carries at once."""
    k = boot()
    namespaces = Namespaces(k)
    one, two = namespaces.add(), namespaces.add()
    join(k, 300, ((one, "right"), (two, "left")))

    def there() -> set[str]:
        return set(k.net.links) & {"left", "right"}

    with one:
        assert there() == {"right"}
        with two:
            assert there() == {"left"}
            k.ifup("left", "10.0.0.2/24")
        assert there() == {"right"}
        k.ifup("right", "10.0.0.1/24")
        wait_for_links(k, [one, two])
        with k.socket.socket(k.socket.AF_INET, k.socket.SOCK_DGRAM) as sock:
            sock.connect(("10.0.0.2", 9))
            sock.send(b"nobody")
            with pytest.raises(ConnectionRefusedError):
                sock.recv(9)
    assert there() == set()


def test_who_was_asked_for_too_early_is_asked_again(boot: Boot) -> None:
    """What a stage sends of itself while the next one is not up yet delays nobody by a second."""
    k = boot(clock=rumpel.VirtualClock())
    namespaces = Namespaces(k)
    one, two = namespaces.add(), namespaces.add()
    join(k, 1, ((one, "right"), (two, "left")))
    with one, k.socket.socket(k.socket.AF_INET, k.socket.SOCK_DGRAM) as sock:
        k.ifup("right", "10.0.0.1/24")
        sock.connect(("10.0.0.2", 9))
        sock.send(b"too early")
        with two:
            k.ifup("left", "10.0.0.2/24")
        wait_for_links(k, [one, two])
        start = k.clock.now
        sock.send(b"nobody")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(9)
        assert k.clock.now - start < 0.1


def test_a_port_sends_as_much_as_there_is_room_for(boot: Boot) -> None:
    """Else a flood is lost: what is held back by less than that holds up nobody."""
    k = boot(nics=[rumpel.Link()[0]])
    name_ports(k, ["left"])
    with k.open("/sys/class/net/left/queues/tx-0/byte_queue_limits/limit_min") as file:
        assert int(file.read()) > 1 << 29


def test_steps_of_two_tasks(boot: Boot) -> None:
    """Each is in its namespace whenever it goes on, the thread in neither meanwhile; both end."""
    k = boot()
    namespaces = Namespaces(k)
    seen: list[tuple[str, str]] = []

    def here() -> str:
        return os.fsdecode(k.os.readlink("/proc/thread-self/ns/net"))

    async def values() -> AsyncIterator[str]:
        for _ in range(3):
            await asyncio.sleep(0)
            yield here()

    async def work(name: str) -> str:
        async for value in values():
            seen.append((name, value))
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append((name, here()))
        return name

    async def main(a: Namespace, b: Namespace) -> list[str]:
        tasks = [
            asyncio.ensure_future(InNamespace(work(name), namespace))
            for name, namespace in (("a", a), ("b", b))
        ]
        outside = here()
        for _ in range(20):
            await asyncio.sleep(0)
            assert here() == outside
        for task in tasks:
            task.cancel()
        never = asyncio.ensure_future(InNamespace(work("never"), a))
        never.cancel()
        return await asyncio.gather(*tasks)

    a, b = namespaces.add(), namespaces.add()
    assert k.aio.run(main(a, b)) == ["a", "b"]
    with a:
        first = here()
    with b:
        second = here()
    assert first != second
    assert set(seen) == {("a", first), ("b", second)}
    assert len(seen) == 8
