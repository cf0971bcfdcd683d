# SPDX-License-Identifier: GPL-2.0-only
"""The kernel of a stage, which boots while the rest of the program is imported.

It is booted before anything else is known, and imports next to nothing: Python's own modules
take as long to import as a kernel to boot.
"""

from __future__ import annotations

from rumpel import _native
from rumpel.build.lookup import image_path
from rumpel.build.snapshots import snapshot_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rumpel.kernel import Kernel

__all__ = ["Start"]

_NAMES = """
bridge chain filter host mux nat offload packet pcap ping route shape tap tcp tee tunnel udp user
vlan
"""
BOOTED = frozenset(_NAMES.split())
"""Stages that have a kernel; those of a chain have copies of one."""
MEMORY = 64 << 20
"""Bytes of a kernel."""
_OTHERWISE = ("--help", "--fuse", "--virtual")
"""Where there is none, or several."""


class Start:
    """A guess at the kernel that a command will want. If it is wrong it was in vain.

    Args:
        words: the command's.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._native: _native.Kernel | None = None
        self._error: BaseException | None = None
        self._linux: dict[str, str] = {}
        if not words or words[0] not in BOOTED or any(word in words for word in _OTHERWISE):
            return
        self._linux = {
            name: value
            for name, option in (("version", "--kernel"), ("image", "--image"))
            if (value := _given(words, option)) is not None
        }
        try:
            self._boot()
        except BaseException as error:  # an interrupt, too, is told when somebody listens
            self._error = error

    def _boot(self) -> None:
        image = self._linux.get("image") or image_path(
            self._linux.get("version", "6.12"), "default"
        )
        snapshot = snapshot_file(image, MEMORY, _native.__file__)
        self._native = _native.boot(image, memory=MEMORY, snapshot=snapshot)

    def take(self, linux: Mapping[str, str]) -> Kernel | None:
        """The kernel, or None if this is not the one that is wanted.

        Args:
            linux: what is wanted, as :func:`rumpel.boot` has it.

        Raises:
            BootError: if it did not boot.
        """
        native, error = self._native, self._error
        if linux != self._linux:
            return None
        self._native = self._error = None
        if error is not None:
            raise error
        if native is None:
            return None
        from rumpel.booting import adopt

        return adopt(native)

    def close(self) -> None:
        """Throw away what nobody has taken."""
        if self._native is not None:
            self._native.close()
        self._native = self._error = None


def _given(words: Sequence[str], option: str) -> str | None:
    """An option's value."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == option:
            return following
        if word.startswith(f"{option}="):
            return word[len(option) + 1 :]
    return None
