# SPDX-License-Identifier: GPL-2.0-only
"""Servers of many kinds on a library kernel and their clients on the host's stack, and the reverse.

All are Debian's, unmodified; between them is a TAP device.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run.across import Across, across
from tests.run.conftest import OnKernel, installed

__all__ = ["across"]

pytestmark = pytest.mark.kernel


def test_redis(across: Across) -> None:
    """Plain, pipelined, and from several threads; the benchmark is here, then there."""
    bench = "-n 2000 -t set,get -q"
    script = f"""
        count() {{ tr '\\r' '\\n' | grep -c "requests per"; }}
        serve="{installed("redis-server")} --port 6379 --bind 0.0.0.0 --protected-mode no"
        k $serve --save "" >/dev/null & server=$!
        up $kernel 6379
        for more in "" "-P 16" "--threads 2"; do
            redis-benchmark -h $kernel {bench} $more | count
        done
        redis-cli -h $kernel set key value; redis-cli -h $kernel get key
        over $server
        $serve --save "" >/dev/null & server=$!
        up $host 6379
        k sh -c 'for more in "" "-P 16" "--threads 2"; do
            redis-benchmark -h $0 {bench} $more; done' $host | count
        over $server
    """
    done = across.sh(script)
    assert done.stdout.split() == ["2", "2", "2", "OK", "value", "6"], done.stderr


def test_memcached(across: Across) -> None:
    """Netcat asks it, from either side."""
    script = f"""
        serve="{installed("memcached")} -u root -p 11211 -t 2"
        ask() {{ printf 'set a 0 0 5\\r\\nhello\\r\\nget a\\r\\nquit\\r\\n' | "$@"; }}
        k $serve & server=$!
        up $kernel 11211
        ask {installed("nc")} $kernel 11211
        over $server
        $serve & server=$!
        up $host 11211
        ask k nc $host 11211
        over $server
    """
    done = across.sh(script)
    assert done.stdout == "STORED\nVALUE a 0 5\nhello\nEND\n" * 2, done.stderr


def test_socat_and_netcat(across: Across) -> None:
    """A relay between kernels: a unix socket is the host's, TCP the library kernel's.

    One that has heard the end from one side waits for the other's, not for half a second only.
    """
    script = f"""
        {installed("socat")} -t 60 TCP-LISTEN:80,fork,reuseaddr EXEC:cat & server=$!
        up $host 80
        k socat -t 60 UNIX-LISTEN:$PWD/relay TCP:$host:80 & relay=$!
        until echo out | socat -t 60 - UNIX-CONNECT:$PWD/relay 2>/dev/null; do sleep 0.05; done
        wait $relay || true
        k socat -t 60 TCP-LISTEN:80,fork,reuseaddr EXEC:cat & relay=$!
        up $kernel 80
        echo in | socat -t 60 - TCP:$kernel:80
        over $relay $server
        k nc -l 81 >got & server=$!
        until echo listened | nc -N $kernel 81; do sleep 0.05; done
        wait $server; cat got
    """
    done = across.sh(script)
    assert done.stdout == "out\nin\nlistened\n", done.stderr


def test_postgresql(across: Across) -> None:
    """A process for each connection, shared memory, and a user that is not root; then pgbench."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert programs, "postgresql is missing, see apt.txt"
    script = f"""
        export LC_ALL=C; data=$(mktemp -d); cd /; chown postgres $data
        bin={programs[-1]} as="setpriv --reuid=postgres --regid=postgres --clear-groups"
        $as $bin/initdb -N -A trust -U postgres -D $data/d >/dev/null
        echo "host all all 192.0.2.0/24 trust" >>$data/d/pg_hba.conf
        serve="$as $bin/postgres -D $data/d -h 0.0.0.0 -c fsync=off -c shared_buffers=16MB"
        export PGUSER=postgres PGDATABASE=postgres
        bench="$bin/pgbench -n -c 4 -t 20"
        export PGHOST=$kernel
        k $serve -k "" >/dev/null 2>&1 & server=$!
        until $bin/psql -Atc 'select 6*7' 2>/dev/null; do sleep 0.1; done
        $bin/pgbench -i -q 2>/dev/null
        $bench 2>/dev/null | grep processed
        kill -INT $server; wait $server
        export PGHOST=$host
        $serve -k "" >/dev/null 2>&1 & server=$!
        until $bin/psql -Atc 'select 6*7' 2>/dev/null; do sleep 0.1; done
        k $bench 2>/dev/null | grep processed
        kill -INT $server; wait $server; rm -r $data
    """
    done = across.sh(script, timeout=150)
    said = "42\nnumber of transactions actually processed: 80/80\n"
    assert done.stdout == said * 2, done.stderr


def test_ssh(across: Across) -> None:
    """A login that runs a command: a server that changes its identity, and executes itself."""
    sshd = installed("sshd")
    script = f"""
        mkdir -p /run/sshd
        for key in host user; do ssh-keygen -q -t ed25519 -N "" -f $key; done
        cp user.pub authorized
        serve="{sshd} -D -f /dev/null -h $PWD/host -o Port=2222 -o UsePAM=no \
            -o AuthorizedKeysFile=$PWD/authorized -o StrictModes=no -o PidFile=none"
        login="ssh -F none -i user -p 2222 -o StrictHostKeyChecking=no -o LogLevel=ERROR \
            -o UserKnownHostsFile=/dev/null"
        k $serve 2>log & server=$!
        up $kernel 2222
        $login root@$kernel 'echo login; exit 3' || echo $?
        over $server
        $serve 2>log & server=$!
        up $host 2222
        k $login root@$host 'echo back; exit 4' || echo $?
        over $server
    """
    done = across.sh(script)
    assert done.stdout == "login\n3\nback\n4\n", done.stderr


