# SPDX-License-Identifier: GPL-2.0-only
"""Web servers and clients, unmodified: one on a library kernel, its peer on the host's stack.

Between them is a TAP device. Most are on either side once.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.run.across import HOST, KERNEL, Across, across
from tests.run.conftest import installed
from tests.run.test_servers import NGINX

__all__ = ["across"]

pytestmark = [pytest.mark.kernel, pytest.mark.once]

SERVED = "/etc/passwd"


def nginx_conf(directory: Path, host: str, behind: str) -> Path:
    """Two workers that serve files at port 80, and proxy another server's at port 81."""
    directory.mkdir()
    (directory / "file").write_bytes(bytes(range(256)) * 4096)
    (directory / "small").write_bytes(os.urandom(1 << 10))
    conf = directory / "conf"
    words = {"dir": directory, "files": 80, "proxy": 81, "user": "user root;"}
    conf.write_text(NGINX.format(host=host, behind=behind, **words))
    return conf


def test_nginx(across: Across, tmp_path: Path) -> None:
    """Two workers, files, and a proxy for a server on the host, under curl, ab and wrk.

    Of these ab and wrk are on the library kernel, too, at the same time: with the host's server.
    """
    there = nginx_conf(tmp_path / "there", KERNEL, HOST)
    here = nginx_conf(tmp_path / "here", HOST, HOST)
    installed("wrk")
    script = f"""
        {installed("nginx")} -c {here} & behind=$!
        k nginx -c {there} & server=$!
        up $host 80
        up $kernel 81
        for port in 80 81; do curl -s http://$kernel:$port/file | cmp - {here.parent}/file; done
        for keep in "" -k; do
            {installed("ab")} -q $keep -n 400 -c 8 http://$kernel/small | grep -E "Compl|Failed"
        done
        also ab -q -n 400 -c 8 http://$host/small | grep -E "Compl|Failed"
        # On a busy machine a second may be too short for a single answer.
        load() {{
            for seconds in 1 5 25; do
                wrk -t 1 -c 16 -d $seconds --timeout 60 $1 >$2
                grep -q " 0 requests in" $2 || break
            done
        }}
        also bash -c "$(declare -f load); load http://$host/small wrk-there" & client=$!
        load http://$kernel:81/file wrk-here
        wait $client
        kill -QUIT $server $behind; wait $server $behind; echo end
    """
    done = across.sh(script)
    assert (
        done.stdout.split() == ("Complete requests: 400 Failed requests: 0 " * 3 + "end").split()
    ), done.stderr
    for name in ("wrk-here", "wrk-there"):
        said = (tmp_path / name).read_text()
        assert "requests in" in said
        assert " 0 requests in" not in said
        assert "rrors" not in said, said


TLS = """
import http.server, ssl
server = http.server.ThreadingHTTPServer(("", 443), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert", "key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


def test_tls(across: Across, tmp_path: Path) -> None:
    """OpenSSL on both sides: Python's server, curl; and wget, which has GnuTLS."""
    (tmp_path / "server.py").write_text(TLS)
    script = f"""
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key \
            -out cert -days 2 -subj /CN=localhost \
            -addext subjectAltName=IP:$host,IP:$kernel 2>/dev/null
        get() {{
            curl -s --cacert cert https://$1/cert | cmp - cert && echo curl
            {installed("wget")} -q --ca-certificate=cert -O - https://$1/cert | cmp - cert &&
                echo wget
        }}
        /usr/bin/python3 server.py 2>/dev/null & server=$!
        k /usr/bin/python3 server.py 2>/dev/null & there=$!
        up $host 443
        up $kernel 443
        get $kernel
        also bash -c "$(declare -f get); get $host"
        over $server $there
    """
    done = across.sh(script)
    assert done.stdout.split() == ["curl", "wget"] * 2, done.stderr


BOTH = """
    { $program $host $kernel >here || true; touch over; } & here=$!
    k sh -c '"$@"; until [ -e over ]; do sleep 0.02; done' - $program $kernel $host >there
    wait $here
    cat here there
"""
"""A program that is a server and the other's client is on either side.

What it sent last is lost with its kernel, unless that waits until the other has it.
"""

AIOHTTP = """
import asyncio, sys
from aiohttp import ClientConnectionError, ClientSession, web

async def main(own, other):
    app = web.Application()
    served = asyncio.Semaphore(0)
    async def hello(request):
        served.release()
        return web.Response(text=request.path)
    app.router.add_get("/{name}", hello)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, own, 80).start()
    async with ClientSession() as session:
        async def one(i):
            while True:
                try:
                    async with session.get(f"http://{other}/{i}") as answer:
                        return await answer.text()
                except ClientConnectionError:
                    await asyncio.sleep(0.05)
        texts = await asyncio.gather(*(one(i) for i in range(30)))
    for _ in range(30):
        await served.acquire()
    await runner.cleanup()
    print(texts == [f"/{i}" for i in range(30)])

asyncio.run(main(*sys.argv[1:]))
"""


