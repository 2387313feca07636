"""Starting weights of a training run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..errors import UserError
from ..models.boundary_network import BRANCH
from .recipe import Recipe

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base


def initialise(network: SAM2Base, recipe: Recipe) -> None:
    """Set a new network's weights as the recipe says, and freeze what it says.

    Raises:
        UserError: if the model to start from has another architecture, or nothing bears a name
            that is to be frozen.
    """
    # Objects are there until learned otherwise: a slice scored as empty gets no mask gradient.
    head = network.sam_mask_decoder.pred_obj_score_head
    torch.nn.init.constant_(head.layers[-1].bias, 3)
    initial = recipe.initial
    if initial.model:
        _take(network, initial.model, initial.parts, recipe)
    names = [name for name, _ in network.named_parameters()]
    for prefix in initial.frozen:
        if not any(name.startswith(prefix) for name in names):
            known = ", ".join(sorted({f"{name.split('.')[0]}." for name in names}))
            raise UserError(
                f"No tensor's name begins with '{prefix}', which is to be frozen; names begin with "
                f"{known}."
            )
    for name, parameter in network.named_parameters():
        if initial.frozen and name.startswith(initial.frozen):
            parameter.requires_grad_(False)


def _take(network: SAM2Base, model: str, parts: tuple[str, ...], recipe: Recipe) -> None:
    from ..models.registry import load_model

    a = recipe.architecture
    source = load_model(model, config=a.config or None, image_size=a.image_size, device="cpu")
    given = source.network.state_dict()
    own = network.state_dict()
    wanted = [n for n in own if not parts or n.startswith(parts)]
    if not any(n.startswith(BRANCH) for n in given):
        # A branch that the model was trained without begins as it is: changing no mask.
        wanted = [n for n in wanted if not n.startswith(BRANCH)]
    unfit = [n for n in wanted if n not in given or given[n].shape != own[n].shape]
    if unfit or not wanted:
        raise UserError(
            f"The weights of '{model}' do not fit this recipe's architecture ({len(unfit)} tensors "
            "missing or of another shape); start from a model of the same widths, or from none."
        )
    network.load_state_dict(own | {name: given[name] for name in wanted})
