"""The boundaries that a method detected, as an image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ..propagation import SliceResult


def keep_boundaries(results: Iterable[SliceResult], percent: np.ndarray) -> Iterator[SliceResult]:
    """The results as they come; their boundaries are kept.

    Args:
        results: of a method that gives boundaries.
        percent: (slice, row, column) uint8, filled with the probability of a boundary, 0..100, the
            highest one of all objects.
    """
    for result in results:
        for found in result.objects.values():
            if found.boundary is not None:
                kept = percent[result.index]
                np.maximum(kept, np.rint(found.boundary * 100).astype(np.uint8), out=kept)
        yield result
