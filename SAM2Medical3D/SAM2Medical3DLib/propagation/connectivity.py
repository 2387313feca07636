"""An object is in one piece: what a slice shows of it touches what its neighbour shows.

SAM 2 was made for objects that leave the picture and come back. An anatomical structure does not,
and a small model, left free, finds look-alikes on the slices beyond its ends.
"""

from __future__ import annotations

import torch
from scipy import ndimage

_ABSENT = -10.0  # a logit as certain as that of the user's own mask
_EVERY_NEIGHBOUR = ndimage.generate_binary_structure(2, 2)


def keep_connected(logits: torch.Tensor, neighbour: torch.Tensor) -> torch.Tensor:
    """Logits with every part absent that does not touch the neighbouring slice's mask.

    Args:
        logits: (B, 1, h, w) low-resolution mask logits.
        neighbour: (B, 1, h, w) logits of the nearest slice that shows the object.
    """
    kept = logits.clone()
    for n in range(len(logits)):
        mask = (logits[n, 0] > 0).cpu().numpy()
        near = ndimage.binary_dilation((neighbour[n, 0] > 0).cpu().numpy(), _EVERY_NEIGHBOUR)
        parts, count = ndimage.label(mask, _EVERY_NEIGHBOUR)
        touching = set(parts[near & mask].tolist())
        for part in range(1, count + 1):
            if part not in touching:
                lost = torch.from_numpy(parts == part).to(logits.device)
                kept[n, 0][lost] = _ABSENT
    return kept
