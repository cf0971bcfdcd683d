# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image diff``."""

from __future__ import annotations

import os
from collections.abc import Iterator

import click

from rumpel.cli.image.clicked import Command, as_json, exclude, options
from rumpel.cli.image.common import Images, show, show_json
from rumpel.cli.image.how import How
from rumpel.copying.source import read_tree
from rumpel.errors import RumpelError
from rumpel.images.compare import compare
from rumpel.images.locate import parse, parse_any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.copying.source import Item

_FACTS = ("content", "device", "link", "mode", "owner", "target", "times", "type", "xattrs")


@click.command(cls=Command)
@options
@click.argument("left")
@click.argument("right")
@click.option(
    "--ignore", multiple=True, type=click.Choice(_FACTS), help="What may differ; more than once."
)
@exclude
@as_json
def command(
    how: How,
    left: str,
    right: str,
    ignore: tuple[str, ...],
    exclude: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compare two trees, each in an image or a directory of the host.

    All that cp keeps is compared, content first. The exit status is 1 if they differ.

    \b
    Example:
      rumpel image diff --ignore times old.img new.img
    """
    with Images(how) as images:
        try:
            one, other = (_items(images, name, exclude) for name in (left, right))
            found = list(compare(one, other, ignore))
        except OSError as error:
            images.complain(f"{error.filename or left}: {error.strerror}")
            raise click.exceptions.Exit(2) from None
        except RumpelError as error:
            images.complain(str(error))
            raise click.exceptions.Exit(2) from None
    if as_json:
        show_json([each._asdict() for each in found])
    else:
        for each in found:
            name = each.path or "."
            if each.where == "both":
                show(f"{name}: {', '.join(each.what)}")
            else:
                show(f"{name}: only in {left if each.where == 'left' else right}")
    if found:
        raise click.exceptions.Exit(1)


def _items(images: Images, name: str, exclude: tuple[str, ...]) -> Iterator[Item]:
    location = parse_any(name)
    if location is None and os.path.isdir(name):  # noqa: PTH112
        return read_tree(os, name, exclude=exclude, follow=True)
    place = images.place(location or parse(name), apart=True)
    return place.volume.items(place.path, exclude=exclude, follow=True)
