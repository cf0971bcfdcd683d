# SPDX-License-Identifier: GPL-2.0-only
"""The class ``socket`` on a library kernel.

:class:`Socket` is what all kernels' classes have in common; :func:`class_for` makes the
one of a kernel, with the kernel's system calls as class attributes.
"""

from __future__ import annotations

import io
import os
import socket as host
import struct
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, overload

from rumpel._native import READ, READINTO, VOID, WRITE
from rumpel.descriptor import Descriptor, descriptors_of
from rumpel.errors import RumpelError
from rumpel.socket.addresses import LONGEST, decode
from rumpel.socket.messages import address_size, c_int, from_size
from rumpel.socket.transfer import Transfer

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Literal, Self

    from typing_extensions import Buffer

    from rumpel.os import Os
    from rumpel.socket.addresses import Names

__all__ = ["Socket", "class_for"]

_F_DUPFD_CLOEXEC = 1030
_CLOEXEC = int(host.SOCK_CLOEXEC)
_INT, _UINT64 = struct.Struct("=i"), struct.Struct("=Q")
_KIND = ~(host.SOCK_NONBLOCK | host.SOCK_CLOEXEC)
_SO_DOMAIN = 39


class Socket(Transfer):
    """A socket of a library kernel, which behaves as :class:`socket.socket`.

    Args:
        family: AF_INET and so on; -1 is AF_INET, or that of ``fileno``.
        type: SOCK_STREAM and so on; -1 is SOCK_STREAM, or that of ``fileno``.
        proto: -1 is 0, or that of ``fileno``.
        fileno: a descriptor of the kernel that is a socket already.

    A timeout is measured on the kernel's clock.
    """

    __slots__ = ("__weakref__", "_closed", "_io_refs", "_type")

    _os: ClassVar[Os]
    _plain: ClassVar[Any]
    _descriptor: ClassVar[type[Descriptor]]
    _default_timeout: ClassVar[Any]
    # System calls; Calls are no functions, so they are not bound to the instance.
    _c_socket: ClassVar[Any]
    _c_bind: ClassVar[Any]
    _c_connect: ClassVar[Any]
    _c_listen: ClassVar[Any]
    _c_accept: ClassVar[Any]
    _c_sockname: ClassVar[Any]
    _c_peername: ClassVar[Any]
    _c_getsockopt: ClassVar[Any]
    _c_setsockopt: ClassVar[Any]
    _c_shutdown: ClassVar[Any]
    _c_close: ClassVar[Any]

    def __init__(
        self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None
    ) -> None:
        self._fd = -1
        self._closed = False
        self._io_refs = 0
        self._timeout = self._default_timeout()
        if fileno is None:
            family = host.AF_INET if family == -1 else family
            type = host.SOCK_STREAM if type == -1 else type
            proto = 0 if proto == -1 else proto
            fd = self._c_socket(family, type | _CLOEXEC, proto)
            self._fd = self._descriptor(fd)
            if type & host.SOCK_NONBLOCK:
                self._timeout = 0.0
        else:
            if not isinstance(fileno, int):
                raise TypeError(f"an integer is required, not {fileno.__class__.__name__}")
            if fileno < 0:
                raise ValueError("negative file descriptor")
            self._fd = self._descriptor(fileno)
            try:
                is_a = self._option(host.SO_TYPE)  # else it is no socket
                family = self._option(_SO_DOMAIN) if family == -1 else family
                type = is_a if type == -1 else type
                proto = self._option(host.SO_PROTOCOL) if proto == -1 else proto
            except OSError:
                self._fd = -1
                raise
        self._family = family
        self._type = type & _KIND
        self._proto = proto
        if self._timeout is not None:
            self._set_nonblocking(True)

    def _option(self, option: int) -> int:
        return int(self.getsockopt(host.SOL_SOCKET, option))

    # ---- what it is ----

    @property
    def family(self) -> int:
        """AF_INET and so on."""
        try:
            return host.AddressFamily(self._family)
        except ValueError:
            return self._family

    @property
    def type(self) -> int:
        """SOCK_STREAM and so on."""
        try:
            return host.SocketKind(self._type)
        except ValueError:
            return self._type

    @property
    def proto(self) -> int:
        """The protocol's number."""
        return self._proto

    def fileno(self) -> int:
        """The descriptor in the kernel, -1 if closed; event loops can tell it from the host's."""
        return self._fd

    def __repr__(self) -> str:
        closed = getattr(self, "_closed", False)
        parts = [f"fd={self._fd}", f"family={self.family!s}", f"type={self.type!s}"]
        parts.append(f"proto={self._proto}")
        if self._fd != -1:
            for name, call in (("laddr", self.getsockname), ("raddr", self.getpeername)):
                try:
                    address = call()
                except (OSError, RumpelError):
                    continue
                if address:
                    parts.append(f"{name}={address}")
        return f"<rumpel.socket.socket{' [closed]' if closed else ''} {', '.join(parts)}>"

    def __getstate__(self) -> None:
        raise TypeError(f"cannot pickle {self.__class__.__name__!r} object")

    # ---- names and peers ----

    def bind(self, address: Any, /) -> None:
        """Give the socket an address."""
        packed = self._encode(address)
        self._c_bind(self._fd, packed, len(packed))

    def _address(self, call: Any) -> Any:
        buffer = bytearray(LONGEST)
        size = address_size(buffer)
        call(self._fd, buffer, size)
        return decode(buffer, from_size(size), self._names, self._proto)

    def getsockname(self) -> Any:
        """Its own address."""
        return self._address(self._c_sockname)

    def getpeername(self) -> Any:
        """The address of the peer."""
        return self._address(self._c_peername)

    def listen(self, backlog: int = 128, /) -> None:
        """Let others connect."""
        self._c_listen(self._fd, max(c_int(backlog), 0))

    def _accept(self) -> tuple[int, Any]:
        if self._family == host.AF_ALG:  # whose sockets have no addresses
            return self._when(self.READABLE, self._c_accept, self._fd, None, None, _CLOEXEC), None
        buffer = bytearray(LONGEST)
        size = address_size(buffer)
        fd = self._when(self.READABLE, self._c_accept, self._fd, buffer, size, _CLOEXEC)
        return fd, decode(buffer, from_size(size), self._names, self._proto)

    def accept(self) -> tuple[Socket, Any]:
        """Wait for a connection: a new socket, and the peer's address."""
        fd, address = self._accept()
        return self._plain(self._family, self._type, self._proto, fileno=fd), address

    def connect(self, address: Any, /) -> None:
        """Connect to a peer."""
        packed = self._encode(address)
        try:
            self._c_connect(self._fd, packed, len(packed))
        except BlockingIOError as error:
            if not self._timeout or error.errno == 11:
                raise
            self._wait(self.WRITABLE, self._deadline())
            code = self._option(host.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code)) from None

    def connect_ex(self, address: Any, /) -> int:
        """Connect to a peer; errors of the kernel are returned."""
        try:
            self.connect(address)
        except host.gaierror:
            raise
        except TimeoutError as error:
            return error.errno or 11
        except OSError as error:
            if error.errno is None:
                raise
            return error.errno
        return 0

    def shutdown(self, how: int, /) -> None:
        """Close one direction, or both."""
        self._c_shutdown(self._fd, c_int(how))

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send what is in a file: within the kernel if it is one of the kernel's."""
        from rumpel.socket.sendfile import CannotSendfile

        try:
            return self._sendfile_use_sendfile(file, offset, count)
        except CannotSendfile:
            return self._sendfile_use_send(file, offset, count)

    def _sendfile_use_sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        from rumpel.socket.sendfile import by_kernel

        return by_kernel(self, file, offset, count)

    def _sendfile_use_send(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        from rumpel.socket.sendfile import by_reading

        return by_reading(self, file, offset, count)

    # ---- options ----

    def getsockopt(self, level: int, optname: int, buflen: int = 0, /) -> int | bytes:
        """Value of an option: an integer, or ``buflen`` bytes."""
        if not 0 <= buflen <= 1024:
            raise OSError("getsockopt buflen out of range")
        integer = self._integer(level)
        value = bytearray(buflen or integer.size)
        size = address_size(value)
        self._c_getsockopt(self._fd, level, optname, value, size)
        if buflen:
            return bytes(value[: from_size(size)])
        number: int = integer.unpack(value)[0]
        return number

    def _integer(self, level: int) -> struct.Struct:
        """How an option is encoded: those of AF_VSOCK are longer."""
        return _UINT64 if level == host.AF_VSOCK == self._family else _INT

    def setsockopt(
        self, level: int, optname: int, value: int | Buffer | None, optlen: int | None = None, /
    ) -> None:
        """Set an option: to an integer, to bytes, or to nothing of ``optlen`` bytes."""
        if value is None:
            if optlen is None:
                raise TypeError("setsockopt() with None takes the length as fourth argument")
            data = None
        elif optlen is not None:
            raise TypeError("setsockopt() takes a length only with None")
        elif isinstance(value, int):
            integer = self._integer(level)
            try:
                data = integer.pack(value)
            except struct.error:
                raise OverflowError("Python int too large for this option") from None
        else:
            data = bytes(value)
        self._c_setsockopt(self._fd, level, optname, data, optlen if data is None else len(data))

    def get_inheritable(self) -> bool:
        """Is the descriptor inherited by programs?"""
        return self._os.get_inheritable(self._fd)

    def set_inheritable(self, inheritable: bool, /) -> None:
        """Say whether it is."""
        self._os.set_inheritable(self._fd, inheritable)

    # ---- files, copies and the end ----

    if TYPE_CHECKING:

        @overload
        def makefile(
            self,
            mode: Literal["b", "rb", "br", "wb", "bw", "rwb", "rbw", "wrb", "wbr", "brw", "bwr"],
            buffering: Literal[0],
            *,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
        ) -> host.SocketIO: ...
        @overload
        def makefile(
            self,
            mode: Literal["b", "rb", "br"],
            buffering: Literal[-1] | None = None,
            *,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
        ) -> io.BufferedReader: ...
        @overload
        def makefile(
            self,
            mode: Literal["wb", "bw"],
            buffering: Literal[-1] | None = None,
            *,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
        ) -> io.BufferedWriter: ...
        @overload
        def makefile(
            self,
            mode: Literal["rwb", "rbw", "wrb", "wbr", "brw", "bwr"],
            buffering: Literal[-1] | None = None,
            *,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
        ) -> io.BufferedRWPair: ...
        @overload
        def makefile(
            self,
            mode: Literal["r", "w", "rw", "wr", ""] = "r",
            buffering: int | None = None,
            *,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
        ) -> io.TextIOWrapper: ...
        @overload
        def makefile(
            self,
            mode: str,
            buffering: int | None = None,
            *,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
        ) -> Any: ...

    def makefile(
        self,
        mode: str = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> Any:
        """Make a file of the socket; arguments are those of open, but for the mode: r, w, b."""
        if not set(mode) <= {"r", "w", "b"}:
            raise ValueError(f"invalid mode {mode!r} (only r, w, b allowed)")
        writing = "w" in mode
        reading = "r" in mode or not writing
        raw_mode: Any = ("r" if reading else "") + ("w" if writing else "")
        # SocketIO needs recv_into, send and the count of files of any socket.
        raw = host.SocketIO(self, raw_mode)  # type: ignore[arg-type]
        self._io_refs += 1
        if buffering is None or buffering < 0:
            buffering = io.DEFAULT_BUFFER_SIZE
        if buffering == 0:
            if "b" not in mode:
                raise ValueError("unbuffered streams must be binary")
            return raw
        buffer: Any
        if reading and writing:
            buffer = io.BufferedRWPair(raw, raw, buffering)
        elif reading:
            buffer = io.BufferedReader(raw, buffering)
        else:
            buffer = io.BufferedWriter(raw, buffering)
        if "b" in mode:
            return buffer
        text = io.TextIOWrapper(buffer, io.text_encoding(encoding), errors, newline)
        text.mode = mode  # type: ignore[misc]
        return text

    def _decref_socketios(self) -> None:
        if self._io_refs > 0:
            self._io_refs -= 1
        if self._closed:
            self.close()

    def dup(self) -> Self:
        """A new socket object for a new descriptor of the same socket."""
        fd = self._c_fcntl(self._fd, _F_DUPFD_CLOEXEC, 0)
        new = self.__class__(self._family, self._type, self._proto, fileno=fd)
        new.settimeout(self._timeout)
        return new

    def detach(self) -> int:
        """Forget the descriptor without closing it, and return it."""
        self._closed = True
        fd, self._fd = self._fd, -1
        return fd

    def close(self) -> None:
        """Close the socket, when the last file made of it is closed too."""
        self._closed = True
        if self._io_refs <= 0:
            self._real_close()

    def _real_close(self) -> None:
        if self._fd != -1:
            fd, self._fd = self._fd, -1
            try:
                self._c_close(fd)
            except ConnectionResetError:
                pass
            except RumpelError:
                pass  # with the kernel gone the descriptor is, too

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: Any,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._closed:
            self.close()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) == -1:
            return
        if self._os._alive():
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
        self._io_refs = 0
        self.close()


def class_for(owner: Os, names: Names, default_timeout: Callable[[], float | None]) -> type[Socket]:
    """Make the class ``socket`` of a kernel."""
    bind = owner._bind
    attributes = {
        "__slots__": (),
        "__module__": "rumpel.socket",
        "__doc__": Socket.__doc__,
        "_os": owner,
        "_descriptor": descriptors_of(owner._native),
        "_names": names,
        "_default_timeout": staticmethod(default_timeout),
        "_now": staticmethod(owner._now),
        "_c_socket": bind("socket"),
        "_c_bind": bind("bind", flags=VOID),
        "_c_connect": bind("connect", flags=VOID),
        "_c_listen": bind("listen", flags=VOID),
        "_c_accept": bind("accept4"),
        "_c_sockname": bind("getsockname", flags=VOID),
        "_c_peername": bind("getpeername", flags=VOID),
        "_c_recv": bind("recvfrom", shape=READ),
        "_c_recv_into": bind("recvfrom", shape=READINTO),
        "_c_send": bind("sendto", shape=WRITE),
        "_c_sendmsg": bind("sendmsg"),
        "_c_recvmsg": bind("recvmsg"),
        "_c_getsockopt": bind("getsockopt", flags=VOID),
        "_c_setsockopt": bind("setsockopt", flags=VOID),
        "_c_shutdown": bind("shutdown", flags=VOID),
        "_c_close": bind("close", flags=VOID),
        "_c_fcntl": bind("fcntl"),
        "_c_poll": bind("ppoll"),
    }
    made: type[Socket] = type("socket", (Socket,), attributes)
    made._plain = made  # what accept() makes, also where the listener is of a subclass
    return made
