# SPDX-License-Identifier: GPL-2.0-only
"""Real programs do under the agent what they do without: output, errors and status."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.run.conftest import installed, intercepted, run, under

PYTHON = """
import asyncio, os, signal, subprocess, sys, threading, time
print(os.readlink('/proc/self/exe'), os.stat('/proc/self/exe').st_size)
print(subprocess.run(['sh', '-c', 'echo $0 | tr a-z A-Z; exit 3'], capture_output=True))
results = []
threads = [threading.Thread(target=results.append, args=(i,)) for i in range(20)]
[t.start() for t in threads]; [t.join() for t in threads]
print(sorted(results))
signal.signal(signal.SIGALRM, lambda *a: print('alarm'))
signal.setitimer(signal.ITIMER_REAL, 0.05); time.sleep(0.2)
async def main():
    p = await asyncio.create_subprocess_exec('cat', stdin=-1, stdout=-1)
    print(await p.communicate(b'through cat'), p.returncode)
    await asyncio.gather(*(asyncio.sleep(0.01) for _ in range(100)))
asyncio.run(main())
import multiprocessing
print(multiprocessing.get_context('fork').Pool(2).map(abs, [-1, -2, -3]))
print(sorted(int(fd) for fd in os.listdir('/proc/self/fd'))[:3])
os.kill(os.getpid(), signal.SIGTERM)
"""

NODE = """
const { execFileSync, spawn } = require('child_process'), http = require('http');
console.log(process.execPath, execFileSync('echo', ['hi']).toString());
const server = http.createServer((q, r) => r.end('hello ' + q.url)).listen(0, '127.0.0.1', () =>
  Promise.all([...Array(20).keys()].map(i => fetch(
    `http://127.0.0.1:${server.address().port}/${i}`).then(r => r.text()))).then(t => {
      console.log(t.join()); server.close(); server.closeAllConnections(); }));
new (require('worker_threads').Worker)('console.log("worker")', { eval: true });
process.on('SIGUSR2', () => console.log('signal'));
process.kill(process.pid, 'SIGUSR2');
"""

PROGRAMS = {
    "pipes": ["bash", "-c", "seq 1000 | grep 7 | sort -r | head -5 | (read a; echo $a; cat)"],
    "substitution": ["bash", "-c", 'x=$(echo a; exit 4); echo $? "$x" <(:) >/dev/null; exit 9'],
    "traps": [
        "bash",
        "-c",
        "trap 'echo term; exit 5' TERM; (sleep .1; kill $$) & while :; do sleep .05; done",
    ],
    "jobs": ["bash", "-c", "for i in 1 2 3 4 5; do (sleep .0$i; exit $i) & done; wait -n; wait"],
    "broken pipe": ["bash", "-c", "yes | head -1; echo ${PIPESTATUS[*]}"],
    "file size": [
        "bash",
        "-c",
        "exec 2>&-; ulimit -f 9; head -c 99999 /dev/zero >$0; echo $?; rm $0",
        f"/dev/shm/size-{os.getpid()}",
    ],
    "killed": ["sh", "-c", "kill -SEGV $$"],
    "dash": ["dash", "-c", "echo $0 $# | cat - /etc/hostname; command -v ls", "x", "y"],
    "busybox": ["busybox", "sh", "-c", "echo /etc/host* | busybox wc -c; busybox id -u; exit 2"],
    "perl": ["perl", "-e", "print `echo a`; $SIG{ALRM}=sub{die 'late'}; alarm 1; sleep 3"],
    "find": ["find", "/etc/apt", "-type", "f", "-exec", "wc", "-c", "{}", ";"],
    "xargs": ["sh", "-c", "seq 40 | xargs -P 4 -n 1 echo | sort -n | md5sum"],
    "tar": ["sh", "-c", "tar cf - /etc/apt 2>/dev/null | tar tf - | sort | md5sum"],
    "gcc": ["sh", "-c", "echo 'int main(void){return 0;}' | gcc -x c - -S -o - | md5sum"],
    "git": ["git", "-C", "/", "--version"],
    "missing": ["sh", "-c", "/no/such/program; echo $?"],
    "python": ["/usr/bin/python3", "-c", PYTHON],
    "node": ["node", "-e", NODE],
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_same(name: str) -> None:
    arguments = [installed(PROGRAMS[name][0]), *PROGRAMS[name][1:]]
    ours, plain = intercepted(arguments), run(arguments)
    if name == "node":  # its threads write in any order
        assert sorted(ours.stdout.splitlines()) == sorted(plain.stdout.splitlines()), ours.stderr
    else:
        assert ours.stdout == plain.stdout, ours.stderr
    assert ours.returncode == plain.returncode, ours.stderr
    if name not in ("node", "jobs"):  # which write the number of their process
        assert ours.stderr == plain.stderr


def test_scripts_get_their_arguments(tmp_path: Path) -> None:
    """Of a script, the interpreter and its argument come first; the name is the script's."""
    script = tmp_path / "script"
    script.write_text('#!/usr/bin/perl -w\nprint "$0 @ARGV $^W\\n"; exit 3\n')
    script.chmod(0o755)
    ours, plain = intercepted([str(script), "a", "b c"]), run([str(script), "a", "b c"])
    assert (ours.stdout, ours.returncode) == (plain.stdout, plain.returncode) != ("", 0)


def test_go(tmp_path: Path) -> None:
    """A static program of another language: goroutines, a server, clients, signals, children."""
    source = Path(__file__).parent / "programs/http.go"
    environment = os.environ | {"CGO_ENABLED": "0"}
    binary = tmp_path / "http"
    build = [installed("go"), "build", "-o", str(binary), str(source)]
    subprocess.run(build, check=True, env=environment, timeout=120)
    ours, plain = intercepted([str(binary)]), run([str(binary)])
    assert ours.returncode == 0, ours.stderr
    assert (ours.stdout, ours.stderr) == (plain.stdout, plain.stderr)
    assert ours.stdout.endswith("ok\n")


def test_strace_sees_a_program(tmp_path: Path) -> None:
    """Debuggers can follow an intercepted program and its children."""
    log = tmp_path / "log"
    inner = under(["sh", "-c", "echo a | cat; exit 6"])
    done = run([installed("strace"), "-f", "-qq", "-o", str(log), *inner])
    assert (done.stdout, done.returncode) == ("a\n", 6)
    assert 'write(1, "a\\n", 2)' in log.read_text()


def test_gdb_runs_a_program() -> None:
    """A debugger runs a program, and stops at a signal that ends it."""
    gdb = [installed("gdb"), "-batch", "-nx", "-ex", "handle SIGSYS nostop noprint pass"]
    gdb += ["-ex", "set debuginfod enabled off", "-ex", "run", "-ex", "info registers rip"]
    done = run([*gdb, "--args", *under(["/bin/sh", "-c", "kill -SEGV $$"])])
    assert "SIGSEGV" in done.stdout
