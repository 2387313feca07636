"""RadSAM: a volume from a 2D promptable model (Khlaut et al. 2025).

There is no memory. The mask of a slice, as logits, is the decoder's dense prompt on the neighbour
slice, and so on in both directions until the object ends (``stopping.py``). As published, the mask
is a prompt and not the answer: the decoder draws every slice anew. Any SAM 2.1 network serves; only
its image encoder, prompt encoder and mask decoder run.

Ours: slices that the user prompted are fixed points. Between two of them propagation runs from both
and meets (``meeting.py``); beyond the outermost it runs from that one. Clicks on a slice that is
reached from another one correct what arrives there, in the same calls of the decoder. Since nothing
is remembered, the field of view need not stay: where a mask meets its border, the slice is seen
again through a wider one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from ..models.dense_prompts import LIMIT, PADDING, padding_points
from ..models.device import autocast
from ..models.registry import LoadedModel
from ..prompts import Prompts, SlicePrompt
from ..volume import SliceStack
from .appearance import Appearance
from .base import EVERYWHERE, Direction, ObjectResult, SliceResult, Span, Views
from .connectivity import keep_connected
from .field_of_view import FieldOfView, prompt_box
from .meeting import meet
from .slice_model import DEFAULT_CACHE_BYTES, SliceModel, absent
from .stopping import StoppingRule
from .trail import Prediction, Trail
from .views import widen, widened_to


@dataclass(eq=False)
class _Object:
    """One object of a run.

    ``fixed`` holds the predictions of its prompted slices; ``first`` those of the first of two
    passes between fixed slices, until the second arrives; ``look`` is what it looks like.
    """

    id: int
    prompts: Mapping[int, SlicePrompt]
    view: FieldOfView | None
    fixed: dict[int, Prediction] = field(default_factory=dict)
    first: dict[int, Prediction] = field(default_factory=dict)
    trail: Trail | None = None
    look: Appearance = field(default_factory=Appearance)

    def between(self, index: int) -> tuple[int | None, int | None]:
        """The nearest fixed slices below and above a slice that is none itself."""
        below = max((s for s in self.fixed if s < index), default=None)
        return below, min((s for s in self.fixed if s > index), default=None)


class RadSamPropagator(SliceModel):
    """Propagates prompts slice by slice with a SAM 2.1 network used as a 2D model.

    Args:
        model, cache_bytes, field_of_view, appearance: see :class:`~.slice_model.SliceModel`.
        stopping: where objects end; None is the default rule.
    """

    def __init__(
        self,
        model: LoadedModel,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        field_of_view: str = "model",
        stopping: StoppingRule | None = None,
        appearance: float | None = None,
    ) -> None:
        super().__init__(model, cache_bytes, field_of_view, appearance)
        self.stopping = StoppingRule() if stopping is None else stopping

    def predict(
        self,
        stack: SliceStack,
        prompt: SlicePrompt,
        view: FieldOfView,
        index: int,
        prior: torch.Tensor | None = None,
    ) -> dict:
        """See :meth:`.SliceModel.predict`; the user's own mask is not shown to the network."""
        if prompt.mask is None:
            return super().predict(stack, prompt, view, index, prior)
        device = self.model.device
        return {
            "pred_masks": view.mask_logits(prompt.mask, self.network.image_size).to(device),
            "ious": torch.ones(1, device=device),
            "object_score_logits": torch.full((1, 1), LIMIT, device=device),
        }

    def propagate(
        self,
        stack: SliceStack,
        prompts: Prompts,
        span: Span = EVERYWHERE,
        *,
        with_logits: bool = False,
        views: Views | None = None,
    ) -> Iterator[SliceResult]:
        """See :class:`~.base.Propagator`. Prompted slices are given first, then the others, each
        once: forward, then backward where there is no slice to meet."""
        prompts.check(stack.geometry)
        first, last = span.limits(len(stack))
        objects = [
            _Object(object_id, slices, (views or {}).get(object_id))
            for object_id, slices in prompts.by_object.items()
        ]
        return self._propagate(stack, objects, span.direction, first, last, with_logits)

    def _propagate(
        self,
        stack: SliceStack,
        objects: list[_Object],
        direction: Direction,
        first: int,
        last: int,
        with_logits: bool,
    ) -> Iterator[SliceResult]:
        for one in objects:
            self._fix(stack, one)
        for index in sorted({s for one in objects for s in one.fixed}):
            if first <= index <= last:
                yield SliceResult(
                    index,
                    {
                        one.id: self._result(one.fixed[index], one.prompts[index], with_logits)
                        for one in objects
                        if index in one.fixed
                    },
                )
        # The side that the direction starts from comes second, so that its results stream.
        order = (True, False) if direction is Direction.FORWARD else (False, True)
        for number, reverse in enumerate(order):
            meeting_only = number == 0 and direction is not Direction.BOTH
            indices = range(len(stack))
            for index in reversed(indices) if reverse else indices:
                active = [
                    one
                    for one in objects
                    if _passes(one, index, reverse, meeting_only, first, last)
                ]
                if not active:
                    continue
                self._step(stack, active, index, reverse)
                if not first <= index <= last:
                    continue
                found = {}
                for one in active:
                    if number == 0 and None not in one.between(index):
                        one.first[index] = one.trail.last and one.trail.last.stored()
                    else:
                        found[one.id] = self._arrived(one, index, reverse, with_logits)
                if found:
                    yield SliceResult(index, found)

    def _fix(self, stack: SliceStack, one: _Object) -> None:
        """Predict the prompted slices.

        A mask, a box or an earlier prediction says by itself where the object is; clicks alone are
        read together with what arrives from the nearest slice that is known, if there is one.
        """
        known = [s for s, prompt in one.prompts.items() if prompt_box(prompt) is not None]
        for index in known or list(one.prompts)[:1]:
            prompt = one.prompts[index]
            used = [p.view for p in one.fixed.values()]
            view = self.view_for(stack, {index: prompt}, one.view, *used)
            self._keep(
                stack, one, index, _prediction(self.predict(stack, prompt, view, index), view)
            )
        waiting = set(one.prompts) - set(one.fixed)
        while waiting:
            index, source = min(
                ((w, f) for w in waiting for f in one.fixed), key=lambda p: (abs(p[0] - p[1]), p)
            )
            waiting.remove(index)
            self._keep(stack, one, index, self._reached(stack, one, source, index))

    def _keep(self, stack: SliceStack, one: _Object, index: int, prediction: Prediction) -> None:
        """Fix a prompted slice, and learn from it what the object looks like."""
        one.fixed[index] = prediction
        prompt = one.prompts[index]
        self.learn(one.look, stack, index, prediction.view, prompt, prediction.logits)

    def _reached(self, stack: SliceStack, one: _Object, source: int, index: int) -> Prediction:
        """A slice with clicks, from them and from what arrives there from ``source``."""
        prompt = one.prompts[index]
        step = 1 if index > source else -1
        one.trail = Trail(one.fixed[source], self.stopping)
        for between in range(source + step, index, step):
            self._carry(stack, [one], between)
        view = widened_to(one.trail.view, prompt.points)
        prior = None
        if not one.trail.ended:
            prior = one.trail.seen.seen_through(view, self.network.image_size)
        elif self.crops:
            view = self.choose_view(stack, {index: prompt})
        return _prediction(self.predict(stack, prompt, view, index, prior), view)

    def _step(self, stack: SliceStack, active: list[_Object], index: int, reverse: bool) -> None:
        """One slice further for every object that is on its way there."""
        for one in active:
            source = one.between(index)[1 if reverse else 0]
            if abs(source - index) == 1:
                one.trail = Trail(one.fixed[source], self.stopping)
        self._carry(stack, active, index)

    @torch.inference_mode()
    def _carry(self, stack: SliceStack, active: list[_Object], index: int) -> None:
        """Predict a slice from what was last seen of each object; one batch for each view."""
        size = self.network.image_size
        todo = [one for one in active if not one.trail.ended]
        while todo:
            groups: dict[FieldOfView, list[_Object]] = {}
            for one in todo:
                groups.setdefault(one.trail.view, []).append(one)
            todo = []
            for view, group in groups.items():
                dense = torch.cat([one.trail.seen.seen_through(view, size) for one in group])
                looks = [one.look for one in group]
                output = self._from_neighbours(stack, index, view, dense, looks)
                for n, one in enumerate(group):
                    prediction = _prediction(output, view, n)
                    if prediction.meets_border:
                        one.trail.view = widen(view)
                        todo.append(one)
                    else:
                        one.trail.take(prediction)

    def _from_neighbours(
        self,
        stack: SliceStack,
        index: int,
        view: FieldOfView,
        dense: torch.Tensor,
        looks: list[Appearance],
    ) -> dict:
        """The decoder's answer for B objects from (B, 1, S/4, S/4) logits of their neighbours."""
        batch = len(dense)
        count = padding_points(self.network)
        points = self.points(np.zeros((batch, count, 2)), [[PADDING] * count] * batch)
        features = self.features(stack, index, view, batch)
        with autocast(self.model.device):
            output = self.heads(index, features, points, None, dense)
        if self.appearance:
            output["pred_masks"] += self.evidence(looks, stack, index, view, dense)
        if self.model.connected:
            output["pred_masks"] = keep_connected(output["pred_masks"], dense)
        return output

    def _arrived(self, one: _Object, index: int, reverse: bool, with_logits: bool) -> ObjectResult:
        """What there is to say of a slice once every pass that concerns it has been there."""
        below, above = one.between(index)
        mine, other = one.trail.last, one.first.pop(index, None)
        if mine is None or other is None:
            found = mine or other
            if found is None:
                return absent(one.trail.view, with_logits)
            return self._result(found, None, with_logits)
        sides = (other, mine) if reverse else (mine, other)
        return meet(index, below, above, *sides, with_logits)

    def _result(
        self, prediction: Prediction, prompt: SlicePrompt | None, with_logits: bool
    ) -> ObjectResult:
        p = prediction
        logits = p.full()
        drawn = None if prompt is None else prompt.mask
        return ObjectResult(
            mask=logits > 0 if drawn is None else drawn.copy(),
            predicted_iou=p.iou,
            object_score=p.presence,
            prompted=prompt is not None,
            logits=logits if with_logits else None,
            view=p.view,
        )


def _passes(
    one: _Object, index: int, reverse: bool, meeting_only: bool, first: int, last: int
) -> bool:
    """Whether a pass of an object has to go through a slice."""
    if index in one.fixed:
        return False
    below, above = one.between(index)
    source, goal = (above, below) if reverse else (below, above)
    if source is None or (meeting_only and goal is None):
        return False
    if reverse:
        return index >= first and (goal is None or goal < last)
    return index <= last and (goal is None or goal > first)


def _prediction(output: Mapping[str, torch.Tensor], view: FieldOfView, n: int = 0) -> Prediction:
    return Prediction(
        output["pred_masks"][n : n + 1],
        view,
        float(output["ious"][n].float().clamp(0, 1)),
        float(output["object_score_logits"][n].float().sigmoid()),
    )
