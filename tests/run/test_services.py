# SPDX-License-Identifier: GPL-2.0-only
"""Servers of other kinds on a library kernel, with their clients, unmodified."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.run.conftest import OnKernel, installed

pytestmark = pytest.mark.kernel


def test_redis(on_kernel: OnKernel) -> None:
    """Plain, pipelined, and from several threads."""
    installed("redis-server")
    script = """
        redis-server --port 6379 --save "" >/dev/null & server=$!
        up 6379
        for more in "" "-P 16" "--threads 2"; do
            redis-benchmark -n 2000 -t set,get -q $more | tr '\\r' '\\n' | grep -c "requests per"
        done
        redis-cli set key value; redis-cli get key
        over $server
    """
    assert on_kernel.sh(script, timeout=120).stdout.split() == ["2", "2", "2", "OK", "value"]


def test_iperf3(on_kernel: OnKernel, tmp_path: Path) -> None:
    """Client and server on one kernel, with parallel streams in both directions at a time."""
    script = f"""
        {installed("iperf3")} -s -1 >/dev/null & server=$!
        sleep 0.5
        until iperf3 -c 127.0.0.1 -t 1 -P 4 --bidir >said; do sleep 0.2; done
        grep -c "SUM.*receiver" said; tail -1 said
        wait $server
    """
    assert on_kernel.sh(script, cwd=tmp_path).stdout == "2\niperf Done.\n"


def test_memcached(on_kernel: OnKernel) -> None:
    script = f"""
        {installed("memcached")} -u root -l 127.0.0.1 -p 11211 -t 2 & server=$!
        up 11211
        printf 'set a 0 0 5\\r\\nhello\\r\\nget a\\r\\nquit\\r\\n' |
            {installed("nc")} 127.0.0.1 11211
        over $server
    """
    assert on_kernel.sh(script).stdout == "STORED\nVALUE a 0 5\nhello\nEND\n"


def test_socat(on_kernel: OnKernel) -> None:
    """A relay between kernels: a unix socket is the host's, TCP the kernel's."""
    script = f"""
        cd $(mktemp -d)
        {installed("socat")} TCP-LISTEN:80,fork,reuseaddr EXEC:cat & server=$!
        socat UNIX-LISTEN:$PWD/relay TCP:127.0.0.1:80 & relay=$!
        up 80
        until [ -S relay ]; do sleep 0.05; done
        echo hello | socat -t 5 - UNIX-CONNECT:$PWD/relay
        wait $relay || true; over $server; rm -r $PWD
    """
    assert on_kernel.sh(script).stdout == "hello\n"


def test_postgresql(on_kernel: OnKernel, tmp_path: Path) -> None:
    """A process for each connection, shared memory, and a user that is not root."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert programs, "postgresql is missing, see apt.txt"
    script = f"""
        export LC_ALL=C; data=$(mktemp -d); cd /
        {
        "chown postgres $data; as='setpriv --reuid=postgres --regid=postgres --clear-groups'"
        if os.geteuid() == 0
        else "as="
    }
        bin={programs[-1]}
        $as $bin/initdb -N -A trust -U postgres -D $data/d >/dev/null
        $as $bin/postgres -D $data/d -h 127.0.0.1 -k "" -c fsync=off -c shared_buffers=16MB \
            >/dev/null 2>&1 & server=$!
        export PGHOST=127.0.0.1 PGUSER=postgres PGDATABASE=postgres
        until $bin/psql -Atc 'select 6*7' 2>/dev/null; do sleep 0.2; done
        $bin/pgbench -i -q 2>/dev/null
        $bin/pgbench -n -c 4 -t 20 2>/dev/null | grep processed
        kill -INT $server; wait $server; rm -r $data
    """
    done = on_kernel.sh(script, timeout=150)
    assert done.stdout == "42\nnumber of transactions actually processed: 80/80\n", done.stderr


def test_ssh(on_kernel: OnKernel) -> None:
    """A login that runs a command: a server that changes its identity, and executes itself."""
    sshd = installed("sshd")
    script = f"""
        cd $(mktemp -d); mkdir -p /run/sshd
        for key in host user; do ssh-keygen -q -t ed25519 -N "" -f $key; done
        cp user.pub authorized
        {sshd} -D -f /dev/null -h $PWD/host -o Port=2222 -o ListenAddress=127.0.0.1 -o UsePAM=no \
            -o AuthorizedKeysFile=$PWD/authorized -o StrictModes=no -o PidFile=none \
            2>log & server=$!
        up 2222
        ssh -F none -i user -p 2222 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
            -o LogLevel=ERROR "$(id -un)@127.0.0.1" 'echo login; exit 3' || echo $?
        over $server; rm -r $PWD
    """
    if os.geteuid():
        pytest.skip("sshd wants root")
    assert on_kernel.sh(script).stdout == "login\n3\n"


