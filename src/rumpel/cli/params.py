# SPDX-License-Identifier: GPL-2.0-only
"""What is declared without click (:mod:`rumpel.options`), as click has it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import click

from rumpel.options import (
    Argument,
    Choice,
    ExistingFile,
    FloatRange,
    IntRange,
    NamedFile,
    Option,
)

__all__ = ["params"]


def params(declared: Sequence[Option | Argument]) -> list[click.Parameter]:
    """The same options and arguments, in their order."""
    return [_argument(p) if isinstance(p, Argument) else _option(p) for p in declared]


def _argument(p: Argument) -> click.Argument:
    return click.Argument(
        [p.name], type=_type(p.type), nargs=p.nargs, required=p.required, metavar=p.metavar
    )


def _option(p: Option) -> click.Option:
    attributes: dict[str, Any] = {"help": p.help, "show_default": p.show_default}
    attributes["hidden"] = p.hidden
    if p.is_flag:
        flags = [f"{p.flags[0]}/{p.off}", *p.flags[1:]] if p.off else p.flags
        return click.Option([*flags, p.name], is_flag=True, default=p.missing, **attributes)
    if not p.multiple:
        attributes["default"] = p.missing
    return click.Option(
        [*p.flags, p.name],
        type=_type(p.type),
        multiple=p.multiple,
        metavar=p.metavar,
        **attributes,
    )


def _type(type: Any) -> Any:
    match type:
        case Choice():
            return click.Choice(type.choices)
        case IntRange():
            return _Whole(type.min, type.max)
        case FloatRange():
            return _Finite(type.min, min_open=type.min_open)
        case ExistingFile():
            return click.Path(exists=True, dir_okay=False)
        case NamedFile():
            return _said(type)
    return type if type in (str, int, float) else _said(type)


def _said(function: Callable[[str], Any]) -> Callable[[str], Any]:
    """The same, but that click has what it says if there is no value."""

    def convert(word: str) -> Any:
        try:
            return function(word)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return convert


class _Whole(click.IntRange):
    """Called what it is, in the help and in messages."""

    name = "integer"


class _Finite(click.FloatRange):
    """Without inf and nan, which Python takes for numbers."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number
