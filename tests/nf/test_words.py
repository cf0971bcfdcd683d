# SPDX-License-Identifier: GPL-2.0-only
"""A chain's text: words, operators, and what is neither."""

from __future__ import annotations

import shlex

import pytest

from rumpel.nf import Stage, StageError
from rumpel.nf.members import Member, parse
from rumpel.nf.words import Operator, words


@pytest.mark.parametrize(
    "text",
    [
        "ping -c 3 10.0.0.2",
        "grep -v '> 10.0.0.9' \"a 'b' \\\"c\\\" \\n\" 'a \\ b'",
        "a\\ b '' \"\" e''f",
        "http://x/#part a#b",
        "\t a \n b ",
    ],
)
def test_words_are_the_shells(text: str) -> None:
    """Quotes, backslashes, and a number sign in the middle of a word."""
    assert words(text) == shlex.split(text)


def test_a_line_goes_on() -> None:
    """Behind a backslash; Python's shlex has a line break there."""
    assert words('a\\\nb "c\\\nd" \\\n') == ["ab", "cd"]


def test_operators() -> None:
    """With or without space around them, and only where they are not quoted."""
    found = words("a|b |<c '|'|<>d \\| \">\" # e | f\ng")
    assert found == ["a", "|", "b", "|", "<", "c", "|", "|", "<>", "d", "|", ">", "g"]
    marks = [word for word in found if isinstance(word, Operator)]
    assert marks == ["|", "|", "<", "|", "<>"]


def make(name: str, _: list[str]) -> Stage:
    """A stage with the ports that its name says."""
    stage = Stage()
    stage.ports = {"ping": ("right",), "host": ("left",)}.get(name, ("left", "right"))  # type: ignore[assignment]
    return stage


@pytest.mark.parametrize(
    ("program", "direction", "line"),
    [
        ("grep '|'", ">", ["grep", "|"]),
        ("<grep -v '<'", "<", ["grep", "-v", "<"]),
        ("<> grep a#b", "<>", ["grep", "a#b"]),
        ("> cat", ">", ["cat"]),
    ],
)
def test_programs(program: str, direction: str, line: list[str]) -> None:
    """Their words, and which way they filter."""
    _, found, _ = parse(f"ping 10.0.0.2 |{program}|host 10.0.0.2", make)
    assert not isinstance(found, Member)
    assert (found.direction, found.words) == (direction, line)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ping x | cat > file | host x", "a chain has no redirections: quote >"),
        ("ping x | grep a>b | host x", "a chain has no redirections: quote >"),
        ("ping x || host x", "nothing between two |"),
        ("", "nothing between two |"),
        ("ping x | > | host x", "a program is expected behind >"),
        ("ping x | 'grep", "No closing quotation"),
        ("ping x \\", "nothing behind the last"),
    ],
)
def test_what_is_no_chain(text: str, message: str) -> None:
    """It is said why."""
    with pytest.raises(StageError, match=message.replace("|", r"\|")):
        parse(text, make)
