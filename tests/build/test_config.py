# SPDX-License-Identifier: GPL-2.0-only
"""Options that do not come out as asked are never lost silently."""

from __future__ import annotations

from pathlib import Path

import pytest

from rumpel.build import Layout, ensure_image
from rumpel.build.config import parse, profile_options, render
from rumpel.errors import BuildError, ConfigError
from tests.build import fake


def test_a_profile_includes_its_fragments(layout: Layout) -> None:
    """Fragments come first, so the profile can overrule them."""
    assert profile_options(layout, "default") == {"NET": "y", "INET": "y", "EXT4": "y"}
    (layout.configs / "default.config").write_text("# include gone.config\n")
    with pytest.raises(BuildError, match=r"includes gone\.config, which does not exist"):
        profile_options(layout, "default")


def test_fragments_survive_reading_and_writing() -> None:
    """What is rendered parses to the same options."""
    options = {"A": "y", "B": "n", "C": "12", "D": '"a b"', "E": "0x1f"}
    assert parse(render(options)) == options


def test_a_lost_option_of_a_profile_is_a_warning(layout: Layout, tmp_path: Path) -> None:
    """The image names the options that did not come out."""
    source = fake.tree(tmp_path / "own")
    (source / "refuse").write_text("CONFIG_EXT4=y")
    log = fake.Log()
    image = ensure_image(source=source, layout=layout, progress=log)
    assert image.warnings == ["CONFIG_EXT4=y came out as n"]
    assert log.notes == ["warning: CONFIG_EXT4=y came out as n"]


def test_a_lost_option_of_the_user_is_an_error(layout: Layout, tmp_path: Path) -> None:
    """The error names the option and the dependencies that are not met."""
    source = fake.tree(tmp_path / "own")
    (source / "refuse").write_text("CONFIG_FAT=y")
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"CONFIG_FAT=y came out as n: .*not set: BLOCK, NLS"):
            ensure_image(source=source, layout=layout, options=["FAT=y"])


def test_an_option_that_does_not_exist_is_told(layout: Layout, tmp_path: Path) -> None:
    """A misspelt option is not taken for one with unmet dependencies."""
    source = fake.tree(tmp_path / "own")
    (source / "refuse").write_text("CONFIG_FATT=y")
    with pytest.raises(ConfigError, match="this kernel has no such option"):
        ensure_image(source=source, layout=layout, options=["FATT=y"])
