# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.import_module``: programs that use the network, unchanged, on a kernel's."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from rumpel import Kernel

pytestmark = [pytest.mark.kernel, pytest.mark.once]


@contextlib.contextmanager
def web(kernel: Kernel, certificate: trustme.LeafCert | None = None) -> Iterator[int]:
    """The standard library's web server on the kernel: it says which path was asked for."""
    http = kernel.import_module("http.server")

    class Handler(http.BaseHTTPRequestHandler):  # type: ignore[name-defined, misc]
        """Answers with the path."""

        def do_GET(self) -> None:  # noqa: N802
            body = self.path.encode() * 1000
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = http.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    if certificate is not None:
        context = kernel.ssl.SSLContext(kernel.ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(20)


def test_urllib_in_clear_and_with_tls(kernel: Kernel) -> None:
    request = kernel.import_module("urllib.request")
    opener = request.build_opener(request.ProxyHandler({}))
    with web(kernel) as port, opener.open(f"http://127.0.0.1:{port}/page", timeout=20) as page:
        assert page.read() == b"/page" * 1000
    authority = trustme.CA()
    context = kernel.ssl.create_default_context()
    authority.configure_trust(context)
    with web(kernel, authority.issue_cert("localhost")) as port:
        handlers = request.ProxyHandler({}), request.HTTPSHandler(context=context)
        opener = request.build_opener(*handlers)
        with opener.open(f"https://localhost:{port}/secret", timeout=20) as page:
            assert page.read() == b"/secret" * 1000


def test_requests(kernel: Kernel, tmp_path: Path) -> None:
    """A library that is not the standard library's, with all that it needs."""
    requests = kernel.import_module("requests")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with web(kernel, authority.issue_cert("localhost")) as port, requests.Session() as session:
        session.trust_env = False
        session.verify = str(tmp_path / "ca.pem")
        for path in ("/one", "/two"):
            answer = session.get(f"https://localhost:{port}{path}", timeout=20)
            assert answer.content == path.encode() * 1000


def test_copies_are_the_kernels_and_nobody_elses(kernel: Kernel) -> None:
    client = kernel.import_module("http.client")
    assert client is kernel.import_module("http.client")
    assert client.socket is kernel.socket
    assert client is not sys.modules["http.client"]
    assert sys.modules["http.client"].socket is socket
    assert kernel.import_module("urllib.request").http.client is client
    assert kernel.import_module("urllib.error") is sys.modules["urllib.error"]
    assert kernel.import_module("json") is sys.modules["json"]
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        kernel.import_module("no_such_module")
