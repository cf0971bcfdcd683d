# SPDX-License-Identifier: GPL-2.0-only
"""Networks of programs on a library kernel, with real traffic; names of kernels."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from rumpel.errors import DeviceError
from rumpel.run.keeper import DEVICES
from rumpel.run.nets import Net, plan
from tests.run.conftest import CLI, Lab, OnKernel, installed, listens, run, wait_until
from tests.run.test_servers import HOST, free_port

pytestmark = [pytest.mark.kernel, pytest.mark.once]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves /etc, and says nothing."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments, directory="/etc")  # type: ignore[arg-type]

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def host_server() -> Iterator[int]:
    """A server on the host's loopback; its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


PASSWD = Path("/etc/passwd").read_text()


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("192.0.2.1/24", "c0000201/24"),
        ("192.0.2.1/255.255.255.0", "c0000201/24"),
        ("192.0.2.1", "c0000201/32"),
        ("2001:db8::1/64", f"20010db8{1:024x}/64"),
        ("fe80::1%eth0/64", f"fe80{1:028x}/64"),
    ],
)
def test_an_address_may_be_written_in_several_ways(address: str, told: str) -> None:
    """The keeper is told one, as ipaddress reads it."""
    made = plan([Net("pcap", "/dev/null", addresses=(address,))])
    made.close()
    assert f"address=eth0,{told}" in made.arguments
    assert made.meanings[f"address=eth0,{told}"] == f"eth0: ip={address}"


@pytest.mark.parametrize("address", ["192.0.2.1/33", "192.0.2/24", "2001:db8::1/129", "1/2/3"])
def test_an_address_that_is_none(address: str) -> None:
    """It is refused by who makes a network without a line for it, too."""
    with pytest.raises(ValueError, match="does not appear to be"):
        plan([Net("pcap", "/dev/null", addresses=(address,))])


def test_user_mode(on_kernel: OnKernel) -> None:
    """Without privileges and settings: the host is 10.0.2.2, and the name server is told."""
    with host_server() as port:
        script = (
            f"curl -s http://10.0.2.2:{port}/passwd; cat /etc/resolv.conf; ip -4 -o addr show eth0"
        )
        done = on_kernel.run(program=["bash", "-c", script])
    assert done.stdout.startswith(PASSWD + "nameserver 10.0.2.3\n"), done.stderr
    assert "10.0.2.15/24" in done.stdout


def test_publish(on_kernel: OnKernel) -> None:
    """A port of the host is the program's, and others find the kernel by its name."""
    published = f"{HOST}:{free_port()}"
    program = ["/usr/bin/python3", "-m", "http.server", "-d", "/etc", "80"]
    with on_kernel.start("--publish", f"{published}:80", "--name", "web", program=program):
        got = run(["curl", "-s", "--retry-all-errors", "--retry", "40", "--retry-delay", "1",
                   f"http://{published}/passwd"])  # fmt: skip
        assert got.stdout == PASSWD
        listed = run([*CLI, "ps"], env=on_kernel.environment).stdout
        assert "web" in listed
        assert "http.server" in listed
        listens = run([*CLI, "exec", "web", "--", "ss", "-Hltn"], env=on_kernel.environment)
        assert "0.0.0.0:80" in listens.stdout, listens.stderr
        joined = on_kernel.environment | {"RUMPEL_KERNEL": "web"}
        curl = ["curl", "-s", "http://127.0.0.1/passwd"]
        assert run([*CLI, "run", "--", *curl], env=joined).stdout == PASSWD
        # Who joins may ask who answers, and nothing of the kernel that runs.
        done = run([*CLI, "run", "--explain", "counts", "--", "ip", "link"], env=joined)
        assert " kernel: socket=" in done.stderr
        done = run([*CLI, "run", "--mptcp", "--sysctl", "a=b", "--", "echo"], env=joined)
        assert "joins a kernel that runs: --sysctl, --mptcp is for one that is made" in done.stderr
        assert (done.stdout, done.returncode) == ("", 2)
        # What is taken, is: nothing starts.
        done = on_kernel.run("--publish", f"{published}:80", program=["true"])
        assert "Address already in use" in done.stderr
        assert done.returncode == 1
        done = on_kernel.run("--net", "none", "--name", "web", program=["true"])
        assert done.stderr == "rumpel: there is a kernel web already\n"


def test_exec_of_nobody(on_kernel: OnKernel) -> None:
    done = run([*CLI, "exec", "nobody", "true"], env=on_kernel.environment)
    assert done.stderr == "rumpel: there is no kernel nobody; rumpel ps lists them\n"
    assert done.returncode == 1


