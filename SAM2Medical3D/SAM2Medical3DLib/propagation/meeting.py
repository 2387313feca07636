"""What two propagations say of a slice between the fixed slices they come from.

On slice s between the fixed slices a < s < b, with logits l_a and l_b clamped to -10..10, the
result is the weighted mean

    l = (w_a l_a + w_b l_b) / (w_a + w_b),   w_a = (b - s) c_a,   w_b = (s - a) c_b,

where c is each side's predicted IoU times its probability that the object is there. So the nearer
and the surer side decides, and beside a fixed slice the other side has hardly a say. A side that
ended before s has none. Predicted IoU and probability are averaged with the same weights.
"""

from __future__ import annotations

import numpy as np

from ..models.dense_prompts import LIMIT
from .base import ObjectResult
from .trail import Prediction

_LEAST = 1e-4  # so that two sides without any confidence still make a mean


def weights(s: int, a: int, b: int, c_a: float, c_b: float) -> tuple[float, float]:
    """Normalised weights of the sides at ``a`` and ``b`` on slice ``s``, a <= s <= b.

    Args:
        c_a, c_b: confidence of each side, 0..1.
    """
    w_a, w_b = (b - s) * max(c_a, _LEAST), (s - a) * max(c_b, _LEAST)
    return w_a / (w_a + w_b), w_b / (w_a + w_b)


def meet(
    s: int, a: int, b: int, from_a: Prediction, from_b: Prediction, with_logits: bool
) -> ObjectResult:
    """The two sides' predictions of slice ``s`` as one result."""
    w_a, w_b = weights(s, a, b, from_a.score, from_b.score)
    l_a, l_b = (np.clip(p.full(), -LIMIT, LIMIT) for p in (from_a, from_b))
    logits = np.float32(w_a) * l_a + np.float32(w_b) * l_b
    return ObjectResult(
        mask=logits > 0,
        predicted_iou=float(np.clip(w_a * from_a.iou + w_b * from_b.iou, 0, 1)),
        object_score=w_a * from_a.presence + w_b * from_b.presence,
        logits=logits if with_logits else None,
        view=from_a.view if w_a >= w_b else from_b.view,
    )