def test_dnsmasq(on_kernel: OnKernel) -> None:
    """Questions by UDP and by TCP."""
    script = f"""
        {installed("dnsmasq")} -k -u root -a 127.0.0.1 -z -R -h --address=/name.test/192.0.2.7 \
            --pid-file= & server=$!
        up 53
        {installed("dig")} +short @127.0.0.1 name.test; dig +short +tcp @127.0.0.1 name.test
        over $server
    """
    assert on_kernel.sh(script).stdout == "192.0.2.7\n192.0.2.7\n"


def test_mosquitto(on_kernel: OnKernel) -> None:
    """A message that is kept for who comes later."""
    script = f"""
        {installed("mosquitto")} -p 1883 >/dev/null 2>&1 & server=$!
        up 1883
        mosquitto_pub -r -t topic -m message; mosquitto_sub -t topic -C 1 -W 20
        over $server
    """
    assert on_kernel.sh(script).stdout == "message\n"


def test_chrony(on_kernel: OnKernel) -> None:
    """A client that asks a server for the time."""
    script = f"""
        dir=$(mktemp -d); cd $dir
        printf 'local\\nallow\\nbindaddress 127.0.0.1\\ncmdport 0\\npidfile %s/a\\n' $dir >conf
        {installed("chronyd")} -d -x -U -f $dir/conf >log 2>&1 & server=$!
        chronyd -U -Q -t 20 'server 127.0.0.1 iburst maxsamples 1' \
            'cmdport 0' "pidfile $dir/b" 2>&1 |
            grep -o "System clock wrong by"
        over $server; rm -r $dir
    """
    assert on_kernel.sh(script).stdout == "System clock wrong by\n"


TOOLS = {
    "ss": (
        "nc -kl 127.0.0.1 5000 & up 5000; ss -Hltn | grep -o 127.0.0.1:5000; over $!",
        "127.0.0.1:5000",
    ),
    "ip": (
        "ip link add d0 type dummy; ip addr add 192.0.2.9/24 dev d0; ip -br addr show d0",
        "192.0.2.9/24",
    ),
    "tc": ("tc qdisc add dev lo root netem delay 7ms; tc qdisc show dev lo", "netem"),
    "nft": (
        "nft add table inet t; nft 'add chain inet t c { type filter hook input priority 0; }';"
        "nft add rule inet t c icmp type echo-request counter; ping -qc 1 127.0.0.1 >/dev/null;"
        "nft list ruleset",
        "packets 1",
    ),
    "sysctl": ("sysctl -qw net.ipv4.ip_forward=1; cat /proc/sys/net/ipv4/ip_forward", "1"),
    "ethtool": ("ip link add d0 type dummy; ethtool -i d0", "driver: dummy"),
    "tcpdump": (
        "tcpdump -i lo -c 1 -n icmp 2>/dev/null & capture=$!;"
        "while kill -0 $capture 2>/dev/null; do ping -c 1 127.0.0.1 >/dev/null; done; wait",
        "ICMP echo request",
    ),
    "ping": ("ping -c 1 127.0.0.1", "1 received"),
}


@pytest.mark.parametrize("name", TOOLS)
def test_tools(on_kernel: OnKernel, name: str) -> None:
    """The standard ones are about the library kernel's interfaces."""
    script, said = TOOLS[name]
    installed(name)
    done = on_kernel.sh(script)
    assert said in done.stdout, done.stdout + done.stderr


def test_mptcp(on_kernel: OnKernel) -> None:
    """Programs that know nothing of it speak it."""
    script = """
        /usr/bin/python3 -m http.server -b 127.0.0.1 80 >/dev/null 2>&1 & server=$!
        up 80; exec 4<>/dev/tcp/127.0.0.1/80
        ss -HnM state established | grep -c 127.0.0.1:80
        over $server
    """
    done = on_kernel.sh(script, "--net", "none", "--mptcp")
    assert int(done.stdout) >= 1, done.stderr