def test_aiohttp(across: Across, tmp_path: Path) -> None:
    """An event loop with server and clients, in Debian's Python."""
    if subprocess.run(["/usr/bin/python3", "-c", "import aiohttp"], check=False).returncode:
        pytest.fail("python3-aiohttp is missing, see apt.txt")
    (tmp_path / "both.py").write_text(AIOHTTP)
    done = across.sh('program="/usr/bin/python3 both.py"' + BOTH)
    assert done.stdout == "True\nTrue\n", done.stderr


NODE = """
const http = require('http');
const [own, other] = process.argv.slice(2);
let asked = 0, served = 0;
const end = () => {
  if (asked == 20 && served == 20) { console.log('ok'); process.exit(0); }
};
const server = http.createServer((request, answer) => {
  answer.on('finish', () => { served++; setTimeout(end, 100); });
  answer.end(request.url);
});
const get = path => http.get(`http://${other}/${path}`, answer => {
  answer.resume();
  answer.on('end', () => { asked++; setTimeout(end, 100); });
}).on('error', () => setTimeout(get, 50, path));
server.listen(80, own, () => {
  for (let i = 0; i < 20; i++)
    get(i);
});
"""


def test_node(across: Across, tmp_path: Path) -> None:
    """Twenty requests each way."""
    (tmp_path / "both.js").write_text(NODE)
    done = across.sh(f'program="{installed("node")} both.js"' + BOTH)
    assert done.stdout == "ok\nok\n", done.stderr


def test_go(across: Across, tmp_path: Path) -> None:
    """A static program of another language: goroutines, a server, clients."""
    source = Path(__file__).parent / "programs/http.go"
    environment = os.environ | {"CGO_ENABLED": "0"}
    build = [installed("go"), "build", "-o", str(tmp_path / "both"), str(source)]
    subprocess.run(build, check=True, env=environment, timeout=180)
    done = across.sh("program=./both" + BOTH)
    assert done.stdout.count("ok\n") == 2, done.stdout + done.stderr


def test_busybox(across: Across) -> None:
    """Its server and client, in one static program."""
    busybox = installed("busybox")
    script = f"""
        get() {{ {busybox} wget -q -O - http://$1/passwd | cmp - {SERVED} && echo same; }}
        k {busybox} httpd -f -p 80 -h /etc & there=$!
        {busybox} httpd -f -p 80 -h /etc & here=$!
        up $host 80
        up $kernel 80
        get $kernel
        also bash -c "$(declare -f get); get $host"
        over $there $here
    """
    assert across.sh(script).stdout == "same\nsame\n"


def test_git(across: Across) -> None:
    """A clone over http; from Python's server, here and there."""
    script = f"""
        export GIT_AUTHOR_NAME=n GIT_AUTHOR_EMAIL=e GIT_COMMITTER_NAME=n GIT_COMMITTER_EMAIL=e
        {installed("git")} init -q -b main work
        (cd work; echo text >file; git add file; git commit -qm message)
        git clone -q --bare work bare; (cd bare; git update-server-info)
        serve="/usr/bin/python3 -m http.server 80"
        $serve >/dev/null 2>&1 & here=$!
        k $serve >/dev/null 2>&1 & there=$!
        up $host 80
        up $kernel 80
        git clone -q http://$kernel/bare clone; cat clone/file
        also git clone -q http://$host/bare other; cat other/file
        over $here $there
    """
    done = across.sh(script)
    assert done.stdout == "text\ntext\n", done.stderr


HAPROXY = f"""
defaults
    mode http
    timeout client 20s
    timeout server 20s
    timeout connect 20s
frontend front
    bind {KERNEL}:80
    default_backend back
backend back
    server one {HOST}:81
"""


def test_haproxy(across: Across, tmp_path: Path) -> None:
    """What is behind it and who asks it are on the host."""
    (tmp_path / "conf").write_text(HAPROXY)
    script = f"""
        /usr/bin/python3 -m http.server -d /etc 81 >/dev/null 2>&1 & server=$!
        k {installed("haproxy")} -f conf & proxy=$!
        up $host 81
        up $kernel 80
        curl -s http://$kernel/passwd | cmp - {SERVED} && echo same
        over $proxy $server
    """
    done = across.sh(script)
    assert done.stdout == "same\n", done.stderr
