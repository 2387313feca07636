"""SAM2-3dMed along the slices (Yang, Xu, Tian 2025): SAM 2's propagation with refined boundaries.

The network does it all: its masks are refined by the boundary branch slice by slice, and what the
memory keeps are the refined masks. So prompts, spans, both directions and everything else are those
of :class:`~.sam2.Sam2Propagator`; here the refinement can be left out and boundaries be shown.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from scipy.special import expit

from ..errors import UserError
from ..models.registry import LoadedModel
from ..prompts import SlicePrompt
from .base import ObjectResult
from .field_of_view import FieldOfView
from .sam2 import Sam2Propagator

if TYPE_CHECKING:
    import torch


class ThreeDMedPropagator(Sam2Propagator):
    """Propagates prompts with a network that has a boundary branch.

    A model without the branch gives what SAM 2 propagation gives.

    Args:
        model: a loaded model.
        boundary_refinement: refine masks; False shows what the mask decoder alone makes of them.
        boundary_maps: give ``boundary`` with every result.
        options: see :class:`~.slice_model.SliceModel`.

    Raises:
        UserError: boundary maps are asked of a model without the branch.
    """

    def __init__(
        self,
        model: LoadedModel,
        boundary_refinement: bool = True,
        boundary_maps: bool = False,
        **options: object,
    ) -> None:
        from ..models.boundary_network import BoundaryNetwork

        if isinstance(model.network, BoundaryNetwork):
            # A shallow copy: the weights are shared, and other users of the model are left alone.
            network = copy.copy(model.network)
            network.refines = boundary_refinement
            model = replace(model, network=network)
        elif boundary_maps:
            raise UserError(
                f"The model '{model.info.name}' detects no boundaries; use one that was trained "
                "as sam2-3dmed."
            )
        super().__init__(model, **options)
        self.boundary_maps = boundary_maps

    def results(
        self,
        prompts: list[SlicePrompt | None],
        view: FieldOfView,
        output: Mapping[str, torch.Tensor],
        with_logits: bool,
    ) -> list[ObjectResult]:
        """See :meth:`~.slice_model.SliceModel.results`; with boundaries if they are asked for."""
        found = super().results(prompts, view, output, with_logits)
        if not self.boundary_maps:
            return found
        maps = expit(view.logits(output["boundary"]))
        return [replace(f, boundary=m) for f, m in zip(found, maps, strict=True)]
