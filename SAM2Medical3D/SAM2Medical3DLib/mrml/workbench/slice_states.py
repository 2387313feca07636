"""All slices of a segment at a glance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .segment_work import SegmentWork


@dataclass(frozen=True, eq=False)
class SliceStates:
    """What a strip of all slices shows.

    Attributes:
        confidence: (N,) 0..1, NaN where nothing is known.
        prompted, locked, stale, empty: (N,) bool: with clicks or a box; drawn by the user; to be
            computed again; known not to have the object.
    """

    confidence: np.ndarray
    prompted: np.ndarray
    locked: np.ndarray
    stale: np.ndarray
    empty: np.ndarray

    @classmethod
    def of(cls, work: SegmentWork) -> SliceStates:
        """Of a segment that has a session, what has come of a run included."""
        n = len(work.session.stack)
        confidence = np.full(n, np.nan)
        prompted, locked, stale, empty = np.zeros((4, n), bool)
        for index, found in work.results().items():
            confidence[index] = found.confidence
            empty[index] = found.mask.is_empty
        stale[sorted(work.state.stale - work.coming)] = True
        for index, fixed in work.state.fixed.items():
            (locked if fixed.locked else prompted)[index] = True
        return cls(confidence, prompted, locked, stale, empty)
