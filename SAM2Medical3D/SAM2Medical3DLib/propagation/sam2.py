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
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import UserError
from ..models.dense_prompts import LIMIT, PADDING
from ..models.device import autocast
from ..models.registry import LoadedModel
from ..prompts import Prompts, SlicePrompt
from ..volume import SliceStack
from .appearance import Appearance
from .base import EVERYWHERE, Direction, ObjectResult, SliceResult, Span, Views
from .connectivity import keep_connected
from .field_of_view import FieldOfView
from .slice_model import Features, Memory, SliceModel, absent
from .views import widen


@dataclass(eq=False)
class _Track:
    """Objects prompted on the same slices and seen through the same view, carried as one batch.

    ``conditioning`` and ``recent`` hold sam2's per-frame outputs by slice, ``looks`` what each
    object looks like on its prompted slices.
    """

    objects: tuple[int, ...]
    prompts: Mapping[int, Mapping[int, SlicePrompt]]  # object -> slice -> prompt
    view: FieldOfView
    conditioning: dict[int, dict] = field(default_factory=dict)
    recent: dict[int, dict] = field(default_factory=dict)
    looks: dict[int, Appearance] = field(default_factory=dict)

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


class Sam2Propagator(SliceModel):
    """Propagates prompts with a SAM 2.1 network and its memory; see :class:`~.slice_model`.

    Raises:
        UserError: for a model without memory, or an unknown field of view.
    """

    def __init__(self, model: LoadedModel, *args: Any, **options: Any) -> None:
        if model.network.num_maskmem == 0:
            raise UserError(
                f"The model '{model.info.name}' has no memory of other slices; use --method radsam "
                "with it, or another model."
            )
        super().__init__(model, *args, **options)

    def propagate(
        self,
        stack: SliceStack,
        prompts: Prompts,
        span: Span = EVERYWHERE,
        *,
        with_logits: bool = False,
        views: Views | None = None,
    ) -> Iterator[SliceResult]:
        """See :class:`~.base.Propagator`. A prompted slice is given first, then the slices from the
        first prompted one forward, then backward. Where a cropped view turns out too narrow, it is
        widened and its objects are given again."""
        prompts.check(stack.geometry)
        first, last = span.limits(len(stack))
        tracks = self._tracks(stack, prompts, views or {})
        return self._propagate(stack, tracks, span, first, last, with_logits)

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

    def _tracks(
        self, stack: SliceStack, prompts: Prompts, views: Views | None = None
    ) -> list[_Track]:
        """Objects grouped so that each group is one batch."""
        groups: dict[tuple, dict[int, Mapping[int, SlicePrompt]]] = {}
        for object_id, slices in prompts.by_object.items():
            view = self.view_for(stack, slices, (views or {}).get(object_id))
            groups.setdefault((tuple(sorted(slices)), view), {})[object_id] = slices
        return [_Track(tuple(group), group, view) for (_, view), group in groups.items()]

    @torch.inference_mode()
    def _conditioning_output(self, stack: SliceStack, track: _Track, index: int) -> dict:
        """sam2's output for a prompted slice: object by object, then as one batch."""
        features = self.features(stack, index, track.view, 1)
        outputs = []
        for object_id in track.objects:
            prompt = track.prompts[object_id][index]
            current = self.predict(stack, prompt, track.view, index)
            look = track.looks.setdefault(object_id, Appearance())
            self.learn(look, stack, index, track.view, prompt, current["pred_masks"])
            with autocast(self.model.device):
                high = self._upsampled(current["pred_masks"])
                self._remember(features, high, current, from_prompt=True)
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
        features = self.features(stack, index, track.view, batch)
        bank = {"cond_frame_outputs": track.conditioning, "non_cond_frame_outputs": track.recent}
        points = dense = None
        if self.model.carry_mask:
            dense = track.output(index + 1 if reverse else index - 1)["pred_masks"]
            dense = dense.clamp(-LIMIT, LIMIT)
            points = self.points(np.zeros((batch, 1, 2)), [[PADDING]] * batch)
        with autocast(self.model.device):
            memory = Memory(bank, initial=False, reverse=reverse, n_slices=len(stack))
            current = self.heads(index, features, points, None, dense, memory)
            high = current.pop("high")
            if self.appearance:
                looks = [track.looks[o] for o in track.objects]
                before = track.output(index + 1 if reverse else index - 1)
                near = before["pred_masks"] if neighbour is None else neighbour
                current["pred_masks"] += self.evidence(looks, stack, index, track.view, near)
            if neighbour is not None:
                current["pred_masks"] = keep_connected(current["pred_masks"], neighbour)
            if self.appearance or neighbour is not None:
                high = self._upsampled(current["pred_masks"])
            self._remember(features, high, current, from_prompt=False)
        track.recent[index] = current
        self._forget(track, index, reverse)

    def _upsampled(self, logits: torch.Tensor) -> torch.Tensor:
        return F.interpolate(
            logits, (self.network.image_size,) * 2, mode="bilinear", align_corners=False
        )

    def _remember(
        self, features: Features, high: torch.Tensor, current: dict, from_prompt: bool
    ) -> None:
        memory, positions = self.network._encode_new_memory(
            features.vision, features.sizes, high, current["object_score_logits"], from_prompt
        )
        current.pop("high", None)
        # bfloat16 as sam2's own predictor keeps it.
        current["maskmem_features"] = memory.to(torch.bfloat16)
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

    def _slice_result(self, tracks: list[_Track], index: int, with_logits: bool) -> SliceResult:
        found: dict[int, ObjectResult] = {}
        for track in tracks:
            output = track.output(index)
            if output is None:
                found |= {o: absent(track.view, with_logits) for o in track.objects}
            else:
                prompts = [track.prompts[o].get(index) for o in track.objects]
                results = self.results(prompts, track.view, output, with_logits)
                found |= dict(zip(track.objects, results, strict=True))
        return SliceResult(index, found)


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


def _batched(outputs: list[dict]) -> dict:
    """sam2's outputs of several objects on one slice as one batch."""
    if len(outputs) == 1:
        return outputs[0]
    merged = {
        name: torch.cat([output[name] for output in outputs])
        for name in outputs[0]
        if name != "maskmem_pos_enc"
    }
    merged["maskmem_pos_enc"] = [
        torch.cat(maps) for maps in zip(*(o["maskmem_pos_enc"] for o in outputs), strict=True)
    ]
    return merged
