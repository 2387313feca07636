"""SAM 2 with its memory along the slices (Shen, Li, Shi, Wang 2024).

The volume is a video. Prompted slices become conditioning frames; from the first of them SAM 2's
memory carries every object forward to the last slice, then backward to the first. Frames come from
arrays one at a time, image embeddings are cached, and of the memory bank only what a later slice
can still read is kept, so memory does not grow with the number of slices.

Frame for frame this computes what ``SAM2VideoPredictor`` computes when each prompt is added in turn
and then propagated forward and in reverse (``Testing/test_parity.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import UserError
from ..models.dense_prompts import (
    BOX_END,
    BOX_START,
    LIMIT,
    NEGATIVE,
    PADDING,
    POSITIVE,
    render_prompts,
)
from ..models.device import autocast
from ..models.registry import LoadedModel
from ..prompts import Prompts, SlicePrompt
from ..volume import SliceStack
from .base import EVERYWHERE, Direction, ObjectResult, SliceResult, Span
from .connectivity import keep_connected
from .embeddings import EmbeddingCache
from .field_of_view import OUTSIDE_LOGIT, FieldOfView
from .views import choose_view, widen

DEFAULT_CACHE_BYTES = 1 << 30
_CORRECTION_LIMIT = 32.0  # sam2 clamps earlier logits so before feeding them back


@dataclass(eq=False)
class _Track:
    """Objects prompted on the same slices and seen through the same view, carried as one batch.

    ``conditioning`` and ``recent`` hold sam2's per-frame outputs by slice.
    """

    objects: tuple[int, ...]
    prompts: Mapping[int, Mapping[int, SlicePrompt]]  # object -> slice -> prompt
    view: FieldOfView
    conditioning: dict[int, dict] = field(default_factory=dict)
    recent: dict[int, dict] = field(default_factory=dict)

    @property
    def slices(self) -> list[int]:
        return sorted(self.prompts[self.objects[0]])

    def output(self, index: int) -> dict | None:
        return self.recent.get(index) or self.conditioning.get(index)

    def last_shown(self, index: int, reverse: bool) -> torch.Tensor | None:
        """Logits of each object where it was last seen; None if none of the last slices shows any.

        A gap of two slices is bridged: noise may hide a thin part for a moment.
        """
        step = 1 if reverse else -1
        outputs = [self.output(index + n * step) for n in (1, 2, 3)]
        masks = [output["pred_masks"] for output in outputs if output is not None]
        if not any(bool((mask > 0).any()) for mask in masks):
            return None
        shown = masks[0]
        for mask in masks[1:]:
            empty = (shown <= 0).flatten(1).all(1)
            shown = torch.where(empty[:, None, None, None], mask, shown)
        return shown


class Sam2Propagator:
    """Propagates prompts with a SAM 2.1 network.

    Args:
        model: a loaded model.
        cache_bytes: budget for image embeddings.
        field_of_view: ``auto`` crops around the object, ``slice`` shows whole slices, ``model``
            takes the model's own preference.

    Raises:
        UserError: for an unknown ``field_of_view``.
    """

    def __init__(
        self,
        model: LoadedModel,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        field_of_view: str = "model",
    ) -> None:
        if field_of_view not in ("model", "auto", "slice"):
            raise UserError(f"Unknown field of view '{field_of_view}'; use auto or slice.")
        self.model = model
        self.network = model.network
        self.cache = EmbeddingCache(model.network, cache_bytes)
        self.crops = model.crops if field_of_view == "model" else field_of_view == "auto"

    def predict_slice(self, stack: SliceStack, prompts: Prompts, index: int) -> SliceResult:
        """2D masks of every object prompted on slice ``index``."""
        prompts.check(stack.geometry)
        found: dict[int, ObjectResult] = {}
        for object_id, slices in prompts.by_object.items():
            if index in slices:
                view = self._view(stack, {index: slices[index]})
                track = _Track((object_id,), {object_id: {index: slices[index]}}, view)
                output = self._conditioning_output(stack, track, index)
                found |= self._results(track, index, output, with_logits=True)
        if not found:
            raise UserError(f"Slice {index} has no prompt; click on it first.")
        return SliceResult(index, found)

    def propagate(
        self,
        stack: SliceStack,
        prompts: Prompts,
        span: Span = EVERYWHERE,
        *,
        with_logits: bool = False,
    ) -> Iterator[SliceResult]:
        """See :class:`~.base.Propagator`. A prompted slice is given first, then the slices from the
        first prompted one forward, then backward. Where a cropped view turns out too narrow, it is
        widened and its objects are given again."""
        prompts.check(stack.geometry)
        first, last = span.limits(len(stack))
        return self._propagate(stack, self._tracks(stack, prompts), span, first, last, with_logits)

    def _propagate(
        self,
        stack: SliceStack,
        tracks: list[_Track],
        span: Span,
        first: int,
        last: int,
        with_logits: bool,
    ) -> Iterator[SliceResult]:
        while tracks:
            for track in tracks:
                for index in track.slices:
                    track.conditioning[index] = self._conditioning_output(stack, track, index)
                    if first <= index <= last:
                        yield self._slice_result([track], index, with_logits)
            too_narrow: list[_Track] = []
            for reverse in (False, True):
                if span.direction is (Direction.FORWARD if reverse else Direction.BACKWARD):
                    continue
                starts = {t: _start(t, reverse, span.direction, first, last) for t in tracks}
                # Slices between a prompt and the span are carried through but not given.
                order = range(min(first, *starts.values()), max(last, *starts.values()) + 1)
                for index in reversed(order) if reverse else order:
                    active = [
                        t
                        for t in tracks
                        if t not in too_narrow
                        and index not in t.conditioning
                        and (index < starts[t] if reverse else index > starts[t])
                        and (index >= first if reverse else index <= last)
                    ]
                    if not active:
                        continue
                    for track in active:
                        self._carry(stack, track, index, reverse)
                    result = self._slice_result(active, index, with_logits)
                    if first <= index <= last:
                        yield result
                    too_narrow += [t for t in active if _needs_widening(t, result)]
            tracks = [_Track(t.objects, t.prompts, widen(t.view)) for t in too_narrow]

    def _tracks(self, stack: SliceStack, prompts: Prompts) -> list[_Track]:
        """Objects grouped so that each group is one batch."""
        groups: dict[tuple, dict[int, Mapping[int, SlicePrompt]]] = {}
        for object_id, slices in prompts.by_object.items():
            key = (tuple(sorted(slices)), self._view(stack, slices))
            groups.setdefault(key, {})[object_id] = slices
        return [_Track(tuple(group), group, view) for (_, view), group in groups.items()]

    def _view(self, stack: SliceStack, slices: Mapping[int, SlicePrompt]) -> FieldOfView:
        if not self.crops:
            return FieldOfView.whole(*stack.shape[1:])

        def score(index: int, view: FieldOfView) -> ObjectResult:
            track = _Track((1,), {1: {index: slices[index]}}, view)
            output = self._conditioning_output(stack, track, index)
            return self._results(track, index, output, with_logits=False)[1]

        return choose_view(stack.geometry, slices, score)

    @torch.inference_mode()
    def _conditioning_output(self, stack: SliceStack, track: _Track, index: int) -> dict:
        """sam2's output for a prompted slice: object by object, then as one batch."""
        embedding = self.cache.get(stack, index, track.view)
        vision, positions, sizes = self.cache.backbone_features(embedding, 1)
        outputs = []
        with autocast(self.model.device):
            for object_id in track.objects:
                rounds = self._rounds(track.prompts[object_id][index], track.view)
                current: dict = {}
                prior = None
                for points, mask in rounds:
                    dense = prior
                    if mask is None and self.model.dense_prompts:
                        dense = render_prompts(
                            points["point_coords"],
                            points["point_labels"],
                            self.network.image_size,
                            prior,
                        )
                    current = self._heads(
                        index, vision, positions, sizes, {}, True, points, mask, dense, False
                    )
                    prior = current["pred_masks"].clamp(-_CORRECTION_LIMIT, _CORRECTION_LIMIT)
                if self.model.connected and points is not None:
                    current["pred_masks"] = self._at_prompts(current["pred_masks"], points)
                high = self._upsampled(current["pred_masks"])
                self._remember(vision, sizes, high, current, from_prompt=True)
                outputs.append(current)
        return _batched(outputs)

    @torch.inference_mode()
    def _carry(self, stack: SliceStack, track: _Track, index: int, reverse: bool) -> None:
        """Add sam2's output for a slice without prompt, from the memory of others.

        Where objects must connect and none has been seen for a while, nothing is added: they ended.
        """
        batch = len(track.objects)
        neighbour = track.last_shown(index, reverse) if self.model.connected else None
        if self.model.connected and neighbour is None:
            track.recent.pop(index, None)
            return
        embedding = self.cache.get(stack, index, track.view)
        vision, positions, sizes = self.cache.backbone_features(embedding, batch)
        bank = {"cond_frame_outputs": track.conditioning, "non_cond_frame_outputs": track.recent}
        points = dense = None
        if self.model.carry_mask:
            dense = track.output(index + 1 if reverse else index - 1)["pred_masks"]
            dense = dense.clamp(-LIMIT, LIMIT)
            points = self._points(np.zeros((batch, 1, 2)), [[PADDING]] * batch)
        with autocast(self.model.device):
            current = self._heads(
                index,
                vision,
                positions,
                sizes,
                bank,
                False,
                points,
                None,
                dense,
                reverse,
                n_slices=len(stack),
            )
            high = current.pop("high")
            if neighbour is not None:
                current["pred_masks"] = keep_connected(current["pred_masks"], neighbour)
                if self.model.connected and points is not None:
                    current["pred_masks"] = self._at_prompts(current["pred_masks"], points)
                high = self._upsampled(current["pred_masks"])
            self._remember(vision, sizes, high, current, from_prompt=False)
        track.recent[index] = current
        self._forget(track, index, reverse)

    def _at_prompts(self, logits: torch.Tensor, points: dict) -> torch.Tensor:
        """Without the parts that no positive click or box touches, unless nothing would be left."""
        asked_for = render_prompts(
            points["point_coords"], points["point_labels"], self.network.image_size
        )
        kept = keep_connected(logits, asked_for)
        return kept if (kept > 0).any() else logits

    def _upsampled(self, logits: torch.Tensor) -> torch.Tensor:
        return F.interpolate(
            logits, (self.network.image_size,) * 2, mode="bilinear", align_corners=False
        )

    def _heads(
        self,
        index: int,
        vision: list,
        positions: list,
        sizes: list,
        bank: dict,
        initial: bool,
        points: dict | None,
        mask: torch.Tensor | None,
        dense: torch.Tensor | None,
        reverse: bool,
        n_slices: int = 1,
    ) -> dict:
        _, sam, _, _ = self.network._track_step(
            index, initial, vision, positions, sizes, points, mask, bank, n_slices, reverse, dense
        )
        _, _, ious, low, high, pointer, score = sam
        return {
            "pred_masks": low,
            "high": high,
            "obj_ptr": pointer,
            "object_score_logits": score,
            "ious": ious.float().amax(1),
        }

    def _remember(
        self, vision: list, sizes: list, high: torch.Tensor, current: dict, from_prompt: bool
    ) -> None:
        features, positions = self.network._encode_new_memory(
            vision, sizes, high, current["object_score_logits"], from_prompt
        )
        current.pop("high", None)
        # bfloat16 as sam2's own predictor keeps it.
        current["maskmem_features"] = features.to(torch.bfloat16)
        current["maskmem_pos_enc"] = positions

    def _forget(self, track: _Track, index: int, reverse: bool) -> None:
        """Drop what no later slice can read.

        The backward pass starts at the first prompted slice and, as in sam2, still looks at the
        slices above it, which the forward pass left.
        """
        features = self.network.num_maskmem * max(1, self.network.memory_temporal_stride_for_eval)
        reach = max(self.network.max_obj_ptrs_in_encoder, features)
        start = track.slices[0]
        for old in list(track.recent):
            age = old - index if reverse else index - old
            if age >= reach and abs(old - start) >= reach:
                del track.recent[old]

    def _rounds(
        self, prompt: SlicePrompt, view: FieldOfView
    ) -> list[tuple[dict | None, torch.Tensor | None]]:
        """A prompt as the rounds of an interaction: first the box or point, then point by point,
        each with all before it, as sam2 is trained and used interactively."""
        size = self.network.image_size
        device = self.model.device
        if prompt.mask is not None:
            return [(None, view.mask(prompt.mask, size).to(device))]
        rows_cols: list[tuple[float, float]] = []
        labels: list[int] = []
        rounds = []
        if prompt.box is not None:
            box = prompt.box
            rows_cols += [(box.row0, box.col0), (box.row1, box.col1)]
            labels += [BOX_START, BOX_END]
            rounds.append(len(labels))
        points = list(prompt.points)
        if prompt.box is None:
            # A first click that only says "not here" would leave SAM without an object.
            points.insert(0, points.pop(next(n for n, p in enumerate(points) if p.positive)))
        for point in points:
            rows_cols.append((point.row, point.col))
            labels.append(POSITIVE if point.positive else NEGATIVE)
            rounds.append(len(labels))
        coords = view.points(np.array(rows_cols), size)[None]
        return [(self._points(coords[:, :n], [labels[:n]]), None) for n in rounds]

    def _points(self, coords: np.ndarray, labels: list[list[int]]) -> dict[str, torch.Tensor]:
        device = self.model.device
        return {
            "point_coords": torch.as_tensor(coords, dtype=torch.float32, device=device),
            "point_labels": torch.tensor(labels, dtype=torch.int32, device=device),
        }

    def _slice_result(self, tracks: list[_Track], index: int, with_logits: bool) -> SliceResult:
        found: dict[int, ObjectResult] = {}
        for track in tracks:
            output = track.output(index)
            if output is None:
                found |= _absent(track, with_logits)
            else:
                found |= self._results(track, index, output, with_logits)
        return SliceResult(index, found)

    def _results(
        self, track: _Track, index: int, output: dict, with_logits: bool
    ) -> dict[int, ObjectResult]:
        logits = track.view.logits(output["pred_masks"])
        ious = output["ious"].cpu().numpy()
        scores = output["object_score_logits"].float().sigmoid().flatten().cpu().numpy()
        found = {}
        for n, object_id in enumerate(track.objects):
            prompt = track.prompts[object_id].get(index)
            drawn = None if prompt is None else prompt.mask
            found[object_id] = ObjectResult(
                mask=logits[n] > 0 if drawn is None else drawn.copy(),
                predicted_iou=float(np.clip(ious[n], 0, 1)),
                object_score=float(scores[n]),
                prompted=prompt is not None,
                logits=logits[n] if with_logits else None,
            )
        return found


