"""What an object looks like, learnt from the slices that the user prompted.

A network trained elsewhere does not know how bright this patient's spleen is; the prompted slice
does. Two histograms, of the object and of what lies around it there, give every pixel of another
slice a log-likelihood ratio, which is added to the network's logits. It is the data term of
interactive graph cuts (Boykov and Jolly 2001, section 2.2) beside a network instead of a graph.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt, gaussian_filter, gaussian_filter1d

_BINS = 64
_NOISE_PX = 1.5  # a single pixel's noise says little: the mean of its surroundings is compared
_BIN_SMOOTHING = 1.5
_EDGE_PX = 2  # pixels at the mask's edge are partly of both
_FEWEST = 20  # pixels to learn from
_AROUND = 0.5  # width of the surroundings, relative to the object's
_STRONGEST = 4.0
_PRIOR = 32.0  # pixels of every brightness alike, as if they had been seen
_REACH = 4.0  # low-resolution pixels beyond the neighbour's mask at which support has fallen to 1/e


class Appearance:
    """Brightness of one object and of its surroundings, within one field of view."""

    def __init__(self) -> None:
        self._inside = np.zeros(_BINS)
        self._around = np.zeros(_BINS)

    def learn(self, frame: np.ndarray, mask: np.ndarray) -> None:
        """Add a slice on which the object is known.

        Args:
            frame: (S, S) uint8, the model's input.
            mask: (S, S) bool of the object on it; an empty one teaches nothing.
        """
        if not mask.any():
            return
        smooth = _smoothed(frame)
        core = distance_transform_edt(mask) > _EDGE_PX
        if np.count_nonzero(core) < _FEWEST:
            core = mask
        away = distance_transform_edt(~mask)
        width = max(6.0, _AROUND * np.sqrt(np.count_nonzero(mask)))
        around = (away > _EDGE_PX) & (away <= width)
        self._inside += _histogram(smooth[core])
        self._around += _histogram(smooth[around])

    @property
    def distinctness(self) -> float:
        """0..1: the share of the brightness inside that the surroundings do not have (1 minus the
        histograms' overlap). A mask that ends in the middle of an organ has little of it."""
        if not (self._inside.any() and self._around.any()):
            return 0.0
        shared = np.minimum(_density(self._inside), _density(self._around)).sum()
        return float(1 - shared)

    def evidence(self, frame: np.ndarray, near: torch.Tensor) -> torch.Tensor:
        """For and against the object on another slice.

        Args:
            frame: (S, S) uint8, the model's input.
            near: (h, w) logits of the neighbouring slice, h = w = S/4. Away from its mask pixels
                that look like the object support it less and less: elsewhere there are look-alikes.

        Returns:
            (h, w) float32 log-likelihood ratios, positive where pixels look like the object.
        """
        if not (self._inside.any() and self._around.any()):
            return torch.zeros_like(near, dtype=torch.float32)
        ratio = np.log(_density(self._inside) / _density(self._around))
        ratio = ratio.clip(-_STRONGEST, _STRONGEST).astype(np.float32)
        pixels = torch.from_numpy(ratio[_bins(_smoothed(frame))])
        pooled = F.adaptive_avg_pool2d(pixels[None, None], near.shape[-2:])[0, 0]
        away = distance_transform_edt(~(near > 0).cpu().numpy())
        fading = torch.from_numpy(np.exp(-away / _REACH).astype(np.float32))
        return torch.where(pooled > 0, pooled * fading, pooled).to(near.device)


def _smoothed(frame: np.ndarray) -> np.ndarray:
    return gaussian_filter(frame.astype(np.float32), _NOISE_PX)


def _bins(values: np.ndarray) -> np.ndarray:
    return np.clip(values * (_BINS / 256), 0, _BINS - 1).astype(np.intp)


def _histogram(values: np.ndarray) -> np.ndarray:
    counts = np.bincount(_bins(values), minlength=_BINS).astype(float)
    return gaussian_filter1d(counts, _BIN_SMOOTHING)


def _density(counts: np.ndarray) -> np.ndarray:
    return (counts + _PRIOR / _BINS) / (counts.sum() + _PRIOR)
