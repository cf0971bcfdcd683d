# SPDX-License-Identifier: GPL-2.0-only
"""What the ``rumpel image`` commands can all be told, and parts of it; without click."""

from __future__ import annotations

from rumpel.cli.image.passwords import PASSWORD, key
from rumpel.images.session import Options
from rumpel.named import NamedTuple
from rumpel.options import FloatRange, IntRange, Misused, NamedFile, Option
from rumpel.sizes import to_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rumpel.images.layers.stack import Verity

__all__ = ["AS_JSON", "EXCLUDE", "HOW", "JOBS", "OWNER", "PROGRESS", "How"]

_MOST = 0xFFFFFFFE
"""Of users and groups: the number above says that there is none."""


def _owner(value: str) -> tuple[int, int]:
    user, _, group = value.partition(":")
    if not user.isdecimal() or not (group or user).isdecimal():
        raise ValueError("must be numbers: UID or UID:GID")
    owner = int(user), int(group or user)
    if max(owner) > _MOST:
        raise ValueError(f"{max(owner)} is no number of a user or group: the last is {_MOST}")
    return owner


def _size(value: str) -> str:
    to_bytes(value)
    return value


def _mount_options(value: str) -> str:
    from rumpel.images.mounting import split_options

    split_options(",".join(word for word in value.split(",") if word != "ro"))
    return value


AS_JSON = Option("--json", "as_json", is_flag=True, help="Print JSON.")
EXCLUDE = Option(
    "--exclude", multiple=True, metavar="PATTERN", help="Leave out what fits, by name or path."
)
OWNER = Option("--owner", type=_owner, metavar="UID[:GID]", help="Owner of all that is written.")
PROGRESS = Option("--progress", is_flag=True, help="Show a bar on a terminal.")
JOBS = Option(
    "--jobs",
    "-j",
    type=IntRange(1, 64),
    default=1,
    metavar="N",
    help="Look ahead at N files at once, where the disk or the network is slow.",
)
HOW = (
    Option("--read-only", "how_read_only", is_flag=True, help="Refuse to write."),
    Option(
        "--overlay",
        "how_overlay",
        type=NamedFile(),
        metavar="FILE",
        help="Write to this qcow2 file, which is made if need be, not to the image.",
    ),
    Option(
        "--sandbox",
        "how_sandbox",
        off="--no-sandbox",
        is_flag=True,
        default=True,
        show_default=False,
        help="Run the kernel in a process without privileges (the default).",
    ),
    Option(
        "--memory",
        "how_memory",
        type=_size,
        default="64M",
        metavar="SIZE",
        help="The kernel's.",
    ),
    Option(
        "--kernel",
        "how_kernel",
        default="6.12",
        help="The kernel's version, or the path of its image.",
    ),
    Option("--profile", "how_profile", default="default", hidden=True),
    Option(
        "--disk",
        "how_disks",
        multiple=True,
        metavar="PATH",
        help="One more disk of the same file system.",
    ),
    Option(
        "--password-file",
        "how_password_file",
        metavar="FILE",
        help="Its first line is the password of what is encrypted; - is stdin."
        f" Otherwise ${PASSWORD}, or what is typed on a terminal.",
    ),
    Option("--key-file", "how_key_file", metavar="FILE", help="All of it is the password."),
    Option(
        "--verity",
        "how_verity",
        metavar="HASH",
        help="Check all by the tree of hashes (dm-verity) with that root.",
    ),
    Option("--verity-hash", "how_verity_hash", metavar="PATH", help="The tree's image."),
    Option(
        "--verity-offset",
        "how_verity_offset",
        type=int,
        metavar="BYTES",
        help="Where it begins, if it is behind the data.",
    ),
    Option(
        "--timeout",
        "how_timeout",
        type=FloatRange(0),
        default=300.0,
        metavar="SECONDS",
        help="How long the sandbox may be silent before it is killed; 0 is for ever.",
    ),
    Option(
        "--format",
        "how_format",
        metavar="FORMAT",
        help="Of the image: raw, qcow2, ...; by default what its content says.",
    ),
    Option(
        "--backing",
        "how_backing",
        is_flag=True,
        help="Let a qcow2 or VMDK that you trust name files in other directories.",
    ),
    Option(
        "--mount-options",
        "-o",
        "how_mount_options",
        type=_mount_options,
        default="",
        show_default=False,
        metavar="OPTIONS",
        help="Of the file system, as those of mount(8): subvol=home,compress=zstd.",
    ),
)
"""Of all commands: the fields of :class:`How`."""


class How(NamedTuple):
    """The options that all commands have."""

    read_only: bool
    overlay: str | None
    sandbox: bool
    memory: str
    kernel: str
    profile: str
    disks: tuple[str, ...]
    timeout: float
    format: str | None
    backing: bool
    password_file: str | None
    key_file: str | None
    verity: str | None
    verity_hash: str | None
    verity_offset: int | None
    mount_options: str

    @classmethod
    def taken(cls, values: dict[str, Any]) -> How:
        """Take the values of :data:`HOW` out of others."""
        taken = cls(*(values.pop(f"how_{name}") for name in cls._fields))
        words = taken.mount_options.split(",")
        if "ro" not in words:
            return taken
        rest = ",".join(word for word in words if word != "ro")
        return taken._replace(read_only=True, mount_options=rest)

    def paths(self, image: str) -> list[str]:
        """All disks that belong to an image."""
        return [image, *self.disks, *([self.verity_hash] if self.verity_hash else [])]

    def options(self, writes: bool, asks: bool = True, copies: bool = True) -> Options:
        """For a command.

        Args:
            writes: it does.
            asks: for passwords, on a terminal.
            copies: trees; see :class:`Options`.
        """
        if writes and self.read_only:
            raise Misused("--read-only, but this writes")
        return Options(
            not writes and self.overlay is None,
            self.overlay,
            self.sandbox,
            self.memory,
            self.kernel,
            self.profile,
            self.timeout or None,
            self.format,
            self.backing,
            key(self.password_file, self.key_file, asks),
            _root(self.verity, self.verity_offset),
            self.mount_options,
            copies,
        )


def _root(text: str | None, offset: int | None) -> Verity | None:
    if text is None:
        return None
    from rumpel.images.layers.stack import parse_root

    try:
        return parse_root(text, offset)
    except ValueError as error:
        raise Misused(f"--verity: {error}") from None
