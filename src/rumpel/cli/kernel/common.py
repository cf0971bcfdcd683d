# SPDX-License-Identifier: GPL-2.0-only
"""What the ``rumpel kernel`` commands share."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from rumpel.build import Image, list_images
from rumpel.build.config import user_options
from rumpel.errors import BuildError

Command = Callable[..., None]

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(value: object) -> None:
    """Print for programs."""
    click.echo(json.dumps(value, indent=2))


def selectors(function: Command) -> Command:
    """Arguments that choose an image among the ready ones."""
    for option in (
        click.argument("which", required=False),
        click.option("--profile", "-p", help="Only of this profile."),
        click.option(
            "--config", "-c", multiple=True, metavar="CONFIG_X=y", help="Only with this option."
        ),
    ):
        function = option(function)
    return function


def select(which: str | None, profile: str | None, config: tuple[str, ...]) -> list[Image]:
    """The images of a version or of a key's beginning, newest first."""
    options = user_options(config)
    return sorted(
        (
            image
            for image in list_images()
            if (
                which is None
                or which in (image.version, image.release)
                or image.key.startswith(which)
            )
            and (profile is None or image.profile == profile)
            and (not options or image.options == options)
        ),
        key=lambda image: image.path.stat().st_mtime,
        reverse=True,
    )


def select_one(which: str | None, profile: str | None, config: tuple[str, ...]) -> Image:
    """The newest of the chosen images."""
    found = select(which, profile, config)
    if not found:
        asked = " ".join(x for x in (which, profile, *config) if x)
        raise BuildError(
            f"there is no image {asked}".rstrip() + "; see rumpel kernel list, or build one"
        )
    return found[0]


def describe(image: Image) -> dict[str, Any]:
    """An image for people and for programs."""
    row = image.to_json()
    row.pop("manifest")
    return row


def modified(image: Image) -> str:
    """In words, is the source Debian's?"""
    return {True: "modified", False: "unmodified", None: "not yet compared"}[image.modified]
