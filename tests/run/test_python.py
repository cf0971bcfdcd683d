# SPDX-License-Identifier: GPL-2.0-only
"""``k.run`` and ``k.popen``: subprocess, on a kernel that Python has booted for programs."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import rumpel
from rumpel.errors import BootError, KernelClosed
from rumpel.run import AgentError, Options, SharedKernel, agent, boot, instances, join
from tests.run.conftest import installed, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.once]


@contextmanager
def ended(program: subprocess.Popen[bytes]) -> Iterator[None]:
    """A program that is killed, if the test fails."""
    with program:
        try:
            yield
        finally:
            program.kill()


@pytest.fixture(scope="module")
def k(default_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedKernel]:
    """A kernel with a loopback interface."""
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = os.fspath(tmp_path_factory.mktemp("names"))
    with boot(Options(nets=["none"], version=default_image)) as kernel:
        yield kernel
    left = list(instances())
    if before is None:
        del os.environ["XDG_RUNTIME_DIR"]
    else:
        os.environ["XDG_RUNTIME_DIR"] = before
    assert not left, "a kernel outlives its programs"


def test_what_subprocess_has(k: SharedKernel, tmp_path: Path) -> None:
    """Results, streams, text, environment, directory, shell: as of subprocess.run."""
    done = k.run(["sh", "-c", "echo out; echo err >&2; exit 3"], capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 3)
    assert isinstance(done, subprocess.CompletedProcess)
    assert done.args == ["sh", "-c", "echo out; echo err >&2; exit 3"]
    assert k.run(["cat"], input=b"\0\xff", stdout=subprocess.PIPE).stdout == b"\0\xff"
    done = k.run("pwd; echo $A", shell=True, cwd=tmp_path, env={"A": "b"}, capture_output=True)
    assert done.stdout == os.fsencode(f"{tmp_path}\nb\n")
    program = k.run(["zero", "-c", "echo $0"], executable="/bin/sh", capture_output=True)
    assert program.stdout == b"zero\n"
    ignored = ["grep", "SigIgn", "/proc/self/status"]
    assert k.run(ignored, capture_output=True).stdout.split()[1] == b"0" * 16
    with (tmp_path / "file").open("w+b") as file:
        k.run(["bash", "-c", "echo more >&$0", str(file.fileno())], pass_fds=[file.fileno()])
        file.seek(0)
        assert file.read() == b"more\n"


def test_exceptions_are_those_of_subprocess(k: SharedKernel, tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        k.run(["sh", "-c", "echo so; exit 7"], check=True, capture_output=True)
    assert (failed.value.returncode, failed.value.output) == (7, b"so\n")
    for patience in (0.5, 5, 50):  # it may take a while until it has said that
        with pytest.raises(subprocess.TimeoutExpired) as late:
            k.run(["sh", "-c", "echo first; exec sleep 600"], timeout=patience, capture_output=True)
        if late.value.output:
            break
    assert late.value.output == b"first\n"
    with pytest.raises(FileNotFoundError):
        k.run(["/no/such"])
    with pytest.raises(FileNotFoundError):
        k.run(["ls"], env={"PATH": os.fspath(tmp_path)})
    with pytest.raises(PermissionError):
        k.run([os.fspath(tmp_path)])
    (tmp_path / "text").write_text("no program")
    (tmp_path / "text").chmod(0o755)
    with pytest.raises(OSError, match="neither a program nor a script"):
        k.run(["./text"], cwd=tmp_path)
    with pytest.raises(ValueError, match="no program"):
        k.run([])
    assert k.run(["true"]).returncode == 0


def test_descriptors_that_are_in_use(k: SharedKernel, tmp_path: Path) -> None:
    """The agent's numbers, if this process has them: they stay what they were."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    taken = min(soft, agent.HIGHEST_FD) - agent.FDS_RESERVED
    with (tmp_path / "file").open("wb", buffering=0) as file:
        os.dup2(file.fileno(), taken)
        try:
            with pytest.raises(AgentError, match=f"descriptor {taken} is in use"):
                k.run(["true"])
            os.write(taken, b"mine")
        finally:
            os.close(taken)
    assert (tmp_path / "file").read_bytes() == b"mine"
    assert k.run(["true"]).returncode == 0


SERVER = """
import socket
server = socket.create_server(("127.0.0.1", 80))
print("ready", flush=True)
while True:
    server.accept()[0].sendall(b"hello")
"""


def test_a_server_and_clients(k: SharedKernel) -> None:
    """They are on one kernel, whose ports are not the host's."""
    server = k.popen(["/usr/bin/python3", "-c", SERVER], stdout=subprocess.PIPE, text=True)
    with ended(server):
        assert server.stdout
        assert server.stdout.readline() == "ready\n"
        got = k.run(["nc", "-dN", "127.0.0.1", "80"], capture_output=True, timeout=60)
        assert got.stdout == b"hello"
        assert b":80 " in k.run(["ss", "-Hltn"], capture_output=True).stdout
        assert server.poll() is None
        server.terminate()
        assert server.wait(60) == -signal.SIGTERM