def test_dns(on_kernel: OnKernel) -> None:
    script = "cat /etc/resolv.conf"
    done = on_kernel.run("--net", "none", "--dns", "192.0.2.53", program=["sh", "-c", script])
    assert done.stdout == "nameserver 192.0.2.53\n"


def test_settings_and_log(on_kernel: OnKernel, tmp_path: Path) -> None:
    """--sysctl is of the kernel, --log what it prints."""
    log = tmp_path / "log"
    options = ["--net", "none", "--sysctl", "net.ipv4.ip_default_ttl=7", "--log", str(log)]
    program = ["cat", "/proc/sys/net/ipv4/ip_default_ttl"]
    assert on_kernel.run(*options, program=program).stdout == "7\n"
    assert wait_until(lambda: "Linux version" in log.read_text())
    done = on_kernel.run("--net", "none", "--sysctl", "net.no=1", program=["true"])
    assert done.stderr == "rumpel: sysctl net.no=1: No such file or directory\n"
    assert done.returncode == 1
    net = f"pcap:{tmp_path}/pcap,ip=192.0.2.1/24,gw=198.51.100.1"
    done = on_kernel.run("--net", net, program=["true"])
    assert done.stderr == "rumpel: eth0: gw=198.51.100.1: Network is unreachable\n"


@pytest.mark.parametrize("server", ["nonsense", "192.0.2.1\nsearch example.org"])
def test_a_name_server_is_an_address(on_kernel: OnKernel, server: str) -> None:
    """What is none is refused, and adds no line to resolv.conf."""
    done = on_kernel.run("--net", "none", "--dns", server, program=["echo", "started"])
    assert "does not appear to be an IPv4 or IPv6 address" in done.stderr
    assert (done.stdout, done.returncode) == ("", 1)


def test_tap(on_kernel: OnKernel, lab: Lab) -> None:
    """A neighbour of the host: ping, a server and a client, with --pcap."""
    pcap = Path(on_kernel.environment["XDG_RUNTIME_DIR"]).parent / "pcap"
    script = f"""
        python3 -m http.server -d /etc 80 >/dev/null 2>&1 & server=$!
        ping -c 2 -i 0.1 -w 60 {lab.host} | grep -o "2 received"
        read -r line; kill $server; wait $server || true
    """
    inside = lab.inside(
        on_kernel.arguments(*lab.net, "--pcap", str(pcap), program=["bash", "-c", script])
    )
    with subprocess.Popen(
        inside, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=on_kernel.environment
    ) as process:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == b"2 received\n"
        retry = ["--retry-all-errors", "--retry", "40", "--retry-delay", "1"]
        assert lab.run("curl", "-s", *retry, f"http://{lab.kernel}/passwd").stdout == PASSWD
        # Without -w it waits for the last answer as long as for two of the others.
        ping = ("ping", "-c", "2", "-i", "0.1", "-w", "50")
        assert "2 received" in lab.run(*ping, lab.kernel).stdout
        process.communicate(b"\n", timeout=60)
    assert wait_until(on_kernel.is_over)
    packets = run(["tcpdump", "-nr", str(pcap)]).stdout
    assert f"{lab.host}: ICMP echo reply" in packets.replace(lab.kernel + " > ", "") or (
        "ICMP echo reply" in packets
    )
    assert f"> {lab.kernel}.80" in packets


