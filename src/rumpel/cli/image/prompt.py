# SPDX-License-Identifier: GPL-2.0-only
"""The prompt of ``rumpel image shell``: completion of commands and of files, and a history."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory

from rumpel.cli.terminal import masked
from rumpel.images.volume import Volume

__all__ = ["ImageCompleter", "prompt"]


class ImageCompleter(Completer):
    """Completes a command, and then paths in the image.

    Args:
        volume: the file system.
        here: says which directory names begin in.
        commands: their names.
    """

    def __init__(self, volume: Volume, here: Callable[[], str], commands: Sequence[str]) -> None:
        self._volume = volume
        self._here = here
        self._commands = sorted(commands)

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        """What the word before the cursor may become."""
        words = document.text_before_cursor.split(" ")
        word = words[-1]
        if not any(words[:-1]):
            for name in self._commands:
                if name.startswith(word):
                    yield Completion(name, -len(word))
            return
        directory, name = posixpath.split(word.removeprefix(":"))
        top = posixpath.join(self._here(), directory)
        try:
            found = list(self._volume.walk(top, 1, follow=True))[1:]
        except OSError:
            return
        for each in found:
            if each.path.startswith(name) and (name or not each.path.startswith(".")):
                slash = "/" if stat.S_ISDIR(each.mode) else ""
                text = each.path.replace(" ", "\\ ") + slash
                yield Completion(text, -len(name), display=masked(each.path + slash))


def prompt(volume: Volume, here: Callable[[], str], commands: Sequence[str]) -> Iterator[str]:
    """The lines that somebody types, until Ctrl-D."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state", "rumpel")
    state.mkdir(parents=True, exist_ok=True)
    session: PromptSession[str] = PromptSession(
        history=FileHistory(str(state / "image_history")),
        completer=ImageCompleter(volume, here, commands),
        complete_while_typing=False,
    )
    while True:
        try:
            yield session.prompt(f"{masked(volume.name)}:{masked(here())}> ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
