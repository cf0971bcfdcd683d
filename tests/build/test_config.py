# SPDX-License-Identifier: GPL-2.0-only
"""Options that do not come out as asked are never lost silently."""

from __future__ import annotations

from pathlib import Path

import pytest

from rumpel.build import Layout, ensure_image
from rumpel.build.config import parse, profile_options, render
from rumpel.build.kconfig import Kconfig
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
    assert [x.partition(":")[0] for x in image.warnings] == ["CONFIG_EXT4=y came out as n"]
    assert log.notes == [f"warning: {image.warnings[0]}"]


def test_a_lost_option_of_the_user_is_an_error(layout: Layout, tmp_path: Path) -> None:
    """The error names the option and the dependencies that are not met."""
    source = fake.tree(tmp_path / "own")
    (source / "refuse").write_text("CONFIG_FAT=y")
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"CONFIG_FAT=y came out as n: .*not set: BLOCK, NLS"):
            ensure_image(source=source, layout=layout, options=["FAT=y"])


def test_options_that_a_version_lacks_share_a_line(layout: Layout, tmp_path: Path) -> None:
    """One profile serves several versions, so some options are known to one only."""
    source = fake.tree(tmp_path / "own")
    (source / "refuse").write_text("CONFIG_OLD=y")
    (layout.configs / "default.config").write_text("CONFIG_OLD=y\nCONFIG_EXT4=y\n")
    log = fake.Log()
    ensure_image(source=source, layout=layout, progress=log)
    assert log.notes == ["warning: this kernel has no such option: CONFIG_OLD"]


def test_conditions_around_an_option_are_told(tmp_path: Path) -> None:
    """Also those of the menus and ifs around it, and around the file it is in."""
    source = fake.tree(tmp_path / "tree")
    (source / "arch/rumpel").mkdir()
    (source / "Kconfig").write_text(
        'source "arch/$(SRCARCH)/Kconfig"\nif A\nsource "fs/Kconfig"\nendif\n'
    )
    (source / "arch/rumpel/Kconfig").write_text('config PORT\n\tbool "p"\n')
    (source / "fs/Kconfig").write_text(
        'if GONE\nendif\nmenu "m"\n\tdepends on B\nconfig X\n\tbool "x"\n\tdepends on C\nendmenu\n'
    )
    kconfig = Kconfig(source)
    assert kconfig.conditions("X") == ["C", "B", "A"]
    assert kconfig.conditions("PORT") == []
    assert kconfig.has_prompt("X")
    assert not kconfig.knows("GONE")


def test_an_option_that_does_not_exist_is_told(layout: Layout, tmp_path: Path) -> None:
    """A misspelt option is not taken for one with unmet dependencies."""
    source = fake.tree(tmp_path / "own")
    (source / "refuse").write_text("CONFIG_FATT=y")
    with pytest.raises(ConfigError, match="this kernel has no such option"):
        ensure_image(source=source, layout=layout, options=["FATT=y"])
