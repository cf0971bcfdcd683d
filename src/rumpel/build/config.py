# SPDX-License-Identifier: GPL-2.0-only
"""Profiles, options, and whether they came out as asked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rumpel.build.layout import Layout
from rumpel.errors import BuildError, ConfigError

if TYPE_CHECKING:
    from rumpel.build.kconfig import Kconfig

_ASSIGN = re.compile(r"(?:CONFIG_)?([A-Za-z0-9_]+)=(y|n|m|-?\d+|0[xX][0-9a-fA-F]+|\".*\")")
_UNSET = re.compile(r"# CONFIG_([A-Za-z0-9_]+) is not set")

UNKNOWN = "this kernel has no such option"


def profiles(layout: Layout) -> list[str]:
    """The names of all profiles."""
    return sorted(p.stem for p in layout.configs.glob("*.config"))


def profile_options(layout: Layout, profile: str) -> dict[str, str]:
    """The options of a profile and of the fragments it includes; later ones win."""
    file = layout.configs / f"{profile}.config"
    if "/" in profile or not file.is_file():
        raise BuildError(
            f"there is no profile {profile!r}; there are: {', '.join(profiles(layout))}"
        )
    text = file.read_text()
    wanted: dict[str, str] = {}
    for name in re.findall(r"^# include (\S+)$", text, re.M):
        fragment = layout.configs / "fragments" / name
        if not fragment.is_file():
            raise BuildError(f"profile {profile!r} includes {name}, which does not exist")
        wanted.update(parse(fragment.read_text()))
    wanted.update(parse(text))
    return wanted


def parse(text: str) -> dict[str, str]:
    """The options of a fragment or of a ``.config``."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        assign = _ASSIGN.fullmatch(line.strip()) if line.startswith("CONFIG_") else None
        if assign:
            found[assign[1]] = assign[2]
        elif unset := _UNSET.fullmatch(line.strip()):
            found[unset[1]] = "n"
    return found


def user_options(options: Iterable[str]) -> dict[str, str]:
    """Options as a user writes them: ``CONFIG_X=y``, or ``X=y``."""
    found: dict[str, str] = {}
    for option in options:
        assign = _ASSIGN.fullmatch(option)
        if not assign:
            raise ConfigError(
                f'{option!r} is no option; write CONFIG_NAME=y, =n, =number or ="text"'
            )
        if assign[2] == "m":
            raise ConfigError(f"{option!r}: there are no modules in a library; write =y")
        found[assign[1]] = assign[2]
    return found


def render(options: dict[str, str]) -> str:
    """Options as a fragment."""
    return "".join(
        f"# CONFIG_{k} is not set\n" if v == "n" else f"CONFIG_{k}={v}\n"
        for k, v in options.items()
    )


def lost(wanted: dict[str, str], got: dict[str, str]) -> list[str]:
    """The names of the options that did not come out as asked."""
    return [name for name, value in wanted.items() if got.get(name, "n") != value]


def explain(kconfig: Kconfig, name: str, wanted: str, got: dict[str, str]) -> str:
    """Say why an option did not come out, as far as the Kconfig files tell."""
    from rumpel.build.kconfig import symbols

    head = f"CONFIG_{name}={wanted} came out as {got.get(name, 'n')}"
    if not kconfig.knows(name):
        return f"{head}: {UNKNOWN}"
    conditions = kconfig.conditions(name)
    unmet = [x for x in symbols(conditions) if got.get(x, "n") == "n"]
    if unmet and wanted != "n":
        joined = " && ".join(f"({x})" if "||" in x else x for x in conditions)
        return f"{head}: it depends on {joined}; not set: {', '.join(unmet)}"
    if wanted == "n":
        return f"{head}: another option selects it"
    if not kconfig.has_prompt(name):
        return f"{head}: it cannot be asked for, only other options select it"
    return f"{head}: its choice or its range does not allow it"
