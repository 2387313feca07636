"""SAM 2.1 without its memory: image encoder, prompt encoder and mask decoder (a 2D model).

RadSAM (Khlaut et al. 2025) is such a model, trained for noisy masks as prompts. Tensor names are
those of SAM 2.1, so any of its checkpoints can start it, and its heads are sam2's own.
"""

from __future__ import annotations

from typing import Any

import torch
from sam2.modeling.sam2_base import SAM2Base


class ImageNetwork(SAM2Base):
    """A ``SAM2Base`` that looks at one slice at a time.

    Takes what ``SAM2Base`` takes; everything about memory is ignored and holds no weights.
    """

    def __init__(self, **options: Any) -> None:
        options.update(
            memory_attention=torch.nn.Identity(),
            memory_encoder=torch.nn.Identity(),
            num_maskmem=0,
            use_obj_ptrs_in_encoder=False,
            proj_tpos_enc_in_obj_ptrs=False,
            fixed_no_obj_ptr=False,
            use_mlp_for_obj_ptr_proj=False,
            no_obj_embed_spatial=False,
            multimask_output_for_tracking=False,
            use_multimask_token_for_obj_ptr=False,
        )
        super().__init__(**options)
        del self.maskmem_tpos_enc, self.no_mem_pos_enc
        # The heads of sam2 always make an object pointer, though nobody reads it here.
        self.register_buffer("no_obj_ptr", torch.zeros(1, self.hidden_dim), persistent=False)

    def _prepare_memory_conditioned_features(
        self, *, current_vision_feats: list, feat_sizes: list, **_: Any
    ) -> torch.Tensor:
        """The coarsest feature map (B, C, h, w) as SAM 2 gives it to its heads on a first frame."""
        features = current_vision_feats[-1] + self.no_mem_embed
        return features.permute(1, 2, 0).unflatten(2, feat_sizes[-1])
