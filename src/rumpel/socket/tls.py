# SPDX-License-Identifier: GPL-2.0-only
"""TLS on a kernel's socket.

The standard library's class is bound to a descriptor of the host. This one moves the
records between the socket and an :class:`ssl.SSLObject`, which works in memory. Records
are read one at a time, as OpenSSL does on a descriptor: what the peer sends behind its
last record stays in the kernel, and ``select`` tells the truth.

Source: RFC 8446, section 5.1 for the header of a record.
"""

from __future__ import annotations

import errno
import socket as host
import ssl
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from rumpel.socket.sockets import Socket

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Buffer

__all__ = ["SSLSocket"]

_HEADER = 5
_RECORD = 1 << 14
"""The most that a record carries."""


class SSLSocket(Socket):
    """A socket of a library kernel with TLS, which behaves as :class:`ssl.SSLSocket`.

    ``SSLContext.wrap_socket`` of ``kernel.ssl`` makes them. One thread may read while
    another writes.

    Attributes:
        server_side: is it the server's end?
        server_hostname: the name of the server that a client wants.
        do_handshake_on_connect: agree on keys as soon as there is a connection.
        suppress_ragged_eofs: an end without TLS's own is an end.
    """

    server_side: bool
    server_hostname: str | None
    do_handshake_on_connect: bool
    suppress_ragged_eofs: bool
    _session: ssl.SSLSession | None
    _connected: bool
    _sslobj: ssl.SSLObject | None = None
    _module: ClassVar[Any]

    def __init__(self, *args: Any, **keywords: Any) -> None:
        raise TypeError(
            f"{type(self).__name__} does not have a public constructor. "
            "Instances are returned by SSLContext.wrap_socket()."
        )

    @classmethod
    def _create(
        cls,
        sock: Socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | None = None,
        context: Any = None,
        session: ssl.SSLSession | None = None,
    ) -> Self:
        """What ``SSLContext.wrap_socket`` calls."""
        if sock.getsockopt(host.SOL_SOCKET, host.SO_TYPE) != host.SOCK_STREAM:
            raise NotImplementedError("only stream sockets are supported")
        if server_side and server_hostname:
            raise ValueError("server_hostname can only be specified in client mode")
        if server_side and session is not None:
            raise ValueError("session can only be specified in client mode")
        if context.check_hostname and not server_hostname:
            raise ValueError("check_hostname requires server_hostname")
        self = cls.__new__(cls)
        timeout = sock.gettimeout()
        Socket.__init__(self, sock.family, sock.type, sock.proto, fileno=sock.detach())
        self.settimeout(timeout)
        self.server_side = server_side
        self.server_hostname = server_hostname
        self.do_handshake_on_connect = do_handshake_on_connect
        self.suppress_ragged_eofs = suppress_ragged_eofs
        self._context = context
        self._session = session
        self._connected = False
        try:
            try:
                self.getpeername()
            except OSError as error:
                if error.errno != errno.ENOTCONN:
                    raise
                self._refuse_early_data()
            else:
                self._begin()
        except (OSError, ValueError):
            self.close()
            raise
        return self

    def _refuse_early_data(self) -> None:
        """See to it that what came before the connection was closed is not taken for TLS's."""
        try:
            early = super().recv(1, host.MSG_DONTWAIT)
        except OSError:
            return
        if early:
            reason = "Closed before TLS handshake with data in recv buffer."
            failure = ssl.SSLError(errno.ENOTCONN, reason)
            failure.reason, failure.library = reason, None  # type: ignore[assignment]
            raise failure

    def _begin(self) -> None:
        """The socket is connected: begin TLS."""
        self._connected = True
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._header = b""
        self._missing = 0  # bytes of the record whose header was read
        self._unsent = memoryview(b"")
        self._accepted = 0  # bytes that are encrypted, of a write that is to be repeated
        self._engine = threading.Lock()  # an SSLObject is for one thread at a time
        self._sending, self._receiving = threading.Lock(), threading.Lock()
        self._sslobj = self._context.wrap_bio(
            self._incoming, self._outgoing, self.server_side, self.server_hostname, self._session
        )
        if self.do_handshake_on_connect:
            if self.gettimeout() == 0:
                raise ValueError(
                    "do_handshake_on_connect should not be specified for non-blocking sockets"
                )
            self.do_handshake()

    # ---- between the socket and the records ----

    def _run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the SSLObject until it has got what it needs from the peer."""
        deadline = self._deadline()
        result = None
        while True:
            with self._engine:
                before = self._outgoing.pending
                try:
                    result = function(*args)
                    wants = False
                except ssl.SSLWantReadError:
                    wants = True
                except ssl.SSLError:
                    self._try_flush()  # the alert that tells the peer
                    raise
                made = self._outgoing.pending > before
            # Only its own: who reads must not wait for the room that a writer waits for.
            if made:
                self._flush(deadline)
            if not wants:
                return result
            self._fill(deadline)

    def _try_flush(self) -> None:
        try:
            self._flush(self._deadline())
        except OSError:
            return

    def _flush(self, deadline: int | None) -> None:
        """Send all records that were made; one thread sends those of others too."""
        while self._unsent or self._outgoing.pending:
            with self._sending:
                if not self._unsent and not self._outgoing.pending:
                    return
                if not self._unsent:
                    self._unsent = memoryview(self._outgoing.read())
                try:
                    count = self._until(
                        *(deadline, self.WRITABLE, self._c_send, self._fd, self._unsent),
                        *(0, None, 0),
                    )
                except BlockingIOError:
                    raise ssl.SSLWantWriteError(
                        ssl.SSL_ERROR_WANT_WRITE, "The operation did not complete (write)"
                    ) from None
                except TimeoutError:
                    raise TimeoutError("The write operation timed out") from None
                self._unsent = self._unsent[count:]

    def _fill(self, deadline: int | None) -> None:
        """Receive a piece of a record."""
        with self._receiving:
            size = self._missing or _HEADER - len(self._header)
            try:
                data = self._until(
                    *(deadline, self.READABLE, self._c_recv, self._fd, size, 0, None, None)
                )
            except BlockingIOError:
                raise ssl.SSLWantReadError(
                    ssl.SSL_ERROR_WANT_READ, "The operation did not complete (read)"
                ) from None
            except TimeoutError:
                raise TimeoutError("The read operation timed out") from None
            if not data:
                self._incoming.write_eof()
                return
            if self._missing:
                self._missing -= len(data)
            else:
                self._header += data
                if len(self._header) == _HEADER:
                    self._missing = int.from_bytes(self._header[3:], "big")
                    self._header = b""
            self._incoming.write(data)

    def _need(self) -> ssl.SSLObject:
        if self._sslobj is None:
            raise ValueError(f"No SSL wrapper around {self}")
        return self._sslobj

    def _refuse_flags(self, flags: int, method: str) -> None:
        if flags:
            raise ValueError(f"non-zero flags not allowed in calls to {method}() on {type(self)}")

    # ---- data ----

    def read(self, len: int = 1024, buffer: Buffer | None = None) -> Any:
        """Read up to ``len`` bytes, or into a buffer: then their number; nothing at the end."""
        if self._sslobj is None:
            raise ValueError("Read on closed or unwrapped SSL socket.")
        nothing: Any = b"" if buffer is None else 0
        if not len:
            return nothing
        try:
            return self._run(self._sslobj.read, len, *([] if buffer is None else [buffer]))
        except ssl.SSLEOFError:
            if self.suppress_ragged_eofs:
                return nothing
            raise
        except ssl.SSLZeroReturnError:
            return nothing

    def write(self, data: Buffer) -> int:
        """Write some bytes: how many were taken.

        If a socket that does not block raises SSLWantWriteError, the call has to be
        repeated with the same data, as with OpenSSL.
        """
        if self._sslobj is None:
            raise ValueError("Write on closed or unwrapped SSL socket.")
        if not self._accepted:
            with memoryview(data) as view, view.cast("B") as flat:
                if not flat:
                    return 0
                if self.gettimeout() == 0:
                    self._flush(None)
                with flat[:_RECORD] as part:
                    return self._write(part)
        return self._write(None)

    def _write(self, part: memoryview | None) -> int:
        if part is not None:
            assert self._sslobj is not None
            encrypt = self._sslobj.write

            def once() -> None:
                self._accepted = encrypt(part)

            self._run(once)
        else:
            self._flush(self._deadline())
        accepted, self._accepted = self._accepted, 0
        return accepted

    def recv(self, buflen: int = 1024, flags: int = 0, /) -> bytes:
        """Receive some bytes; none at the end."""
        if self._sslobj is None:
            return super().recv(buflen, flags)
        self._refuse_flags(flags, "recv")
        data: bytes = self.read(buflen)
        return data

    def recv_into(self, buffer: Buffer, nbytes: int | None = None, flags: int = 0) -> int:
        """Receive into a buffer."""
        if self._sslobj is None:
            return super().recv_into(buffer, nbytes or 0, flags)
        self._refuse_flags(flags, "recv_into")
        with memoryview(buffer) as view:
            count: int = self.read(nbytes or view.nbytes, buffer)
        return count

    def send(self, data: Buffer, flags: int = 0, /) -> int:
        """Send some bytes: how many were taken."""
        if self._sslobj is None:
            return super().send(data, flags)
        self._refuse_flags(flags, "send")
        return self.write(data)

    def sendall(self, data: Buffer, flags: int = 0, /) -> None:
        """Send all bytes."""
        if self._sslobj is None:
            super().sendall(data, flags)
            return
        self._refuse_flags(flags, "sendall")
        with memoryview(data) as view, view.cast("B") as flat:
            done = 0
            while done < len(flat):
                done += self.write(flat[done:])

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send what is in a file; the kernel cannot do it alone, since it does not encrypt."""
        if self._sslobj is None:
            return super().sendfile(file, offset, count)
        return self._sendfile_use_send(file, offset, count)

    def recvfrom(self, bufsize: int = 1024, flags: int = 0, /) -> tuple[bytes, Any]:
        """Not with TLS."""
        self._refuse("recvfrom")
        return super().recvfrom(bufsize, flags)

    def recvfrom_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """Not with TLS."""
        self._refuse("recvfrom_into")
        return super().recvfrom_into(buffer, nbytes, flags)

    def sendto(self, data: Buffer, *args: Any) -> int:
        """Not with TLS."""
        self._refuse("sendto")
        return super().sendto(data, *args)

    def _refuse(self, method: str) -> None:
        if self._sslobj is not None:
            raise ValueError(f"{method} not allowed on instances of {type(self)}")

    def sendmsg(self, *args: Any) -> int:
        """Not allowed: nothing must leave in clear by mistake."""
        raise NotImplementedError(f"sendmsg not allowed on instances of {type(self)}")

    def recvmsg(self, *args: Any) -> Any:
        """Not allowed."""
        raise NotImplementedError(f"recvmsg not allowed on instances of {type(self)}")

    def recvmsg_into(self, *args: Any) -> Any:
        """Not allowed."""
        raise NotImplementedError(f"recvmsg_into not allowed on instances of {type(self)}")

    # ---- the connection ----

    def do_handshake(self, block: bool = False) -> None:
        """Agree on keys; the peer's certificate is checked."""
        if not self._connected:
            self.getpeername()  # raises
        if self.gettimeout() or not block:
            self._run(self._need().do_handshake)
            return
        timeout = self.gettimeout()
        self.settimeout(None)
        try:
            self._run(self._need().do_handshake)
        finally:
            self.settimeout(timeout)

    def connect(self, address: Any, /) -> None:
        """Connect to a peer, and agree on keys."""
        self._check_client()
        super().connect(address)
        self._begin_or_forget()

    def connect_ex(self, address: Any, /) -> int:
        """The same; errors of the kernel are returned."""
        self._check_client()
        code = super().connect_ex(address)
        if not code:
            self._begin_or_forget()
        return code

    def _check_client(self) -> None:
        if self.server_side:
            raise ValueError("can't connect in server-side mode")
        if self._connected or self._sslobj is not None:
            raise ValueError("attempt to connect already-connected SSLSocket!")

    def _begin_or_forget(self) -> None:
        try:
            self._begin()
        except (OSError, ValueError):
            self._sslobj = None
            self._connected = False
            raise

    def accept(self) -> tuple[Any, Any]:
        """Wait for a connection: a new socket with TLS, and the peer's address."""
        fd, address = self._accept()
        plain = self._module.socket.socket(self.family, self.type, self.proto, fileno=fd)
        wrapped = self._context.wrap_socket(
            plain,
            server_side=True,
            do_handshake_on_connect=self.do_handshake_on_connect,
            suppress_ragged_eofs=self.suppress_ragged_eofs,
        )
        return wrapped, address

    def unwrap(self) -> Self:
        """End TLS in both directions; the socket goes on in clear."""
        self._run(self._need().unwrap)
        self._sslobj = None
        return self

    def shutdown(self, how: int, /) -> None:
        """Close one direction, or both, without telling TLS."""
        self._sslobj = None
        super().shutdown(how)

    def dup(self) -> Self:
        """Not possible."""
        raise NotImplementedError(f"Can't dup() {type(self).__name__} instances")

    def _real_close(self) -> None:
        self._sslobj = None
        super()._real_close()

    # ---- what was agreed on ----

    @property
    def context(self) -> Any:
        """The SSLContext in use."""
        return self._context

    @context.setter
    def context(self, context: Any) -> None:
        self._context = context
        if self._sslobj is not None:
            self._sslobj.context = context

    @property
    def session(self) -> ssl.SSLSession | None:
        """The session of a client."""
        return None if self._sslobj is None else self._sslobj.session

    @session.setter
    def session(self, session: ssl.SSLSession) -> None:
        self._session = session
        if self._sslobj is not None:
            self._sslobj.session = session

    @property
    def session_reused(self) -> bool | None:
        """Was the client's session one from before?"""
        return None if self._sslobj is None else self._sslobj.session_reused

    def getpeercert(self, binary_form: bool = False) -> Any:
        """The peer's certificate."""
        if not self._connected:
            self.getpeername()  # raises
        return self._need().getpeercert(binary_form)

    def pending(self) -> int:
        """How many bytes are decrypted and not read yet."""
        return 0 if self._sslobj is None else self._sslobj.pending()

    def verify_client_post_handshake(self) -> None:
        """Ask a client for its certificate now."""
        self._need().verify_client_post_handshake()

    def selected_alpn_protocol(self) -> str | None:
        """The protocol that both sides want, such as ``h2``."""
        return None if self._sslobj is None else self._sslobj.selected_alpn_protocol()

    def cipher(self) -> tuple[str, str, int] | None:
        """Name, protocol and bits of the cipher."""
        return None if self._sslobj is None else self._sslobj.cipher()

    def shared_ciphers(self) -> list[tuple[str, str, int]] | None:
        """The ciphers that the client offered and the server has."""
        return None if self._sslobj is None else self._sslobj.shared_ciphers()

    def compression(self) -> str | None:
        """How data is compressed."""
        return None if self._sslobj is None else self._sslobj.compression()

    def version(self) -> str | None:
        """Version of the protocol, such as ``TLSv1.3``."""
        return None if self._sslobj is None else self._sslobj.version()

    def get_channel_binding(self, cb_type: str = "tls-unique") -> bytes | None:
        """Data that stands for this connection."""
        if self._sslobj is not None:
            return self._sslobj.get_channel_binding(cb_type)
        if cb_type not in ssl.CHANNEL_BINDING_TYPES:
            raise ValueError(f"{cb_type} channel binding type not implemented")
        return None
