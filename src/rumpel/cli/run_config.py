# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel run --config FILE.toml``: the options by their names."""

from __future__ import annotations

from typing import Any

import click

__all__ = ["configure"]


def configure(context: click.Context, parameter: click.Parameter, path: str | None) -> None:
    """Take what a file says for what the command line does not say.

    Keys are the names of options. What may be given several times is a list; a network may be a
    table (``kind``, ``name``, and the rest as behind its name), settings are one.
    """
    if path is None:
        return
    import tomllib

    options = {
        option.opts[0].removeprefix("--"): option
        for option in context.command.params
        if isinstance(option, click.Option) and option.name != parameter.name
    }
    with click.open_file(path, "rb") as file:
        try:
            given = tomllib.loads(file.read().decode())
        except ValueError as error:
            raise click.BadParameter(f"{path}: {error}") from None
    found: dict[str, Any] = {}
    for key, value in given.items():
        if key not in options:
            raise click.BadParameter(f"{path}: there is no option {key!r}; {_names(options)}")
        option = options[key]
        assert option.name
        found[option.name] = _value(f"{path}: {key}", option, value)
    context.default_map = found


def _names(options: dict[str, click.Option]) -> str:
    return f"there are {', '.join(options)}"


def _value(where: str, option: click.Option, value: Any) -> Any:
    """As the option's type takes it."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise click.BadParameter(f"{where} is true or false, not {value!r}")
        return value
    if not option.multiple:
        return _text(where, value)
    if isinstance(value, dict):
        if option.name == "nets":
            value = [value]
        else:
            value = [f"{name}={_text(where, each)}" for name, each in _flat(value)]
    if not isinstance(value, list):
        value = [value]
    if option.name == "nets":
        return [
            _net(where, each) if isinstance(each, dict) else _text(where, each) for each in value
        ]
    return [_text(where, each) for each in value]


def _flat(table: dict[str, Any], above: str = "") -> list[tuple[str, Any]]:
    """``net.ipv4.ip_forward = 1`` is three tables in TOML, and one setting."""
    found: list[tuple[str, Any]] = []
    for name, value in table.items():
        if isinstance(value, dict):
            found += _flat(value, f"{above}{name}.")
        else:
            found.append((f"{above}{name}", value))
    return found


def _text(where: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if not isinstance(value, str | int):
        raise click.BadParameter(f"{where} is not {value!r}")
    return str(value)


def _net(where: str, table: dict[str, Any]) -> str:
    """A network as the command line has it."""
    rest = dict(table)
    kind, name = rest.pop("kind", None), rest.pop("name", "")
    if not isinstance(kind, str):
        raise click.BadParameter(f"{where} needs a kind, such as 'tap'")
    words = [f"{kind}:{name}" if name != "" else kind]
    for key, value in rest.items():
        if key == "offload" and isinstance(value, bool):
            value = "on" if value else "off"
        for each in value if isinstance(value, list) else [value]:
            words.append(f"{key}={_text(where, each)}")
    return ",".join(words)