BUSY = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print(1, flush=True)
while True:
    s.sendto(bytes(60000), ("127.0.0.1", 9))
"""


def test_a_kill_takes_nobody_along(k: SharedKernel) -> None:
    """A program that is always in the kernel's code ends, and the kernel does not."""
    for _ in range(5):
        with ended(busy := k.popen(["/usr/bin/python3", "-c", BUSY], stdout=subprocess.PIPE)):
            assert busy.stdout
            assert busy.stdout.readline() == b"1\n"
            busy.kill()
            assert busy.wait(60) == -signal.SIGKILL
    stopped = k.popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with ended(stopped):
        stopped.send_signal(signal.SIGSTOP)
        assert k.run(["ip", "-o", "link"], capture_output=True, timeout=60).stdout
        stopped.send_signal(signal.SIGCONT)
        assert stopped.communicate(b"on", timeout=60)[0] == b"on"
    assert k.run(["ss", "-Hlun"], capture_output=True, timeout=60).returncode == 0


def test_threads(k: SharedKernel) -> None:
    """Many start programs at once."""
    results: list[bytes] = []

    def one(number: int) -> None:
        results.append(k.run(["echo", f"{number}"], capture_output=True).stdout)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted(b"%d\n" % number for number in range(10))


def test_others_do_not_have_its_descriptors(k: SharedKernel) -> None:
    """Programs of this process that are not on the kernel know nothing of it."""
    listed = subprocess.run(
        ["ls", "/proc/self/fd"], capture_output=True, close_fds=False, text=True, check=True
    )
    assert max(map(int, listed.stdout.split())) < 800


def test_several_kernels(k: SharedKernel, default_image: str) -> None:
    """Each is a network of its own; one that was closed is so."""
    bind = "import socket; s = socket.create_server(('127.0.0.1', 80)); input()"
    with boot(Options(nets=["none"], version=default_image, name="other")) as other:
        ends = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
        listens = ["sh", "-c", "until ss -Hltn | grep -q :80; do sleep 0.05; done"]
        with ExitStack() as stack:
            programs = [each.popen(["/usr/bin/python3", "-c", bind], **ends) for each in (k, other)]
            for each, program in zip((k, other), programs, strict=True):
                stack.enter_context(ended(program))
                each.run(listens, check=True, timeout=60)
            for program in programs:
                program.communicate(b"\n", timeout=60)
                assert program.returncode == 0
        assert "other" in {each.name for each in instances()}
    assert "other" not in {each.name for each in instances()}
    with pytest.raises(KernelClosed, match="other is closed"):
        other.run(["true"])
    other.close()


def test_joining(k: SharedKernel) -> None:
    """A kernel is found by its name; its descriptors are at the same numbers in all processes."""
    with pytest.raises(BootError, match="are taken"):
        join(k.name)
    with pytest.raises(BootError, match="no kernel nobody"):
        join("nobody")
    script = "from rumpel.run import join\n"
    script += f"with join({k.name!r}) as k: print(k.run(['true']).returncode, flush=True)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout == "0\n", done.stderr


def test_a_server_for_a_kernel_of_this_process(default_image: str, tmp_path: Path) -> None:
    """An nginx on a kernel of its own, and between it and ours a wire that is slow."""
    (tmp_path / "index.html").write_text("over a wire")
    conf = tmp_path / "nginx.conf"
    temporary = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "" if os.geteuid() else "user root;"
    conf.write_text(
        f"daemon off; {user} pid {tmp_path}/pid; error_log stderr; worker_processes 2; events {{}} "
        f"http {{ access_log off; {temporary} server {{ listen 80; root {tmp_path}; }} }}"
    )
    tmp_path.chmod(0o755)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        net = f"fd:{theirs.fileno()},ip=10.0.0.1/24"
        with (
            boot(Options(nets=[net], version=default_image)) as server,
            rumpel.boot(image=default_image, nics=[rumpel.FdNic(ours)]) as client,
        ):
            client.ifup("eth0", "10.0.0.2/24")
            client.net.qdisc.replace("eth0", "netem", delay=0.05)
            nginx = server.popen([installed("nginx"), "-c", conf, "-p", tmp_path])
            with ended(nginx):
                request = client.import_module("urllib.request")

                def answers() -> bool:
                    try:
                        client.socket.create_connection(("10.0.0.1", 80), 1).close()
                    except OSError:
                        return False
                    return True

                assert wait_until(answers)
                start = time.monotonic()
                assert request.urlopen("http://10.0.0.1/").read() == b"over a wire"
                assert time.monotonic() - start > 0.09, "the kernel of this process delays"
                nginx.terminate()
                assert nginx.wait(60) == 0
