# SPDX-License-Identifier: GPL-2.0-only
"""What the ``rumpel image`` commands share, as click has it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from rumpel.cli.image import how as declared
from rumpel.cli.image.how import HOW, How
from rumpel.cli.image.leaving import Failed
from rumpel.cli.params import params
from rumpel.cli.sections import Sectioned
from rumpel.options import Argument, Misused, Option

__all__ = ["Command", "as_json", "command_of", "exclude", "jobs", "options", "owner", "progress"]

Function = TypeVar("Function", bound=Callable[..., Any])


class Command(Sectioned):
    """A command of ``rumpel image``."""

    shared = frozenset(option.name for option in HOW)
    heading = "Options of all image commands"


def _decorator(option: Option) -> Callable[[Function], Function]:
    def decorate(function: Function) -> Function:
        _add(function, [option])
        return function

    return decorate


def _add(function: Any, declared: Sequence[Option | Argument]) -> None:
    """Click keeps the last first."""
    kept = getattr(function, "__click_params__", [])
    function.__click_params__ = [*kept, *reversed(params(declared))]


as_json = _decorator(declared.AS_JSON)
exclude = _decorator(declared.EXCLUDE)
owner = _decorator(declared.OWNER)
progress = _decorator(declared.PROGRESS)
jobs = _decorator(declared.JOBS)


def options(function: Function) -> Function:
    """Give a command the options of :class:`How`, as its first argument."""
    wrapped: Any = _wrapped(function)
    wrapped.__click_params__ = getattr(function, "__click_params__", [])
    _add(wrapped, HOW)
    result: Function = wrapped
    return result


def _wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(**given: Any) -> Any:
        how = How.taken(given)
        try:
            return function(how, **given)
        except Misused as error:
            raise click.UsageError(str(error)) from None
        except Failed as error:
            raise click.exceptions.Exit(error.status) from None

    run.__name__, run.__doc__ = function.__name__, function.__doc__
    return run


def command_of(
    name: str, run: Callable[..., Any], declared: Sequence[Option | Argument]
) -> click.Command:
    """A command that was declared without click."""
    return Command(
        name,
        params=params((*HOW, *declared)),
        callback=_wrapped(run),
        help=inspect.cleandoc(run.__doc__ or ""),
    )
