# SPDX-License-Identifier: GPL-2.0-only
"""Passwords, and the keys that are made of them.

All of this happens in the caller's process: a kernel that reads a stranger's image never gets a
password, only the key that is made of it with the salt of that image.

Source: LUKS On-Disk Format Specification 1.2.3, sections 2.4 (anti-forensic splitter) and 4;
RFC 8018 (PBKDF2), RFC 9106 (Argon2).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

from rumpel.images.layers.luks_header import Digest, HeaderError, Kdf

__all__ = ["Key", "derive", "merge"]

_MOST_FILE = 8 << 20
"""As cryptsetup has it."""
_MOST_MEMORY, _MOST_LANES = 4 << 20, 16
"""Of Argon2; cryptsetup makes none above 4 GiB and 4."""
_MOST_PBKDF2, _MOST_ARGON2 = 1 << 30, 1 << 29
"""Minutes: iterations for 20 bytes, and iterations times KiB. Only a stranger chooses more."""
_HASHES = {"blake2b-512": "blake2b", "blake2s-256": "blake2s", "ripemd160": "ripemd160"}


class Key:
    """A password, or where it comes from; nothing of it is shown.

    Args:
        password: text (UTF-8) or bytes.
        keyfile: a file whose whole contents are the password.
        ask: is called with the name of what is locked if nothing else is there; None from it
            means that there is nobody to ask.

    Attributes:
        found: the keys of volumes that it has opened, by the digests in their headers.

    Raises:
        OSError: if the key file cannot be read.
        ValueError: if it is too long, or there is a password as well.
    """

    def __init__(
        self,
        password: str | bytes | None = None,
        keyfile: str | None = None,
        ask: Callable[[str], str | None] | None = None,
    ) -> None:
        if password is not None and keyfile is not None:
            raise ValueError("a password or a key file, not both")
        self._password = password.encode() if isinstance(password, str) else password
        self._ask = ask
        self.found: dict[Digest, bytes] = {}
        if keyfile is not None:
            with Path(keyfile).open("rb") as file:
                self._password = file.read(_MOST_FILE + 1)
            if len(self._password) > _MOST_FILE:
                raise ValueError(f"{keyfile}: no key file has more than 8 MiB")

    @property
    def given(self) -> bool:
        """Is it there, without asking anybody?"""
        return self._password is not None

    def get(self, name: str) -> bytes | None:
        """The password for what is called so."""
        if self._password is not None:
            return self._password
        answer = self._ask(name) if self._ask else None
        return None if answer is None else answer.encode()

    def __repr__(self) -> str:
        return "<Key>"


def derive(kdf: Kdf, password: bytes, size: int) -> bytes:
    """Make a key of a password. It takes as long as its maker wanted, and can be interrupted.

    Raises:
        HeaderError: if that cannot be done here.
    """
    _check_cost(kdf, size)
    result: list[bytes | BaseException] = []

    def work() -> None:
        try:
            result.append(_derive(kdf, password, size))
        except BaseException as error:
            result.append(error)

    # Both functions let other threads run, but hear no Ctrl-C.
    thread = threading.Thread(target=work, name="rumpel-key", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.5)
    if isinstance(result[0], bytes):
        return result[0]
    raise result[0]


def _check_cost(kdf: Kdf, size: int) -> None:
    if kdf.kind == "pbkdf2":
        costly = kdf.cost * -(-size // 20) > _MOST_PBKDF2
    else:
        costly = kdf.memory > _MOST_MEMORY or kdf.lanes > _MOST_LANES
        costly = costly or kdf.cost * kdf.memory > _MOST_ARGON2
    if costly:
        raise HeaderError(f"its key needs more of {kdf.kind} than anybody would choose")


def _derive(kdf: Kdf, password: bytes, size: int) -> bytes:
    if kdf.kind == "pbkdf2":
        return hashlib.pbkdf2_hmac(_hash(kdf.hash), password, kdf.salt, kdf.cost, size)
    try:
        from argon2.exceptions import Argon2Error
        from argon2.low_level import Type, hash_secret_raw
    except ImportError as error:
        raise HeaderError(
            "its key is made with Argon2: pip install 'rumpel[images]', or argon2-cffi"
        ) from error
    kind = Type.ID if kdf.kind == "argon2id" else Type.I
    try:
        return hash_secret_raw(password, kdf.salt, kdf.cost, kdf.memory, kdf.lanes, size, kind)
    except (Argon2Error, MemoryError, OverflowError) as error:
        raise HeaderError(f"its key cannot be made: Argon2: {error}") from error


def merge(split: bytes, size: int, name: str) -> bytes:
    """Undo the anti-forensic splitter: all stripes together are the key.

    Args:
        split: the stripes, of ``size`` bytes each.
        size: of the key.
        name: of the hash.

    Raises:
        HeaderError: if there is no such hash here.

    Example:
        >>> merge(b"onlyone!", 8, "sha256")
        b'onlyone!'
    """
    name = _hash(name)
    length = hashlib.new(name).digest_size
    state = bytes(size)
    for at in range(0, len(split) - size, size):
        mixed = _xor(state, split[at : at + size])
        pieces = [
            hashlib.new(name, number.to_bytes(4, "big") + mixed[start : start + length]).digest()
            for number, start in enumerate(range(0, size, length))
        ]
        # The last piece may be shorter than a digest.
        state = b"".join(pieces)[:size]
    return _xor(state, split[-size:])


def _hash(name: str) -> str:
    """The name that Python has for a hash."""
    known = _HASHES.get(name, name.replace("-", "_"))
    try:
        if not known.startswith("shake"):
            hashlib.new(known)
            return known
    except ValueError:
        pass  # as some are in some builds of OpenSSL
    raise HeaderError(f"its hash {name} is not known to this Python")


def _xor(one: bytes, other: bytes) -> bytes:
    number = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
    return number.to_bytes(len(one), "big")
