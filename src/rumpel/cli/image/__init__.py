# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image``: files in disk images.

To import click takes longer than to boot, so commands that are short themselves do without:
``quick`` runs those whose module has ``PARAMS`` and ``run`` if their line is right. ``group`` makes
click's of them, for help, mistakes and the shell, beside those that have click's ``command``.
"""

from __future__ import annotations

from rumpel.cli.row import Row

COMMANDS = tuple(
    Row(name, f"rumpel.cli.image.{name}", help)
    for name, help in (
        ("ls", "List directories."),
        ("tree", "Show a tree."),
        ("find", "Look for files."),
        ("cat", "Print files."),
        ("stat", "Tell all about files."),
        ("df", "Tell how full file systems are."),
        ("du", "Tell what takes room."),
        ("cp", "Copy into, out of, within and between images."),
        ("mv", "Rename or move within an image."),
        ("rm", "Remove files and trees."),
        ("mkdir", "Make directories."),
        ("ln", "Make links."),
        ("chmod", "Change modes."),
        ("chown", "Change owners."),
        ("edit", "Edit a file with $EDITOR."),
        ("tar", "Write a tree as a tar archive."),
        ("untar", "Unpack a tar archive."),
        ("diff", "Compare two trees."),
        ("shell", "Give commands one after the other."),
        ("mount", "Mount at a directory."),
        ("umount", "Unmount, and wait until all is written."),
        ("info", "Tell what is in an image."),
        ("create", "Make an image."),
        ("check", "Check file systems, and repair them."),
        ("resize", "Make an image larger or smaller."),
        ("trim", "Give unused room back to the host."),
        ("commit", "Put an overlay's changes into its image."),
    )
)

HELP = """Files in disk images, of every file system that Linux has, without root.

Images are named disk.img, disk.img:2 (a partition) or disk.img:LABEL=root, files in them
disk.img:2:/etc/hosts, or disk.img:/etc/hosts if there is but one file system.

\b
Examples:
  rumpel image create disk.img 1G -p 64M:vfat:EFI -p rest:ext4:root --from tree
  rumpel image cp -r disk.img:2:/var/log logs
  rumpel image mount disk.img:2 mnt
"""
