# SPDX-License-Identifier: GPL-2.0-only
"""What a benchmark says, and how it is computed from the runs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

TARGET = "target"
"""The peer of what no host kernel does, such as booting: the figure to reach."""


@dataclass(frozen=True)
class Figure:
    """A thing to measure.

    Attributes:
        name: unique among all figures.
        unit: of both values.
        target: how much of the peer's value ours should be (times) or should reach (rates).
        peer: what the other value is of.
        work: one line that says what is done.
        more: more is better.
        least: a value below this cannot be told from nothing, and counts as this.
    """

    name: str
    unit: str
    target: float
    peer: str
    work: str
    more: bool = False
    least: float = 0.0

    @property
    def least_ratio(self) -> float:
        """The ratio from which on the target is met."""
        return self.target if self.more else 1 / self.target

    def result(self, ours: Sequence[float], peers: Sequence[float]) -> Result:
        """Summarise runs.

        Args:
            ours: a value for each run.
            peers: the same for the peer.
        """
        value, peer_value = statistics.median(ours), statistics.median(peers)
        good, bad = max(peer_value, self.least), max(value, self.least)
        if self.more:
            good, bad = bad, good
        return Result(self, value, peer_value, good / bad, len(ours), spread(ours))


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        figure: what was measured.
        value: the median of our runs.
        peer_value: the median of the peer's.
        ratio: of the two; above 1 is better for us, whatever the unit.
        runs: how many of each there were.
        spread: half of our runs lie within a range of this part of the median.
    """

    figure: Figure
    value: float
    peer_value: float
    ratio: float
    runs: int
    spread: float

    @property
    def met(self) -> bool:
        """Is the target reached?"""
        return self.ratio >= self.figure.least_ratio

    def to_json(self) -> dict[str, Any]:
        """As ``rumpel bench --json`` prints it."""
        return {
            "name": self.figure.name,
            "value": _rounded(self.value),
            "unit": self.figure.unit,
            "peer": self.figure.peer,
            "peer_value": _rounded(self.peer_value),
            "ratio": _rounded(self.ratio),
            "runs": self.runs,
            "spread": round(self.spread, 4),
        }


def _rounded(value: float) -> float:
    """Five digits are more than any run repeats."""
    return float(f"{value:.5g}")


def spread(values: Sequence[float]) -> float:
    """The range between the quartiles, as a part of the median."""
    if len(values) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / middle if middle else 0.0
