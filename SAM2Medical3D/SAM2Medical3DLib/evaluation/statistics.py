"""Means with intervals, and paired comparisons."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

_RESAMPLES = 4000


@dataclass(frozen=True)
class Mean:
    """A mean with its 95 % bootstrap interval; None where there are fewer than two patients."""

    value: float
    low: float | None = None
    high: float | None = None

    def text(self, digits: int = 3) -> str:
        """As in tables: ``0.742 [0.655, 0.813]``."""
        if self.low is None:
            return f"{self.value:.{digits}f}"
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def mean_interval(values: Sequence[float], patients: Sequence[str], seed: int = 0) -> Mean:
    """The mean over objects, with a 95 % percentile bootstrap interval over patients.

    Objects of one patient are not independent: patients are drawn, each with all its objects.

    Args:
        values: one for each object; at least one.
        patients: whose it is.
        seed: of the resampling.
    """
    array = np.asarray(values, float)
    names, which = np.unique(np.asarray(patients), return_inverse=True)
    value = float(array.mean())
    if len(names) < 2:
        return Mean(value)
    sums = np.bincount(which, weights=array)
    counts = np.bincount(which).astype(float)

    def mean(sums: np.ndarray, counts: np.ndarray, axis: int = -1) -> np.ndarray:
        return sums.sum(axis=axis) / counts.sum(axis=axis)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of equal values it says that the interval is degenerate
        found = stats.bootstrap(
            (sums, counts),
            mean,
            paired=True,
            vectorized=True,
            method="percentile",
            n_resamples=_RESAMPLES,
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return Mean(value, float(found.low), float(found.high))


@dataclass(frozen=True)
class Comparison:
    """Paired differences.

    Attributes:
        pairs: how many.
        before, after: means of the two sides.
        difference: after minus before, with its interval.
        p: of the two-sided Wilcoxon signed-rank test; 1 where all pairs are equal, None for fewer
            than two pairs.
        better, worse: pairs in which ``after`` is larger and smaller.
    """

    pairs: int
    before: float
    after: float
    difference: Mean
    p: float | None
    better: int
    worse: int


def compare(
    before: Sequence[float], after: Sequence[float], patients: Sequence[str], seed: int = 0
) -> Comparison:
    """Compare two results of the same objects (at least one)."""
    first, second = np.asarray(before, float), np.asarray(after, float)
    # What differs by rounding only is equal, and equally large differences share a rank.
    difference = np.round(second - first, 9)
    if not difference.any():
        p: float | None = 1.0
    elif len(difference) < 2:
        p = None
    else:
        p = float(stats.wilcoxon(difference).pvalue)
    return Comparison(
        len(difference),
        float(first.mean()),
        float(second.mean()),
        mean_interval(difference, patients, seed),
        p,
        int((difference > 0).sum()),
        int((difference < 0).sum()),
    )
