"""Yang, Xu, Tian 2025, "Empowering SAM2 for 3D Medical Image Segmentation" (SAM2-3dMed).

Their table has Dice, IoU, HD95 and NSD per class on the held-out fifth of the training cases; no
prompt by a user is published. As ours, every method is given the reference mask of the middle one
of the slices that show the object, and the split is the one that training wrote (``--split``).
"""

from __future__ import annotations

from collections.abc import Iterator

from ...propagation import Propagator
from ..objects import ObjectCase
from .base import Options, Protocol, Round, all_slices
from .radsam import single_prompt


def central_mask(
    propagator: Propagator, case: ObjectCase, kind: str, options: Options
) -> Iterator[Round]:
    """The reference mask of the middle slice."""
    yield from single_prompt(propagator, case, "mask", options)


SUPERVISED = Protocol(
    name="supervised",
    title="Per class on a held-out split, from the mask of the middle slice",
    source="Yang, Xu, Tian 2025, Empowering SAM2 for 3D Medical Image Segmentation",
    kinds=("mask",),
    window="auto",
    show=all_slices,
    run=central_mask,
)
