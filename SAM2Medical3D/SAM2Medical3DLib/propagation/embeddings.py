"""Image embeddings, computed once and kept within a byte budget."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..models.device import autocast
from ..models.normalisation import normalise
from ..volume import SliceStack, Volume
from .field_of_view import FieldOfView

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base


@dataclass(frozen=True, eq=False)
class Embedding:
    """The image encoder's output for one frame: feature maps (1, C, h, w) from fine to coarse."""

    maps: tuple[torch.Tensor, ...]

    @property
    def bytes(self) -> int:
        """Memory of the maps."""
        return sum(m.element_size() * m.nelement() for m in self.maps)


class EmbeddingCache:
    """Least recently used embeddings of one network, by volume, mapping, slice and field of view.

    Args:
        network: the model.
        budget: bytes to keep; the embedding in use is always kept.
    """

    def __init__(self, network: SAM2Base, budget: int) -> None:
        self._network, self._budget = network, budget
        self._kept: OrderedDict[Hashable, Embedding] = OrderedDict()
        self._positions: list[torch.Tensor] = []
        self._volumes: set[int] = set()
        self.bytes = 0
        self.misses = 0

    def get(self, stack: SliceStack, index: int, view: FieldOfView) -> Embedding:
        """The embedding of slice ``index`` seen through ``view``."""
        key = (self._known(stack.volume), stack.plane, stack.mapping, index, view)
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            return found
        made = self._encode(view.frame(stack.frame(index), self._network.image_size))
        self.misses += 1
        self._kept[key] = made
        self.bytes += made.bytes
        while self.bytes > self._budget and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self.bytes -= dropped.bytes
        return made

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self.bytes = 0

    def _known(self, volume: Volume) -> int:
        """A volume's identity, good until it is gone: then its embeddings go too.

        A volume is far larger than they are, so they must not keep it.
        """
        if id(volume) not in self._volumes:
            forget = weakref.WeakMethod(self._forget)
            end = weakref.finalize(volume, lambda key: forget() and forget()(key), id(volume))
            end.atexit = False
            self._volumes.add(id(volume))
        return id(volume)

    def _forget(self, volume: int) -> None:
        self._volumes.discard(volume)
        for key in [key for key in list(self._kept) if key[0] == volume]:
            dropped = self._kept.pop(key, None)
            self.bytes -= dropped.bytes if dropped is not None else 0

    def backbone_features(self, embedding: Embedding, batch: int) -> tuple[list, list, list]:
        """What ``SAM2Base.track_step`` wants: features, positions (each HWxBxC) and sizes."""
        _, features, positions, sizes = self._network._prepare_backbone_features(
            {
                "backbone_fpn": [m.expand(batch, -1, -1, -1) for m in embedding.maps],
                "vision_pos_enc": [p.expand(batch, -1, -1, -1) for p in self._positions],
            }
        )
        return features, positions, sizes

    def _encode(self, frame: object) -> Embedding:
        device = self._network.device
        # A copy: Pillow's arrays are read-only, which torch warns of.
        image = torch.from_numpy(frame.copy()).to(device).float() / 255.0
        with torch.inference_mode(), autocast(device):
            out = self._network.forward_image(normalise(image[None]))
        if not self._positions:
            self._positions = list(out["vision_pos_enc"])
        return Embedding(tuple(out["backbone_fpn"]))