def test_iperf3_over_tap(on_kernel: OnKernel, lab: Lab) -> None:
    """Parallel streams and both directions at once, as server and as client."""
    both = ["-t", "1", "-P", "2", "--bidir"]
    server = on_kernel.arguments(
        *lab.net, program=[installed("iperf3"), "-s", "-1", "--forceflush"]
    )
    with subprocess.Popen(
        lab.inside(server), stdout=subprocess.PIPE, env=on_kernel.environment
    ) as process:
        assert process.stdout
        while b"listening" not in process.stdout.readline():
            pass
        assert "iperf Done" in lab.run("iperf3", "-c", lab.kernel, *both).stdout
        process.stdout.read()
    with subprocess.Popen(
        lab.inside([installed("iperf3"), "-s", "-1", "--forceflush"]), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        while b"listening" not in process.stdout.readline():
            pass
        client = on_kernel.arguments(*lab.net, program=["iperf3", "-c", lab.host, *both])
        assert "iperf Done" in run(lab.inside(client), env=on_kernel.environment).stdout
        process.stdout.read()


def test_ipv6(on_kernel: OnKernel, lab: Lab) -> None:
    net = "tap:tap0,ip=2001:db8::2/64,gw=2001:db8::1"
    program = ["ping", "-c", "1", "-w", "50", "2001:db8::1"]
    done = run(lab.inside(on_kernel.arguments("--net", net, program=program)),
               env=on_kernel.environment)  # fmt: skip
    assert "1 received" in done.stdout, done.stdout + done.stderr


def test_passt_and_dhcp(on_kernel: OnKernel, tmp_path: Path) -> None:
    """A stream of frames; the kernel asks for an address."""
    path = tmp_path / "socket"
    passt = [installed("passt"), "-f", "-1", "-s", str(path), "--runas", "0"]
    with subprocess.Popen(passt, stderr=subprocess.DEVNULL) as process:
        try:
            assert wait_until(lambda: listens(path))
            script = "ip -4 -o addr show eth0; ip route; cat /etc/resolv.conf"
            net = f"unix:{path},ip=dhcp"
            done = on_kernel.run("--net", net, program=["bash", "-c", script])
            assert " inet " in done.stdout, done.stderr
            assert "default via" in done.stdout
            assert "\nnameserver " in done.stdout
        finally:
            process.kill()


def test_packet(on_kernel: OnKernel, lab: Lab) -> None:
    """A station on an interface of the host, here one end of a veth."""
    for command in (
        "ip link add veth0 type veth peer name veth1",
        "ip addr add 198.51.100.1/24 dev veth0",
        "ip link set veth0 up",
        "ip link set veth1 up",
    ):
        subprocess.run(lab.inside(command.split()), check=True)
    program = ["ping", "-c", "1", "-w", "50", "198.51.100.1"]
    net = "packet:veth1,ip=198.51.100.2/24"
    done = run(lab.inside(on_kernel.arguments("--net", net, program=program)),
               env=on_kernel.environment)  # fmt: skip
    assert "1 received" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("net", "said"),
    [
        ("color", "there is no network 'color'"),
        ("packet", "packet needs a name"),
        ("packet:nosuch", "nosuch: no interface of this name"),
        ("unix:/no/such", "/no/such: No such file or directory"),
        ("fd:777", "fd:777 is not open"),
        (f"fd:{1 << 64}", "is not open"),
        ("host", "the network host is no kernel's"),
        ("vde:/no/such", "/no/such: No such file or directory"),
        ("vde:/tmp,mtu=9000", "a VDE switch has 1500 at most"),
        ("pcap", "pcap needs a name"),
        ("pcap:/no/such/file", "No such file or directory"),
        ("none:x", "none has no name"),
        ("tap,ip=1.2.3.4", "lacks the length of the prefix"),
        ("tap,mtu=9", "mtu=9 is not between"),
        ("tap,speed=9", "'speed=9' is none of"),
        ("tap:lo", "it is another interface's name"),
    ],
)
def test_bad_networks(net: str, said: str) -> None:
    """Each says what is wrong with it, before anything starts."""
    with pytest.raises((ValueError, OSError, DeviceError), match=said):
        plan([Net.parse(net)])


def test_a_descriptor_that_is_no_network() -> None:
    """A file that was inherited is neither a TAP device nor a socket."""
    with (
        open(os.devnull) as file,
        pytest.raises(ValueError, match="neither a socket nor a TAP device"),
    ):
        plan([Net.parse(f"fd:{file.fileno()}")])


@pytest.mark.parametrize("port", ["8080:0", "0:80"])
def test_a_port_that_is_none(port: str) -> None:
    """Port 0 is nobody's: who asks for it gets no network that he could not use."""
    with pytest.raises(ValueError, match="0 is not a port"):
        plan([Net.parse("user")], [port])


def test_what_goes_together(tmp_path: Path) -> None:
    """Ports are of the user-mode network, captures of one."""
    with pytest.raises(ValueError, match="no network that could be captured"):
        plan([Net.parse("none")], pcap=str(tmp_path / "pcap"))
    with pytest.raises(ValueError, match="user-mode network"):
        plan([Net.parse("none")], ["8080:80"])


