"""One slice through a SAM 2.1 network: what every method of propagation does with a prompt.

A prompt becomes rounds of an interaction, each round one call of the decoder; the answer comes back
at the slice's own resolution. No memory of other slices is involved.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import UserError
from ..models.dense_prompts import BOX_END, BOX_START, NEGATIVE, POSITIVE, render_prompts
from ..models.device import autocast
from ..models.registry import LoadedModel
from ..prompts import Prompts, SlicePrompt
from ..volume import SliceStack
from .appearance import Appearance
from .base import ObjectResult, SliceResult, Views
from .connectivity import keep_connected
from .embeddings import EmbeddingCache
from .field_of_view import OUTSIDE_LOGIT, FieldOfView
from .views import choose_view, fits

DEFAULT_CACHE_BYTES = 1 << 30
CORRECTION_LIMIT = 32.0  # sam2 clamps earlier logits so before feeding them back


@dataclass(frozen=True, eq=False)
class Features:
    """The image features of one slice, as ``SAM2Base._track_step`` wants them."""

    vision: list[torch.Tensor]
    positions: list[torch.Tensor]
    sizes: list[tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Memory:
    """What ``SAM2Base._track_step`` knows of other slices; nothing by default."""

    bank: dict = field(default_factory=dict)
    initial: bool = True
    reverse: bool = False
    n_slices: int = 1


NO_MEMORY = Memory()


class SliceModel:
    """Predicts prompted slices with a SAM 2.1 network.

    Args:
        model: a loaded model.
        cache_bytes: budget for image embeddings.
        field_of_view: ``auto`` crops around the object, ``slice`` shows whole slices, ``model``
            takes the model's own preference.
        appearance: how much the brightness learnt from prompted slices counts beside the network's
            logits on the others (:mod:`~.appearance`), from 0; None takes the model's own.

    Raises:
        UserError: for an unknown ``field_of_view``, or a negative ``appearance``.
    """

    def __init__(
        self,
        model: LoadedModel,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        field_of_view: str = "model",
        appearance: float | None = None,
    ) -> None:
        if appearance is not None and not 0 <= appearance < math.inf:
            raise UserError(f"The weight {appearance:g} of appearance must be 0 or more.")
        if field_of_view not in ("model", "auto", "slice"):
            raise UserError(f"Unknown field of view '{field_of_view}'; use auto or slice.")
        self.model = model
        self.network = model.network
        self.cache = EmbeddingCache(model.network, cache_bytes)
        self.appearance = model.appearance if appearance is None else appearance
        self.crops = model.crops if field_of_view == "model" else field_of_view == "auto"

    def predict_slice(
        self, stack: SliceStack, prompts: Prompts, index: int, *, views: Views | None = None
    ) -> SliceResult:
        """2D masks, with logits, of every object prompted on slice ``index``."""
        prompts.check(stack.geometry)
        found: dict[int, ObjectResult] = {}
        for object_id, slices in prompts.by_object.items():
            if index in slices:
                prompt = slices[index]
                view = self.view_for(stack, {index: prompt}, (views or {}).get(object_id))
                output = self.predict(stack, prompt, view, index)
                found[object_id] = self.results([prompt], view, output, with_logits=True)[0]
        if not found:
            raise UserError(f"Slice {index} has no prompt; click on it first.")
        return SliceResult(index, found)

    def view_for(
        self,
        stack: SliceStack,
        slices: Mapping[int, SlicePrompt],
        *used: FieldOfView | None,
    ) -> FieldOfView:
        """The first of some used views that suits an object's prompts, else a chosen one."""
        spacing = stack.geometry.spacing[1:]
        for view in used if self.crops else ():
            if view is not None and all(fits(view, p, spacing) for p in slices.values()):
                return view
        return self.choose_view(stack, slices)

    def choose_view(self, stack: SliceStack, slices: Mapping[int, SlicePrompt]) -> FieldOfView:
        """The field of view for an object with these prompts."""
        if not self.crops:
            return FieldOfView.whole(*stack.shape[1:])

        def look(index: int, view: FieldOfView) -> tuple[np.ndarray, float]:
            prompt = slices[index]
            output = self.predict(stack, prompt, view, index)
            mask = self.results([prompt], view, output, with_logits=False)[0].mask
            seen = Appearance()
            seen.learn(*self._shown(stack, index, view, prompt, output["pred_masks"]))
            return mask, seen.distinctness

        return choose_view(stack.geometry, slices, look)

    @torch.inference_mode()
    def predict(
        self,
        stack: SliceStack,
        prompt: SlicePrompt,
        view: FieldOfView,
        index: int,
        prior: torch.Tensor | None = None,
    ) -> dict:
        """The decoder's answer (as :meth:`heads` gives it) after every round of a prompt.

        Args:
            stack: the slices.
            prompt: on slice ``index``.
            view: what to look at.
            index: of the slice.
            prior: (1, 1, S/4, S/4) logits to start from; None takes those of the prompt.
        """
        features = self.features(stack, index, view, 1)
        if prior is None and prompt.prior is not None:
            size = self.network.image_size
            prior = view.low_resolution(prompt.prior, size, CORRECTION_LIMIT)
            prior = prior.to(self.model.device)
        first = prior
        current: dict = {}
        with autocast(self.model.device):
            for points, mask in self._rounds(prompt, view):
                dense = prior
                if mask is None and self.model.dense_prompts:
                    dense = render_prompts(
                        points["point_coords"],
                        points["point_labels"],
                        self.network.image_size,
                        prior,
                    )
                current = self.heads(index, features, points, mask, dense)
                prior = current["pred_masks"].clamp(-CORRECTION_LIMIT, CORRECTION_LIMIT)
        if self.model.connected and points is not None:
            current["pred_masks"] = self._at_prompts(current["pred_masks"], points, first)
        return current

    def features(self, stack: SliceStack, index: int, view: FieldOfView, batch: int) -> Features:
        """The (cached) embedding of a slice, repeated for ``batch`` objects."""
        embedding = self.cache.get(stack, index, view)
        return Features(*self.cache.backbone_features(embedding, batch))

    def heads(
        self,
        index: int,
        features: Features,
        points: dict | None,
        mask: torch.Tensor | None,
        dense: torch.Tensor | None,
        memory: Memory = NO_MEMORY,
    ) -> dict:
        """sam2's prompt encoder and mask decoder, after memory attention where there is memory.

        Args:
            index: of the slice.
            features: of the slice, for B objects.
            points: sam2's ``point_coords`` (B, P, 2) and ``point_labels`` (B, P), or None.
            mask: (B, 1, S, S), what ``SAM2Base`` calls mask input, or None.
            dense: (B, 1, S/4, S/4) logits for the decoder's dense prompt, or None; only with
                points.
            memory: of other slices.

        Returns:
            ``pred_masks`` (B, 1, S/4, S/4) logits, ``high`` (B, 1, S, S) logits, ``obj_ptr`` (B,
            C), ``object_score_logits`` (B, 1), ``ious`` (B,); with a boundary branch also
            ``boundary`` (B, 1, S/4, S/4) logits.
        """
        f, m = features, memory
        current, sam, _, _ = self.network._track_step(
            index, m.initial, f.vision, f.positions, f.sizes, points, mask, m.bank, m.n_slices,
            m.reverse, dense,
        )  # fmt: skip
        _, _, ious, low, high, pointer, score = sam
        found = {
            "pred_masks": low,
            "high": high,
            "obj_ptr": pointer,
            "object_score_logits": score,
            "ious": ious.float().amax(1),
        }
        if "boundary" in current:
            found["boundary"] = current["boundary"]
        return found

    def learn(
        self,
        look: Appearance,
        stack: SliceStack,
        index: int,
        view: FieldOfView,
        prompt: SlicePrompt,
        logits: torch.Tensor,
    ) -> None:
        """Add a prompted slice to what is known of an object's appearance: the user's own mask, or
        the (1, 1, S/4, S/4) logits that the prompt gave."""
        if self.appearance:
            look.learn(*self._shown(stack, index, view, prompt, logits))

    def _shown(
        self,
        stack: SliceStack,
        index: int,
        view: FieldOfView,
        prompt: SlicePrompt,
        logits: torch.Tensor,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The model's (S, S) input and the object's (S, S) mask on a prompted slice."""
        size = self.network.image_size
        if prompt.mask is not None:
            mask = view.mask(prompt.mask, size) > 0
        else:
            mask = F.interpolate(logits.float(), (size, size), mode="bilinear") > 0
        return view.frame(stack.frame(index), size), mask[0, 0].cpu().numpy()

    def evidence(
        self,
        looks: Sequence[Appearance],
        stack: SliceStack,
        index: int,
        view: FieldOfView,
        near: torch.Tensor,
    ) -> torch.Tensor:
        """(B, 1, S/4, S/4): what B objects' appearance adds to their logits on a slice, given those
        of its neighbour."""
        frame = view.frame(stack.frame(index), self.network.image_size)
        found = [look.evidence(frame, n[0]) for look, n in zip(looks, near, strict=True)]
        return self.appearance * torch.stack(found)[:, None].to(near)

    def points(self, coords: np.ndarray, labels: list[list[int]]) -> dict[str, torch.Tensor]:
        """sam2's point inputs: (B, P, 2) x, y in the model's input and (B, P) labels."""
        device = self.model.device
        return {
            "point_coords": torch.as_tensor(coords, dtype=torch.float32, device=device),
            "point_labels": torch.tensor(labels, dtype=torch.int32, device=device),
        }

    def results(
        self,
        prompts: list[SlicePrompt | None],
        view: FieldOfView,
        output: Mapping[str, torch.Tensor],
        with_logits: bool,
    ) -> list[ObjectResult]:
        """A batch of answers at the slice's own resolution; a drawn mask comes back as it is."""
        logits = view.logits(output["pred_masks"])
        ious = output["ious"].cpu().numpy()
        scores = output["object_score_logits"].float().sigmoid().flatten().cpu().numpy()
        found = []
        for n, prompt in enumerate(prompts):
            drawn = None if prompt is None else prompt.mask
            found.append(
                ObjectResult(
                    mask=logits[n] > 0 if drawn is None else drawn.copy(),
                    predicted_iou=float(np.clip(ious[n], 0, 1)),
                    object_score=float(scores[n]),
                    prompted=prompt is not None,
                    logits=logits[n] if with_logits else None,
                    view=view,
                )
            )
        return found

    def _rounds(
        self, prompt: SlicePrompt, view: FieldOfView
    ) -> list[tuple[dict | None, torch.Tensor | None]]:
        """A prompt as the rounds of an interaction: first the box or point, then point by point,
        each with all before it, as sam2 is trained and used interactively."""
        size = self.network.image_size
        if prompt.mask is not None:
            return [(None, view.mask(prompt.mask, size).to(self.model.device))]
        rows_cols: list[tuple[float, float]] = []
        labels: list[int] = []
        rounds = []
        if prompt.box is not None:
            box = prompt.box
            rows_cols += [(box.row0, box.col0), (box.row1, box.col1)]
            labels += [BOX_START, BOX_END]
            rounds.append(len(labels))
        points = list(prompt.points)
        if prompt.box is None and prompt.prior is None:
            # A first click that only says "not here" would leave SAM without an object.
            points.insert(0, points.pop(next(n for n, p in enumerate(points) if p.positive)))
        for point in points:
            rows_cols.append((point.row, point.col))
            labels.append(POSITIVE if point.positive else NEGATIVE)
            rounds.append(len(labels))
        coords = view.points(np.array(rows_cols), size)[None]
        return [(self.points(coords[:, :n], [labels[:n]]), None) for n in rounds]

    def _at_prompts(
        self, logits: torch.Tensor, points: dict, prior: torch.Tensor | None
    ) -> torch.Tensor:
        """Without the parts that no positive click or box touches, and that were not there before
        (``prior``), unless nothing would be left."""
        asked_for = render_prompts(
            points["point_coords"], points["point_labels"], self.network.image_size
        )
        if prior is not None:
            asked_for = torch.maximum(asked_for, prior.float())
        kept = keep_connected(logits, asked_for)
        return kept if (kept > 0).any() else logits


def absent(view: FieldOfView, with_logits: bool) -> ObjectResult:
    """The result of an object that ended before a slice, for which no model was asked."""
    shape = (view.height, view.width)
    logits = np.full(shape, OUTSIDE_LOGIT, np.float32) if with_logits else None
    return ObjectResult(np.zeros(shape, bool), 1.0, 0.0, logits=logits)
