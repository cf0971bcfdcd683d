# SPDX-License-Identifier: GPL-2.0-only
"""Names asked of name servers, over the kernel's own UDP and TCP and on its clock.

The messages are dnspython's; whom to ask, how long and how often is as in the GNU C
library, since programs expect its errors. Nothing is cached.

Source: resolv.conf(5); RFC 1035, sections 4.1.1 (TC) and 4.2.2 (TCP).
"""

from __future__ import annotations

import contextlib
import socket as host
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dns.message import Message, QueryMessage

__all__ = ["Answer", "Client", "Configuration", "Failure"]

_PORT = 53
_NS = 1_000_000_000
_MOST_SERVERS, _MOST_NDOTS, _MOST_TIMEOUT, _MOST_ATTEMPTS = 3, 15, 30, 5
_PAYLOAD = 1232
_LARGEST = 65535


class Failure(Exception):
    """No answer.

    Attributes:
        code: EAI_NONAME, EAI_NODATA, EAI_AGAIN or EAI_FAIL.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Configuration:
    """What /etc/resolv.conf says.

    Attributes:
        servers: addresses as text; there is always one.
        search: domains to look for short names in.
        ndots: a name with this many dots is tried by itself first.
        timeout: seconds for the first try.
        attempts: how often all servers are asked.
        rotate: begin with another server each time.
        tcp: never ask over UDP.
        edns: say that larger answers than 512 bytes are welcome over UDP.
    """

    servers: list[str] = field(default_factory=list)
    search: list[str] = field(default_factory=list)
    ndots: int = 1
    timeout: int = 5
    attempts: int = 2
    rotate: bool = False
    tcp: bool = False
    edns: bool = False

    @classmethod
    def parse(cls, text: str, domain: str = "") -> Configuration:
        """Read the file; what it does not say, or nobody understands, is as by default.

        Args:
            text: of the file.
            domain: of this host: searched if the file does not say what to search.

        Example:
            >>> Configuration.parse("nameserver 10.0.2.3\\noptions ndots:2").ndots
            2
        """
        self = cls(search=[domain] if domain else [])
        for line in text.splitlines():
            keyword, *words = line.partition("#")[0].partition(";")[0].split() or [""]
            if keyword == "nameserver" and words and len(self.servers) < _MOST_SERVERS:
                if _is_address(words[0]):
                    self.servers.append(words[0])
            elif keyword in ("search", "domain"):
                self.search = [word.strip(".") for word in words if word.strip(".")]
            elif keyword == "options":
                for word in words:
                    self._option(*word.partition(":")[::2])
        if not self.servers:
            self.servers.append("127.0.0.1")
        return self

    def _option(self, name: str, value: str) -> None:
        number = int(value) if value.isdecimal() else None
        if number is None:
            self.rotate = self.rotate or name == "rotate"
            self.tcp = self.tcp or name == "use-vc"
            self.edns = self.edns or name == "edns0"
        elif name == "ndots":
            self.ndots = min(number, _MOST_NDOTS)
        elif name == "timeout":
            self.timeout = min(max(number, 1), _MOST_TIMEOUT)
        elif name == "attempts":
            self.attempts = min(max(number, 1), _MOST_ATTEMPTS)

    def candidates(self, name: str) -> Iterator[str]:
        """The names that a name may mean, in the order to ask for them; all are absolute."""
        if name.endswith("."):
            yield name
            return
        longer = [f"{name}.{domain}." for domain in self.search]
        if name.count(".") >= self.ndots:
            yield f"{name}."
            yield from longer
        else:
            yield from longer
            yield f"{name}."


def _is_address(text: str) -> bool:
    try:
        if ":" in text:
            host.inet_pton(host.AF_INET6, text.partition("%")[0])
        else:
            host.inet_aton(text)
    except (OSError, ValueError):
        return False
    return True


@dataclass
class Answer:
    """What was found for a name.

    Attributes:
        canonical: the name at the end of all aliases, without the last dot.
        aliases: those before.
        records: of the types asked for: type and text.
    """

    canonical: str
    aliases: list[str]
    records: list[tuple[str, str]]


class Client:
    """Asks name servers.

    Args:
        configuration: makes what /etc/resolv.conf says now.
        socket: the class of the kernel's sockets.
        now: the kernel's clock, in ns.
    """

    def __init__(
        self,
        configuration: Callable[[], Configuration],
        socket: Callable[..., Any],
        now: Callable[[], int],
    ) -> None:
        self._configuration = configuration
        self._socket = socket
        self._now = now
        self._turn = 0

    def look_up(self, name: str, types: Sequence[str], *, search: bool = True) -> Answer:
        """Find records of a name.

        Args:
            name: without a dot at its end it is looked for in the domains of ``search`` too.
            types: such as ``A`` and ``AAAA``, which are asked for at once.
            search: False takes the name as it is.

        Raises:
            Failure: if there are none.
        """
        configuration = self._configuration()
        worst = Failure(host.EAI_NONAME, f"Name or service not known: {name!r}")
        for candidate in configuration.candidates(name) if search else [name]:
            try:
                return self._ask(configuration, candidate, types)
            except Failure as failure:
                if failure.code == host.EAI_NONAME:
                    continue
                if failure.code != host.EAI_NODATA and not isinstance(failure, _ServerFailure):
                    raise  # nobody answers: nor will anybody the next time
                if worst.code != host.EAI_NODATA:
                    worst = failure
        raise worst

    def _ask(self, configuration: Configuration, name: str, types: Sequence[str]) -> Answer:
        import dns.exception
        import dns.message
        import dns.rcode

        edns: dict[str, Any] = {"use_edns": 0, "payload": _PAYLOAD} if configuration.edns else {}
        try:
            queries = [dns.message.make_query(name, kind, **edns) for kind in types]
        except (dns.exception.DNSException, UnicodeError):
            raise Failure(host.EAI_NONAME, f"Not a name: {name!r}") from None
        answer = Answer(name.rstrip("."), [], [])
        exists = False
        for query, response in self._responses(configuration, queries, name):
            if response.rcode() == dns.rcode.NXDOMAIN:
                continue
            exists = True
            try:
                chain = response.resolve_chaining()
            except dns.exception.DNSException as error:
                raise Failure(host.EAI_FAIL, f"Bad answer for {name!r}: {error}") from None
            answer.canonical = chain.canonical_name.to_text(omit_final_dot=True)
            answer.aliases = [
                rrset.name.to_text(omit_final_dot=True)
                for rrset in chain.cnames  # each with the name that it is an alias of
            ]
            kind = types[queries.index(query)]
            answer.records += [(kind, record.to_text()) for record in chain.answer or ()]
        if not exists:
            raise Failure(host.EAI_NONAME, f"Name or service not known: {name!r}")
        if not answer.records:
            raise Failure(host.EAI_NODATA, f"No address associated with hostname: {name!r}")
        return answer

    def _responses(
        self, configuration: Configuration, queries: list[QueryMessage], name: str
    ) -> list[tuple[QueryMessage, QueryMessage]]:
        """Ask one server after the other until one has answered all queries."""
        import dns.rcode

        servers = configuration.servers
        if configuration.rotate:
            self._turn += 1
            turn = self._turn % len(servers)
            servers = servers[turn:] + servers[:turn]
        failed = ""
        for attempt in range(configuration.attempts):
            seconds = configuration.timeout << attempt
            if attempt:
                seconds = max(1, seconds // len(servers))
            for server in servers:
                deadline = self._now() + seconds * _NS
                try:
                    pairs = self._exchange(server, queries, deadline, configuration.tcp)
                except OSError:
                    continue
                bad = [
                    response.rcode()
                    for _, response in pairs
                    if response.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)
                ]
                if not bad:
                    return pairs
                failed = f"{server} says {dns.rcode.to_text(bad[0])} for {name!r}"
        if failed:
            raise _ServerFailure(host.EAI_AGAIN, f"Temporary failure in name resolution: {failed}")
        raise Failure(
            host.EAI_AGAIN,
            f"Temporary failure in name resolution: no answer from {', '.join(servers)} for "
            f"{name!r}; the kernel's /etc/resolv.conf names the servers",
        )

    def _exchange(
        self, server: str, queries: list[QueryMessage], deadline: int, tcp: bool
    ) -> list[tuple[QueryMessage, QueryMessage]]:
        """Get a server's answers.

        Raises:
            OSError: if it does not give them in time.
        """
        import dns.flags

        waiting = list(queries)
        pairs: list[tuple[QueryMessage, QueryMessage]] = []
        if not tcp:
            with self._connect(server, host.SOCK_DGRAM, deadline) as sock:
                for query in waiting:
                    sock.send(query.to_wire())
                while waiting:
                    self._limit(sock, deadline)
                    query, response = _match(waiting, sock.recv(_LARGEST))
                    if response is None:
                        continue
                    waiting.remove(query)
                    pairs.append((query, response))
            waiting = [query for query, response in pairs if response.flags & dns.flags.TC]
            pairs = [pair for pair in pairs if pair[0] not in waiting]
        for query in waiting:
            pairs.append((query, self._over_tcp(server, query, deadline)))
        return pairs

    def _over_tcp(self, server: str, query: QueryMessage, deadline: int) -> QueryMessage:
        with self._connect(server, host.SOCK_STREAM, deadline) as sock:
            wire = query.to_wire()
            sock.sendall(len(wire).to_bytes(2, "big") + wire)
            size = int.from_bytes(self._receive(sock, 2, deadline), "big")
            _, response = _match([query], self._receive(sock, size, deadline))
        if response is None:
            raise OSError("the server answers what was not asked")
        return response

    def _receive(self, sock: Any, size: int, deadline: int) -> bytes:
        data = b""
        while len(data) < size:
            self._limit(sock, deadline)
            part = sock.recv(size - len(data))
            if not part:
                raise ConnectionResetError("the server closed the connection")
            data += part
        return data

    @contextlib.contextmanager
    def _connect(self, server: str, kind: int, deadline: int) -> Iterator[Any]:
        family = host.AF_INET6 if ":" in server else host.AF_INET
        with self._socket(family, kind) as sock:
            self._limit(sock, deadline)
            # Also a datagram socket, so that nobody else's answers come in.
            sock.connect((server, _PORT))
            yield sock

    def _limit(self, sock: Any, deadline: int) -> None:
        left = deadline - self._now()
        if left <= 0:
            raise TimeoutError("timed out")
        sock.settimeout(left / _NS)


class _ServerFailure(Failure):
    """A server answered that it cannot answer."""


def _match(queries: list[QueryMessage], wire: bytes) -> tuple[QueryMessage, QueryMessage | None]:
    """Which query a message answers; None if it is none of them."""
    import dns.exception
    import dns.message

    try:
        # One that was cut off is asked for again, over TCP.
        response: Message = dns.message.from_wire(
            wire, ignore_trailing=True, raise_on_truncation=True
        )
    except dns.message.Truncated as truncated:
        response = truncated.message()  # type: ignore[no-untyped-call]
    except (dns.exception.DNSException, ValueError):
        return queries[0], None
    for query in queries:
        if query.is_response(response) and isinstance(response, dns.message.QueryMessage):
            return query, response
    return queries[0], None