def test_vde(on_kernel: OnKernel, tmp_path: Path) -> None:
    """Two kernels at one switch; its port is given back."""
    path = tmp_path / "switch"
    switch = [installed("vde_switch"), "-s", str(path), "-M", str(tmp_path / "console")]
    with subprocess.Popen(switch, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        try:
            assert wait_until(lambda: listens(path / "ctl"))
            server = ["/usr/bin/python3", "-m", "http.server", "-d", "/etc", "80"]
            with on_kernel.start("--net", f"vde:{path},ip=192.0.2.1/24", program=server):
                retry = ["--retry-all-errors", "--retry", "40", "--retry-delay", "1"]
                curl = ["curl", "-s", *retry, "http://192.0.2.1/passwd"]
                net = f"vde:{path}/ctl,ip=192.0.2.2/24,mac=02-00-00-00-00-02"
                assert on_kernel.run("--net", net, program=curl).stdout == PASSWD
                assert not list(path.glob(".rumpel*"))
        finally:
            process.terminate()


def test_not_a_switch(on_kernel: OnKernel, tmp_path: Path) -> None:
    """What listens there and hangs up is an error at once."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=lambda: listener.accept()[0].close())
        thread.start()
        done = on_kernel.run("--net", f"vde:{path}", program=["echo", "started"])
        thread.join()
    assert done.stderr == f"rumpel: {path}: this is no VDE switch\n"
    assert (done.stdout, done.returncode) == ("", 1)


def test_a_wire_with_nobody(on_kernel: OnKernel, tmp_path: Path) -> None:
    """What a program sends is in the capture, and nothing answers."""
    capture = tmp_path / "pcap"
    script = "ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev eth0; "
    script += "seq 1000 | while read n; do echo $n; done | nc -u -q 0 192.0.2.9 9"
    net = f"pcap:{capture},ip=192.0.2.1/24,gw=192.0.2.7"
    done = on_kernel.run("--net", net, program=["sh", "-c", script + "; ping -qc1 -W1 192.0.2.8"])
    assert "1 packets transmitted, 0 received" in done.stdout, done.stderr
    assert wait_until(on_kernel.is_over)
    packets = run(["tcpdump", "-ttenr", str(capture)]).stdout
    assert abs(float(packets.split()[0]) - time.time()) < 3600, "its times are the host's"
    assert "02:00:00:00:00:09" in packets
    assert "> 192.0.2.9.9: UDP" in packets
    assert "who-has 192.0.2.8 tell 192.0.2.1" in packets


def test_a_capture_that_cannot_be_written(on_kernel: OnKernel) -> None:
    """A full disk costs the capture, and nothing else."""
    done = on_kernel.run("--net", "pcap:/dev/full", program=["echo", "started"])
    assert (done.stdout, done.stderr) == ("started\n", "")


def test_a_tap_that_is_not_ours(on_kernel: OnKernel, lab: Lab) -> None:
    """No permission, or somebody has it: one line, and the program does not start."""
    lab.run("ip", "tuntap", "add", "mode", "tap", "user", "12345", "tap1", check=True)
    program = on_kernel.arguments("--net", "tap:tap1", program=["echo", "started"])
    powerless = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]
    done = run(lab.inside([*powerless, *program]), env=on_kernel.environment)
    assert done.stderr == "rumpel: tap1: Operation not permitted\n"
    assert (done.stdout, done.returncode) == ("", 1)
    program = on_kernel.arguments(*lab.net, program=["echo", "started"])
    held = on_kernel.arguments(*lab.net, program=["sh", "-c", "echo has it; read -r line"])
    with subprocess.Popen(
        lab.inside(held), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=on_kernel.environment
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"has it\n"
        done = run(lab.inside(program), env=on_kernel.environment)
        assert done.stderr == "rumpel: tap0: Device or resource busy\n"
        assert (done.stdout, done.returncode) == ("", 1)
        process.communicate(b"\n", timeout=60)


def test_as_many_networks_as_there_can_be(on_kernel: OnKernel, tmp_path: Path) -> None:
    """Each with several addresses, and a capture: all have their descriptors; one more has none."""
    with ExitStack() as stack:
        nets: list[str] = []
        fds: list[int] = []
        for n in range(DEVICES + 1):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            stack.enter_context(ours)
            stack.enter_context(theirs)
            fds.append(theirs.fileno())
            addresses = f"ip=10.{n}.0.1/24,ip=10.{n}.0.2/24,ip=2001:db8:{n + 1}::1/64"
            nets += ["--net", f"fd:{fds[-1]},{addresses}"]
        most = [*nets[:-2], "--pcap", str(tmp_path / "pcap")]
        done = on_kernel.run(*most, program=["ip", "-o", "addr"], pass_fds=fds)
        for n in range(DEVICES):
            for address in (f"10.{n}.0.1/24", f"10.{n}.0.2/24", f"2001:db8:{n + 1}::1/64"):
                assert f" {address} " in done.stdout, done.stdout + done.stderr
        done = on_kernel.run(*nets, program=["echo", "started"], pass_fds=fds)
    assert done.stderr == "rumpel: 25 networks and images are too many: 24 at most\n"
    assert (done.stdout, done.returncode) == ("", 1)


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        ("9.9", "9.9"),
        ("/etc/passwd", "no kernel: "),
        ("/etc", "no kernel: /etc: "),
    ],
)
def test_kernels_that_are_none(on_kernel: OnKernel, kernel: str, said: str) -> None:
    """A version that does not exist, a file that is no image, a directory."""
    on_kernel.image = kernel
    done = on_kernel.run("--net", "none", program=["echo", "started"])
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert (done.stdout, done.returncode) == ("", 1)


def test_a_bad_network_is_one_line(on_kernel: OnKernel) -> None:
    done = on_kernel.run("--net", "unix:/no/such", program=["echo", "started"])
    assert done.stderr == "rumpel: /no/such: No such file or directory\n"
    assert (done.stdout, done.returncode) == ("", 1)


def test_no_image(on_kernel: OnKernel) -> None:
    on_kernel.image = "/no/such.so"
    done = on_kernel.run("--net", "none", program=["echo", "started"])
    assert done.stderr == "rumpel: no kernel: /no/such.so: No such file or directory\n"
    assert (done.stdout, done.returncode) == ("", 1)


def test_no_program(on_kernel: OnKernel) -> None:
    done = on_kernel.run("--net", "none", program=["/no/such"])
    assert done.returncode == 127
    assert os.fspath("/no/such") in done.stderr


SERVER = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("0.0.0.0", 80))
server.listen()
print("ready", flush=True)
peer, _ = server.accept()
total = 0
while data := peer.recv(1 << 16):
    total += len(data)
peer.sendall(b"%d" % total)
peer.close()
"""

CLIENT = """
import socket, sys
server = socket.create_connection(("192.0.2.1", 80))
block = bytes(100_000)
for i in range(30):
    server.sendall(block)
print("sending", flush=True)
sys.stdin.readline()
for i in range(30):
    server.sendall(block)
server.shutdown(socket.SHUT_WR)
print(server.recv(100).decode())
"""


def test_mptcp_goes_on_without_a_path(on_kernel: OnKernel, lab: Lab) -> None:
    """An unmodified client has two; one is cut in the middle of a transfer."""
    if not Path("/proc/sys/net/mptcp/enabled").exists():
        pytest.skip("the host, which is the server here, has no MPTCP")
    for command in (
        "ip tuntap add mode tap tap1",
        "ip addr add 198.51.100.1/24 dev tap1",
        "ip link set tap1 up",
        "ip mptcp limits set subflow 2 add_addr_accepted 2",
        "ip mptcp endpoint add 198.51.100.1 dev tap1 signal",
    ):
        subprocess.run(lab.inside(command.split()), check=True)
    client = ["python3", "-c", CLIENT]
    script = 'ip mptcp limits set subflow 2 add_addr_accepted 2; exec "$@"'
    inside = lab.inside(
        on_kernel.arguments(
            *("--net", "tap:tap0,ip=192.0.2.2/24", "--net", "tap:tap1,ip=198.51.100.2/24"),
            *("--mptcp", "--name", "paths"),
            program=["sh", "-c", script, "sh", *client],
        )
    )
    with (
        subprocess.Popen(
            lab.inside(["/usr/bin/python3", "-c", SERVER]), stdout=subprocess.PIPE
        ) as server,
        subprocess.Popen(
            inside, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=on_kernel.environment
        ) as process,
    ):
        try:
            assert server.stdout
            assert process.stdout
            assert server.stdout.readline() == b"ready\n"
            assert process.stdout.readline() == b"sending\n"

            def listed(*options: str) -> str:
                ss = [*CLI, "exec", "paths", "--", "ss", *options]
                return run(ss, env=on_kernel.environment).stdout

            # It is made when the server has told of its other address.
            assert wait_until(lambda: "198.51.100.1:80" in listed("-Htin", "dst", "198.51.100.1"))
            assert wait_until(lambda: "subflows:1" in listed("-HMin")), "beside the first"
            assert "192.0.2.1:80" in listed("-HMin")
            subprocess.run(lab.inside(["ip", "link", "set", "tap0", "down"]), check=True)
            assert process.communicate(b"\n", timeout=60)[0] == b"6000000\n"
        finally:
            process.kill()
            server.kill()
