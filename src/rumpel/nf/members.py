# SPDX-License-Identifier: GPL-2.0-only
"""What a chain consists of: stages, and programs of the host between them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from rumpel.nf.stage import LEFT, RIGHT, Side, Stage, StageError, is_stage, suggestion
from rumpel.nf.words import Operator, words

if TYPE_CHECKING:
    from subprocess import Popen

__all__ = ["Make", "Member", "Program", "parse"]

Direction = Literal[">", "<", "<>"]
_DIRECTIONS: dict[str, Direction] = {">": ">", "<": "<", "<>": "<>"}
Make = Callable[[str, list[str]], Stage]
"""Makes a stage of its name and arguments."""


class Program:
    """A program of the host that sees packets as text.

    Args:
        words: the program and its arguments.
        direction: which packets go through it: those to the right, to the left, or both, each
            through a process of its own.
    """

    def __init__(self, words: Sequence[str], direction: Direction) -> None:
        self.words = list(words)
        self.direction = direction
        self.name = words[0]

    def start(self, stdin: int, stdout: int) -> Popen[bytes]:
        """Run it.

        Most programs would collect lines when they write to a pipe: stdbuf(1) lets those that
        use the C library's streams write each one at once.
        """
        from subprocess import Popen

        words = self.words
        if shutil.which("stdbuf"):
            words = ["stdbuf", "-oL", *words]
        return Popen(words, stdin=stdin, stdout=stdout)


class Member:
    """A stage in a chain.

    Args:
        name: of the stage.
        stage: itself.
    """

    def __init__(self, name: str, stage: Stage) -> None:
        self.name = name
        self.stage = stage


def parse(text: str, make: Make) -> list[Member | Program]:
    """Take a chain apart: stages and programs with ``|`` between them.

    Words are quoted as in the shell. A program may be marked with the packets that it sees:
    ``>`` (which is what it sees without a mark), ``<`` or ``<>``. Lines that begin with ``#``
    are comments, so that a file may hold it.

    Args:
        text: the chain.
        make: makes a stage of its name and arguments.

    Raises:
        StageError: if that is no chain.

    Example:
        >>> parse("ping 10.0.0.2 | <> grep -v 10.0.0.9 | host 10.0.0.2", make)  # doctest: +SKIP
    """
    chain: list[Member | Program] = []
    parts: list[list[str]] = [[]]
    for word in words(text):
        if isinstance(word, Operator) and word == "|":
            parts.append([])
        else:
            parts[-1].append(word)
    for part in parts:
        if not part:
            raise StageError("not a chain: there is nothing between two |")
        chain.append(_member(part, make))
    _place(chain)
    return chain


def _member(words: list[str], make: Make) -> Member | Program:
    mark = words[0] if isinstance(words[0], Operator) else None
    if mark is not None:
        words = words[1:]
    for word in words:
        if isinstance(word, Operator):
            raise StageError(
                f"a chain has no redirections: quote {word} if it is part of a word"
                " (sh -c has them for a program)"
            )
    if mark is not None:
        if not words:
            raise StageError(f"a program is expected behind {mark}")
        return Program(words, _DIRECTIONS[mark])
    if is_stage(words[0]):
        return Member(words[0], make(words[0], words[1:]))
    if shutil.which(words[0]) is None:
        raise StageError(
            f"there is neither a stage nor a program {words[0]!r}{suggestion(words[0])}"
        )
    return Program(words, ">")


def _place(chain: Sequence[Member | Program]) -> None:
    """Check that everything is where it can be, and turn the ends to the rest."""
    last = len(chain) - 1
    for number, member in enumerate(chain):
        if isinstance(member, Program):
            if number in (0, last):
                raise StageError(f"a chain begins and ends with stages, {member.name!r} is none")
        elif len(member.stage.ports) == 1:
            if number not in (0, last):
                raise StageError(f"{member.name!r} has one port: it is the end of a chain")
            if last:
                member.stage.ports = (LEFT,) if number else (RIGHT,)
    stages = [member.stage for member in chain if isinstance(member, Member)]
    _open_end(stages[1:] if stages[0].deaf else stages, LEFT, RIGHT)
    _open_end(stages[::-1], RIGHT, LEFT)


def _open_end(stages: Sequence[Stage], near: Side, far: Side) -> None:
    """At standard input or output nobody is asked, nor behind stages that only carry on.

    stages: the one that is there first. near: its side that is there.
    """
    for stage in stages:
        if near not in stage.ports:
            return
        stage.one_way = frozenset([near, *stage.one_way])
        if stage.answers or far not in stage.ports:
            return
        stage.one_way = frozenset([far, *stage.one_way])
