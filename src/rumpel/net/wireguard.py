# SPDX-License-Identifier: GPL-2.0-only
"""WireGuard: an interface that has peers.

Source: wg(8), include/uapi/linux/wireguard.h.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from rumpel.net.links import Interface

__all__ = ["Peer", "WireGuard"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer of an interface.

    Attributes:
        public_key: in base64.
        endpoint: its address and port, if known.
        allowed_ips: what may come from it and is sent to it.
        keepalive: seconds between packets that keep the way open; 0 is none.
        last_handshake: in seconds since 1970, None if there was none.
        rx_bytes: received from it.
        tx_bytes: sent to it.
    """

    public_key: str
    endpoint: tuple[str, int] | None
    allowed_ips: tuple[Network, ...]
    keepalive: int
    last_handshake: float | None
    rx_bytes: int
    tx_bytes: int


class WireGuard(Interface):
    """An interface of the kind ``wireguard``. Keys are in base64, as everywhere.

    Example:
        >>> wg = k.net.add_link("wg0", kind="wireguard")  # doctest: +SKIP
        >>> wg.configure(listen_port=51820)  # doctest: +SKIP
        >>> wg.add_peer(other.public_key, endpoint=("10.0.0.2", 51820),
        ...             allowed_ips=["10.9.0.2/32"])  # doctest: +SKIP
        >>> wg.add_address("10.9.0.1/24").up()  # doctest: +SKIP
    """

    def configure(
        self,
        *,
        private_key: str | None = None,
        listen_port: int | None = None,
        fwmark: int | None = None,
    ) -> Self:
        """Set its key and port.

        Args:
            private_key: a new one is made if none is given and it has none.
            listen_port: 0 lets the kernel choose.
            fwmark: the mark of the packets that it sends.

        Raises:
            ValueError: if the key is none.
        """
        if private_key is None and self.public_key is None:
            private_key = base64.b64encode(os.urandom(32)).decode()
        key = None if private_key is None else _key(private_key)
        with self._client.open("WireGuard", self.name) as wg:
            wg.set(self.name, private_key=key, listen_port=listen_port, fwmark=fwmark)
        return self

    @property
    def public_key(self) -> str | None:
        """What peers have to know; None before it was configured."""
        key = self._info().get("public_key")
        return key.decode() if key else None

    @property
    def listen_port(self) -> int:
        """The UDP port."""
        return int(self._info().get("listen_port"))

    @property
    def peers(self) -> list[Peer]:
        """The peers, and what was exchanged with them."""
        known: dict[bytes, Peer] = {}
        for part in self._messages():
            for message in part.get("peers") or ():
                # A peer with many networks may go on in the next message, without the rest.
                key = message.get("public_key")
                new = _peer(message)
                old = known.get(key)
                known[key] = (
                    replace(old, allowed_ips=old.allowed_ips + new.allowed_ips) if old else new
                )
        return list(known.values())

    def add_peer(
        self,
        public_key: str,
        *,
        allowed_ips: Sequence[str | Network] = (),
        endpoint: tuple[str, int] | None = None,
        preshared_key: str | None = None,
        keepalive: int = 0,
    ) -> Self:
        """Add a peer, or change it.

        Args:
            public_key: of the peer.
            allowed_ips: networks behind it, instead of those that it had.
            endpoint: address and port; without, it has to call first.
            preshared_key: a secret that both have.
            keepalive: seconds, 0 for never.
        """
        peer: dict[str, Any] = {
            "public_key": _key(public_key),
            "allowed_ips": [str(ipaddress.ip_network(n)) for n in allowed_ips],
            "replace_allowed_ips": True,
            "persistent_keepalive": keepalive,
        }
        if endpoint is not None:
            peer["endpoint_addr"], peer["endpoint_port"] = endpoint
        if preshared_key is not None:
            peer["preshared_key"] = _key(preshared_key)
        with self._client.open("WireGuard", self.name) as wg:
            wg.set(self.name, peer=peer)
        return self

    def remove_peer(self, public_key: str) -> None:
        """Forget a peer."""
        with self._client.open("WireGuard", self.name) as wg:
            wg.set(self.name, peer={"public_key": _key(public_key), "remove": True})

    def _messages(self) -> Any:
        name = self.name
        with self._client.open("WireGuard", name) as wg:
            return wg.info(name)

    def _info(self) -> Any:
        return self._messages()[0]


def _key(text: str) -> str:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != 32:
        raise ValueError("a key has 32 bytes, written in base64")
    return text


def _peer(message: Any) -> Peer:
    endpoint = message.get("endpoint")
    handshake = message.get("last_handshake_time")
    at = handshake["tv_sec"] + handshake["tv_nsec"] / 1e9 if handshake else 0
    return Peer(
        public_key=message.get("public_key").decode(),
        endpoint=(endpoint["addr"], endpoint["port"]) if endpoint else None,
        allowed_ips=tuple(
            ipaddress.ip_network(ip["addr"]) for ip in message.get("allowedips") or ()
        ),
        keepalive=message.get("persistent_keepalive_interval") or 0,
        last_handshake=at or None,
        rx_bytes=message.get("rx_bytes") or 0,
        tx_bytes=message.get("tx_bytes") or 0,
    )