def test_dnsmasq(across: Across) -> None:
    """Questions by UDP and by TCP, from either side."""
    installed("dig")
    script = f"""
        serve="{installed("dnsmasq")} -k -u root -z -R -h --pid-file= \
            --address=/name.test/192.0.2.7"
        ask='dig +short +timeout=20 @$0 name.test; dig +short +timeout=20 +tcp @$0 name.test'
        k $serve & server=$!
        up $kernel 53
        sh -c "$ask" $kernel
        over $server
        $serve & server=$!
        up $host 53
        k sh -c "$ask" $host
        over $server
    """
    done = across.sh(script)
    assert done.stdout == "192.0.2.7\n" * 4, done.stderr


def test_mosquitto(across: Across) -> None:
    """A message that is kept for who comes later, on either side."""
    script = f"""
        printf 'listener 1883\\nallow_anonymous true\\n' >conf
        k {installed("mosquitto")} -c conf >/dev/null 2>&1 & server=$!
        up $kernel 1883
        mosquitto_pub -h $kernel -r -t topic -m message
        mosquitto_sub -h $kernel -t topic -C 1 -W 60
        over $server
        mosquitto -c conf >/dev/null 2>&1 & server=$!
        up $host 1883
        k sh -c 'mosquitto_pub -h $0 -r -t topic -m back
            mosquitto_sub -h $0 -t topic -C 1 -W 60' $host
        over $server
    """
    done = across.sh(script)
    assert done.stdout == "message\nback\n", done.stderr


def test_chrony(across: Across) -> None:
    """A client that asks a server for the time: either is on the library kernel once."""
    script = f"""
        dir=$PWD
        printf 'local\\nallow\\ncmdport 0\\npidfile %s/a\\n' $dir >conf
        serve="{installed("chronyd")} -d -x -U -f $dir/conf"
        ask() {{ chronyd -U -Q -t 60 "server $1 iburst maxsamples 1" 'cmdport 0' \
            "pidfile $dir/b" 2>&1 | grep -o "System clock wrong by"; }}
        # Who is asked before it listens is not asked again for a minute.
        listens='until ss -Hlun | grep -q ":123 "; do sleep 0.05; done'
        $serve >log 2>&1 & server=$!
        bash -c "$listens"
        k bash -c "$(declare -f ask); dir=$dir; ask $host"
        over $server
        k $serve >log 2>&1 & server=$!
        until also bash -c "$listens" 2>/dev/null; do sleep 0.05; done  # there may be no kernel yet
        ask $kernel
        over $server
    """
    done = across.sh(script)
    assert done.stdout == "System clock wrong by\n" * 2, done.stderr


TOOLS = {
    "ping": ("ping -qc 2 -i 0.1 -w 60 $host", "2 received"),
    "ss": ("exec 4<>/dev/tcp/$host/80; ss -Htn; exec 4>&-", "192.0.2.1:80"),
    "ip": ("ip -br addr show eth0; ip neigh show dev eth0", "192.0.2.1 lladdr"),
    "sysctl": ("sysctl -qw net.ipv4.ip_forward=1; cat /proc/sys/net/ipv4/ip_forward", "1"),
    "nft": (
        "nft add table inet t; nft 'add chain inet t c { type filter hook input priority 0; }';"
        "nft add rule inet t c icmp type echo-reply counter; ping -qc 1 $host >/dev/null;"
        "nft list ruleset",
        "packets 1",
    ),
    "tc": (
        "tc qdisc add dev eth0 root netem delay 7ms; ping -qc 1 $host >/dev/null;"
        "tc -s qdisc show dev eth0; tc qdisc del dev eth0 root",
        "netem",
    ),
    "tcpdump": (
        "tcpdump -i eth0 -c 1 -n 'icmp[icmptype] == icmp-echo' 2>/dev/null & capture=$!;"
        "while kill -0 $capture 2>/dev/null; do ping -c 1 -W 1 $host >/dev/null; done; wait",
        "192.0.2.2 > 192.0.2.1: ICMP echo request",
    ),
    "ethtool": ("ethtool -i eth0", "driver: virtio_net"),
}
"""What each is told, and says of the interface that the TAP device is plugged into."""


def test_tools(across: Across, tmp_path: Path) -> None:
    """The standard ones are about the library kernel's interfaces, and what goes through them."""
    tools = "".join(f"echo '== {name}'\n{script}\n" for name, (script, _) in TOOLS.items())
    (tmp_path / "tools").write_text(tools)
    script = f"""
        {installed("busybox")} httpd -f -p $host:80 & server=$!
        up $host 80
        export host
        k bash tools
        over $server
    """
    for name in TOOLS:
        installed(name)
    done = across.sh(script)
    said = dict(part.split("\n", 1) for part in done.stdout.split("== ")[1:])
    assert list(said) == list(TOOLS), done.stdout + done.stderr
    for name, (_, expected) in TOOLS.items():
        assert expected in said[name], said[name] + done.stderr


def test_mptcp(on_kernel: OnKernel) -> None:
    """Programs that know nothing of it speak it; no host is needed that does."""
    script = """
        /usr/bin/python3 -m http.server -b 127.0.0.1 80 >/dev/null 2>&1 & server=$!
        up 80; exec 4<>/dev/tcp/127.0.0.1/80
        ss -HnM state established | grep -c 127.0.0.1:80
        over $server
    """
    done = on_kernel.sh(script, "--net", "none", "--mptcp")
    assert int(done.stdout) >= 1, done.stderr
