# SPDX-License-Identifier: GPL-2.0-only
"""What the user may choose: which kernel is measured."""

from __future__ import annotations

from dataclasses import dataclass

from rumpel.build import DEFAULT_PROFILE, DEFAULT_VERSION, find_image
from rumpel.errors import BootError


@dataclass(frozen=True)
class Options:
    """The kernel to measure.

    Attributes:
        version: of the kernels.
        profile: of those kernels whose benchmark does not name another.
        image: a path, instead of version and profile.
    """

    version: str = DEFAULT_VERSION
    profile: str = DEFAULT_PROFILE
    image: str | None = None

    def path(self, profile: str | None = None) -> str:
        """The image to boot.

        Args:
            profile: one that the benchmark names, whatever the user chose.

        Raises:
            BootError: if there is no image yet.
        """
        if self.image and not profile:
            return self.image
        image = find_image(self.version, profile or self.profile)
        if image is None:
            raise BootError(
                f"there is no image of Linux {self.version} with the profile "
                f"{profile or self.profile!r} yet; make one: rumpel kernel build "
                f"{self.version} --profile {profile or self.profile}"
            )
        return str(image.path)