def _start(track: _Track, reverse: bool, direction: Direction, first: int, last: int) -> int:
    """The prompted slice from which a pass carries a track.

    As in sam2 both passes start at the first prompted slice, so that between two of them the
    forward pass decides, unless there is none. Prompted slices on the way to a span that begins
    beyond them are skipped: the nearest one before it is the start.
    """
    slices = track.slices
    if not reverse:
        return max((s for s in slices if s <= first), default=slices[0])
    if direction is Direction.BOTH:
        return slices[0]
    return min((s for s in slices if s >= last), default=slices[-1])


def _needs_widening(track: _Track, result: SliceResult) -> bool:
    return not track.view.is_whole and any(
        track.view.touched_by(result.objects[o].mask) for o in track.objects
    )


def _absent(track: _Track, with_logits: bool) -> dict[int, ObjectResult]:
    """Objects that ended before this slice."""
    shape = (track.view.height, track.view.width)
    logits = np.full(shape, OUTSIDE_LOGIT, np.float32) if with_logits else None
    return {o: ObjectResult(np.zeros(shape, bool), 1.0, 0.0, logits=logits) for o in track.objects}


def _batched(outputs: list[dict]) -> dict:
    """sam2's outputs of several objects on one slice as one batch."""
    if len(outputs) == 1:
        return outputs[0]
    merged = {
        name: torch.cat([output[name] for output in outputs])
        for name in ("pred_masks", "obj_ptr", "object_score_logits", "ious", "maskmem_features")
    }
    merged["maskmem_pos_enc"] = [
        torch.cat(maps) for maps in zip(*(o["maskmem_pos_enc"] for o in outputs), strict=True)
    ]
    return merged
