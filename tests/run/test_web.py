# SPDX-License-Identifier: GPL-2.0-only
"""Web servers and clients on one library kernel, unmodified: what the issue's list names."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.run.conftest import OnKernel, installed
from tests.run.test_servers import NGINX

pytestmark = pytest.mark.kernel

SERVED = "/etc/passwd"


def nginx_conf(directory: Path) -> Path:
    """Two workers that serve files at port 80 and proxy them at port 81."""
    (directory / "file").write_bytes(os.urandom(1 << 20))
    (directory / "small").write_bytes(os.urandom(1 << 10))
    user = "" if os.geteuid() else "user root;"
    conf = directory / "conf"
    conf.write_text(NGINX.format(host="127.0.0.1", dir=directory, files=80, proxy=81, user=user))
    return conf


def test_nginx(on_kernel: OnKernel, tmp_path: Path) -> None:
    """Two workers, files and a proxy, under curl, ab and wrk."""
    conf = nginx_conf(tmp_path)
    script = f"""
        {installed("nginx")} -c {conf} -p {tmp_path} & server=$!
        up 81
        cd {tmp_path}
        for port in 80 81; do curl -s http://127.0.0.1:$port/file | cmp - file; done
        {installed("ab")} -q -n 400 -c 8 http://127.0.0.1/small | grep -E "Complete|Failed"
        {installed("ab")} -q -k -n 400 -c 8 http://127.0.0.1/small | grep -E "Complete|Failed"
        {installed("wrk")} -t 1 -c 16 -d 1 http://127.0.0.1:81/file >wrk
        kill -QUIT $server; wait $server; echo end
    """
    done = on_kernel.sh(script, timeout=120)
    assert (
        done.stdout.split() == ("Complete requests: 400 Failed requests: 0 " * 2 + "end").split()
    ), done.stderr
    assert "requests in" in (tmp_path / "wrk").read_text()
    assert "rrors" not in (tmp_path / "wrk").read_text()


def test_tls(on_kernel: OnKernel, tmp_path: Path) -> None:
    """OpenSSL on both sides: Python's server, curl and wget."""
    program = """
import http.server, ssl
server = http.server.ThreadingHTTPServer(
    ("127.0.0.1", 443), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert", "key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
    (tmp_path / "server.py").write_text(program)
    script = f"""
        cd {tmp_path}
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key \
            -out cert -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 2>/dev/null
        /usr/bin/python3 server.py 2>/dev/null & server=$!
        up 443
        curl -s --cacert cert https://127.0.0.1/cert | cmp - cert && echo curl
        {installed("wget")} -q --ca-certificate=cert -O - https://127.0.0.1/cert | cmp - cert
        echo wget
        over $server
    """
    done = on_kernel.sh(script)
    assert done.stdout.split() == ["curl", "wget"], done.stderr


AIOHTTP = """
import asyncio
from aiohttp import ClientSession, web

async def main():
    app = web.Application()
    async def hello(request):
        return web.Response(text=request.path)
    app.router.add_get("/{name}", hello)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 80).start()
    async with ClientSession() as session:
        async def one(i):
            async with session.get(f"http://127.0.0.1/{i}") as answer:
                return await answer.text()
        texts = await asyncio.gather(*(one(i) for i in range(30)))
    await runner.cleanup()
    print(texts == [f"/{i}" for i in range(30)])

asyncio.run(main())
"""


def test_aiohttp(on_kernel: OnKernel) -> None:
    """An event loop with server and clients, in Debian's Python."""
    if subprocess.run(["/usr/bin/python3", "-c", "import aiohttp"], check=False).returncode:
        pytest.fail("python3-aiohttp is missing, see apt.txt")
    done = on_kernel.run("--net", "none", program=["/usr/bin/python3", "-c", AIOHTTP])
    assert done.stdout == "True\n", done.stderr


NODE = """
const http = require('http');
let ended = 0;
const server = http.createServer((request, answer) => answer.end(request.url));
server.listen(80, '127.0.0.1', () => {
  for (let i = 0; i < 20; i++)
    http.get('http://127.0.0.1/' + i, answer => {
      answer.resume();
      answer.on('end', () => { if (++ended == 20) { console.log('ok'); process.exit(0); } });
    });
});
"""


def test_node(on_kernel: OnKernel) -> None:
    done = on_kernel.run("--net", "none", program=[installed("node"), "-e", NODE])
    assert done.stdout == "ok\n", done.stderr


def test_go(on_kernel: OnKernel, tmp_path: Path) -> None:
    """A static program of another language: goroutines, a server, clients."""
    source = Path(__file__).parent / "programs/http.go"
    binary = tmp_path / "http"
    environment = os.environ | {"CGO_ENABLED": "0"}
    build = [installed("go"), "build", "-o", str(binary), str(source)]
    subprocess.run(build, check=True, env=environment, timeout=180)
    done = on_kernel.run("--net", "none", program=[str(binary)])
    assert done.stdout.endswith("ok\n"), done.stderr


def test_busybox(on_kernel: OnKernel) -> None:
    """Its server and client, in one static program."""
    busybox = installed("busybox")
    script = f"""
        {busybox} httpd -f -p 127.0.0.1:80 -h /etc & server=$!
        up 80
        {busybox} wget -q -O - http://127.0.0.1/passwd | cmp - {SERVED} && echo same
        over $server
    """
    assert on_kernel.sh(script).stdout == "same\n"


def test_git(on_kernel: OnKernel, tmp_path: Path) -> None:
    """A clone over http."""
    script = f"""
        cd {tmp_path}
        export GIT_AUTHOR_NAME=n GIT_AUTHOR_EMAIL=e GIT_COMMITTER_NAME=n GIT_COMMITTER_EMAIL=e
        {installed("git")} init -q -b main work
        (cd work; echo text >file; git add file; git commit -qm message)
        git clone -q --bare work bare; (cd bare; git update-server-info)
        /usr/bin/python3 -m http.server -b 127.0.0.1 80 >/dev/null 2>&1 & server=$!
        up 80
        git clone -q http://127.0.0.1/bare clone; cat clone/file
        over $server
    """
    done = on_kernel.sh(script)
    assert done.stdout == "text\n", done.stderr


def test_haproxy(on_kernel: OnKernel, tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    conf.write_text(
        """
defaults
    mode http
    timeout client 20s
    timeout server 20s
    timeout connect 20s
frontend front
    bind 127.0.0.1:80
    default_backend back
backend back
    server one 127.0.0.1:81
"""
    )
    script = f"""
        /usr/bin/python3 -m http.server -d /etc -b 127.0.0.1 81 >/dev/null 2>&1 & server=$!
        up 81
        {installed("haproxy")} -f {conf} & proxy=$!
        up 80
        curl -s http://127.0.0.1/passwd | cmp - {SERVED} && echo same
        over $server $proxy
    """
    assert on_kernel.sh(script).stdout == "same\n"
