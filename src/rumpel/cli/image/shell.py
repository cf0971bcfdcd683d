# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image shell``: commands for one image that stays open."""

from __future__ import annotations

import posixpath
import shlex
import sys
from collections.abc import Iterator

import click

from rumpel.cli.image.clicked import Command, options
from rumpel.cli.image.common import KEPT, Images, Place, warn
from rumpel.cli.image.how import How
from rumpel.errors import RumpelError
from rumpel.images.locate import HERE, parse

_OUTSIDE = ("check", "commit", "create", "info", "mount", "resize", "shell", "umount")
"""Commands that open an image in their own way."""
_OWN = {"cd": "Go to a directory.", "pwd": "Where that is.", "exit": "Leave."}


class _Failed(Exception):
    """A command has failed, and has said so."""


@click.command(cls=Command)
@options
@click.argument("name", metavar="IMAGE[:PARTITION][:DIRECTORY]")
def command(how: How, name: str) -> None:
    """Give commands for an image, one after the other, without its name.

    They are those of rumpel image, such as ls -l etc, and cd, pwd, help and exit. Where a name
    may as well be the host's, as of cp and diff, those in the image begin with a colon, as in
    cp :etc/hosts /tmp

    If stdin is no terminal it is a script, which ends at the first command that fails.

    \b
    Example:
      echo 'cp hosts :/etc' | rumpel image shell disk.img
    """
    with Images(how, writes=not how.read_only) as images, images.attempt(name):
        place = images.place(parse(name))
        KEPT.set(place.volume)
        HERE.set(parse(name)._replace(path=place.path))
        _cd(place, ".")
        is_terminal = sys.stdin.isatty()
        for line in _typed(place) if is_terminal else sys.stdin:
            try:
                if not _run(place, line):
                    break
            except _Failed:
                if is_terminal:
                    continue
                images.failed = True
                break


def _run(place: Place, line: str) -> bool:
    """Run a line; whether to go on."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        warn(str(error))
        raise _Failed from None
    if not words:
        return True
    name, *rest = words
    if name in ("exit", "quit"):
        return False
    try:
        if name == "cd":
            _cd(place, rest[0] if rest else "/")
        elif name == "pwd":
            click.echo(_here())
        elif name == "help":
            _help()
        else:
            _command(name, rest)
    except click.exceptions.Exit as error:
        if error.exit_code:
            raise _Failed from None
    except (click.ClickException, OSError) as error:
        warn(_told(error))
        raise _Failed from None
    except RuntimeError as error:  # both sides of a diff are in the one image
        warn(str(error))
        raise _Failed from None
    except RumpelError as error:
        if place.volume.kernel.state != "running":
            raise
        warn(str(error))
        raise _Failed from None
    finally:
        sys.stdout.flush()
    return True


def _told(error: click.ClickException | OSError) -> str:
    if isinstance(error, click.ClickException):
        return error.format_message()
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)


def _commands() -> dict[str, str]:
    from rumpel.cli.image import COMMANDS

    return {row.name: row.help for row in COMMANDS if row.name not in _OUTSIDE}


def _command(name: str, words: list[str]) -> None:
    from rumpel.cli.image.group import command as group

    if name not in _commands():
        raise click.UsageError(f"no such command here: {name} (help lists them)")
    made = group.get_command(click.get_current_context(), name)
    assert made
    try:
        context = made.make_context(name, list(words))
    except click.MissingParameter:
        # All that ls and their like need is where to look.
        context = made.make_context(name, [*words, ":"])
    with context:
        made.invoke(context)


def _help() -> None:
    for name, text in {**_commands(), **_OWN}.items():
        click.echo(f"{name:8} {text}")
    click.echo("Each has --help. Names of files in the image may begin with a colon.")


def _here() -> str:
    here = HERE.get()
    return (here.path if here else None) or "/"


def _cd(place: Place, directory: str) -> None:
    path = posixpath.normpath(posixpath.join(_here(), directory.removeprefix(":")))
    path = "/" + path.lstrip("/")
    with place.volume.kernel.os.scandir(path):
        pass
    here = HERE.get()
    assert here
    HERE.set(here._replace(path=path))


def _typed(place: Place) -> Iterator[str]:
    """What somebody types, with completion and history."""
    try:
        from rumpel.cli.image.prompt import prompt
    except ModuleNotFoundError:
        raise click.UsageError(
            "a prompt needs prompt_toolkit: pip install rumpel[images]"
        ) from None
    return prompt(place.volume, _here, [*_commands(), *_OWN, "help"])
