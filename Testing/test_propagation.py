"""What a propagation promises, on a small network with random weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.geometry import Grid, Plane
from SAM2Medical3DLib.models.architecture import Architecture, build
from SAM2Medical3DLib.models.registry import LoadedModel, ModelInfo
from SAM2Medical3DLib.prompts import Box, Point, Prompts, SlicePrompt
from SAM2Medical3DLib.propagation import Direction, Span, collect
from SAM2Medical3DLib.propagation.connectivity import keep_connected
from SAM2Medical3DLib.propagation.field_of_view import FieldOfView
from SAM2Medical3DLib.propagation.registry import create_propagator
from SAM2Medical3DLib.propagation.sam2 import Sam2Propagator
from SAM2Medical3DLib.propagation.views import fits, widened_to
from SAM2Medical3DLib.volume import IntensityMapping, SliceStack, Volume

N, HEIGHT, WIDTH = 24, 60, 48


def make_stack(n: int = N) -> SliceStack:
    rng = np.random.default_rng(1)
    array = rng.integers(0, 255, (n, HEIGHT, WIDTH), dtype=np.uint8)
    grid = Grid(array.shape[::-1], np.diag([-1.0, -1.0, 2.0, 1.0]))
    return SliceStack(Volume(array, grid), Plane.AXIAL, IntensityMapping(0, 255))


@pytest.fixture(scope="module")
def stack() -> SliceStack:
    return make_stack()


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    torch.manual_seed(0)
    network = build(Architecture(image_size=64))
    torch.nn.init.constant_(network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 4)
    info = ModelInfo("random", "random", "")
    return LoadedModel(
        info, network, torch.device("cpu"), "", dense_prompts=True, carry_mask=True, crops=True
    )


def disc(row: int = 30, col: int = 24, radius: int = 8) -> np.ndarray:
    rows, cols = np.mgrid[:HEIGHT, :WIDTH]
    return np.hypot(rows - row, cols - col) < radius


MASK = Prompts.single(10, SlicePrompt(mask=disc()))


def test_the_users_mask_comes_back_bit_for_bit(stack: SliceStack, model: LoadedModel) -> None:
    rng = np.random.default_rng(3)
    drawn = rng.random((HEIGHT, WIDTH)) < 0.3
    result = next(
        Sam2Propagator(model).propagate(stack, Prompts.single(7, SlicePrompt(mask=drawn)))
    )
    assert result.index == 7
    assert (result.objects[1].mask == drawn).all()
    assert result.objects[1].prompted
    assert result.objects[1].predicted_iou == 1


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (Span(), range(N)),
        (Span(Direction.FORWARD), range(10, N)),
        (Span(Direction.BACKWARD), range(11)),
        (Span(first=8, last=13), range(8, 14)),
        (Span(Direction.FORWARD, 0, 12), range(10, 13)),
        (Span(first=12, last=15), range(12, 16)),
    ],
)
def test_a_span_gives_its_slices_and_no_others(
    stack: SliceStack, model: LoadedModel, span: Span, expected: range
) -> None:
    propagator = Sam2Propagator(model, field_of_view="slice")
    found = [r.index for r in propagator.propagate(stack, MASK, span)]
    assert sorted(found) == list(expected)


@pytest.mark.parametrize("span", [Span(first=5, last=2), Span(last=N), Span(first=-1)])
def test_an_impossible_span_is_refused_before_work_starts(
    stack: SliceStack, model: LoadedModel, span: Span
) -> None:
    with pytest.raises(UserError, match="slice range"):
        Sam2Propagator(model).propagate(stack, MASK, span)


def test_every_slice_between_two_prompted_ones_is_given_once(
    stack: SliceStack, model: LoadedModel
) -> None:
    prompts = MASK.add(1, 15, SlicePrompt(mask=disc(33, 20, 6)))
    for direction in Direction:
        results = Sam2Propagator(model, field_of_view="slice").propagate(
            stack, prompts, Span(direction, 6, 19)
        )
        first = 10 if direction is Direction.FORWARD else 6
        last = 15 if direction is Direction.BACKWARD else 19
        assert sorted(r.index for r in results) == list(range(first, last + 1))


def test_stopping_between_slices_stops_the_work(stack: SliceStack, model: LoadedModel) -> None:
    propagator = Sam2Propagator(model, field_of_view="slice")
    results = propagator.propagate(stack, MASK)
    for _ in range(4):
        next(results)
    results.close()
    assert propagator.cache.misses == 4


def test_embeddings_are_reused_by_the_next_click_object_and_run(
    stack: SliceStack, model: LoadedModel
) -> None:
    propagator = Sam2Propagator(model, field_of_view="slice")
    list(propagator.propagate(stack, MASK))
    assert propagator.cache.misses == N
    again = MASK.add(2, 4, SlicePrompt((Point(20, 20),)))
    propagator.predict_slice(stack, again, 4)
    list(propagator.propagate(stack, again))
    assert propagator.cache.misses == N


def test_the_cache_stays_within_its_budget(stack: SliceStack, model: LoadedModel) -> None:
    propagator = Sam2Propagator(model, cache_bytes=300_000, field_of_view="slice")
    whole = Sam2Propagator(model, field_of_view="slice")
    results = collect(propagator.propagate(stack, MASK), stack.geometry)
    expected = collect(whole.propagate(stack, MASK), stack.geometry)
    assert 0 < propagator.cache.bytes <= 300_000 < whole.cache.bytes
    assert (results[1] == expected[1]).all()


def test_several_objects_in_one_pass_equal_one_at_a_time(
    stack: SliceStack, model: LoadedModel
) -> None:
    alone = {
        1: SlicePrompt(mask=disc()),
        2: SlicePrompt(box=Box(12, 10, 30, 33)),
        3: SlicePrompt((Point(40, 20), Point(20, 20, False))),
    }
    together = Prompts({o: {10: p} for o, p in alone.items()}).add(4, 3, alone[2])
    propagator = Sam2Propagator(model, field_of_view="slice")
    found = {}
    for result in propagator.propagate(stack, together, with_logits=True):
        for object_id, one in result.objects.items():
            found[object_id, result.index] = one.logits
    for object_id, slices in together.by_object.items():
        single = Prompts({1: slices})
        for result in propagator.propagate(stack, single, with_logits=True):
            difference = found[object_id, result.index] - result.objects[1].logits
            assert np.abs(difference).max() < 1e-3


def test_memory_kept_does_not_grow_with_the_slices(model: LoadedModel) -> None:
    propagator = Sam2Propagator(model, cache_bytes=0, field_of_view="slice")
    kept = {}
    for n in (60, 120):
        stack = make_stack(n)
        tracks = propagator._tracks(stack, MASK)
        for _ in propagator._propagate(stack, tracks, Span(), 0, n - 1, False):
            kept[n] = max(kept.get(n, 0), len(tracks[0].recent))
    assert kept[60] == kept[120] < 60


def test_logits_are_given_only_when_asked_for(stack: SliceStack, model: LoadedModel) -> None:
    span = Span(first=10, last=11)
    for asked in (True, False):
        results = list(Sam2Propagator(model).propagate(stack, MASK, span, with_logits=asked))
        for result in results:
            one = result.objects[1]
            assert (one.logits is not None) == asked
            if asked and not one.prompted:
                assert (one.mask == (one.logits > 0)).all()


def test_prompts_outside_are_refused_before_work_starts(
    stack: SliceStack, model: LoadedModel
) -> None:
    for prompts in (
        Prompts.single(N, SlicePrompt(mask=disc())),
        Prompts.single(3, SlicePrompt((Point(HEIGHT, 3),))),
        Prompts.single(3, SlicePrompt(mask=np.ones((3, 3)))),
        Prompts(),
    ):
        with pytest.raises(UserError):
            Sam2Propagator(model).propagate(stack, prompts)


def test_a_view_too_narrow_is_widened_and_run_again(stack: SliceStack, model: LoadedModel) -> None:
    small = Prompts.single(10, SlicePrompt(mask=disc(radius=3)))
    propagator = Sam2Propagator(model, field_of_view="auto")
    narrow = propagator._tracks(stack, small)[0].view
    results = list(propagator.propagate(stack, small))
    last = {r.index: r.objects[1].mask for r in results}
    assert sorted(last) == list(range(N))
    reaches = [narrow.touched_by(mask) for mask in last.values()]
    # Random weights fill the view on some slice, so the run must have started over.
    assert len(results) > N
    assert any(reaches)
    assert [r.index for r in results].count(10) > 1


def test_a_view_of_before_is_used_again_where_it_fits(
    stack: SliceStack, model: LoadedModel
) -> None:
    propagator = Sam2Propagator(model, field_of_view="auto")
    roomy = FieldOfView(10, 55, 2, 46, HEIGHT, WIDTH)
    cutting = FieldOfView(0, 30, 0, 24, HEIGHT, WIDTH)
    span = Span(first=10, last=10)
    for view, kept in ((roomy, True), (cutting, False)):
        results = propagator.propagate(stack, MASK, span, views={1: view})
        assert (next(results).objects[1].view == view) == kept
        live = propagator.predict_slice(stack, MASK, 10, views={1: view})
        assert (live.objects[1].view == view) == kept


@settings(max_examples=60, deadline=None)
@given(
    point=st.tuples(st.floats(0, HEIGHT - 1), st.floats(0, WIDTH - 1)),
    centre=st.tuples(st.floats(0, HEIGHT), st.floats(0, WIDTH)),
    side=st.floats(1, 80),
)
def test_a_view_grows_until_it_holds_a_click(
    point: tuple[float, float], centre: tuple[float, float], side: float
) -> None:
    view = FieldOfView.square(centre, side, (1, 1), HEIGHT, WIDTH)
    click = SlicePrompt((Point(*point),))
    wider = widened_to(view, click.points)
    assert fits(wider, click, (1, 1))
    assert (wider == view) == fits(view, click, (1, 1))


def test_parts_that_touch_nothing_are_not_carried() -> None:
    neighbour = torch.full((1, 1, 12, 12), -5.0)
    neighbour[..., 2:5, 2:5] = 5
    logits = torch.full((1, 1, 12, 12), -5.0)
    logits[..., 5:7, 5:7] = 3  # touches by a corner
    logits[..., 9:11, 9:11] = 7  # a look-alike far away
    kept = keep_connected(logits, neighbour) > 0
    assert kept[..., 5:7, 5:7].all()
    assert kept.sum() == 4


def test_an_object_that_ended_stays_away_until_the_next_prompt(
    stack: SliceStack, model: LoadedModel
) -> None:
    propagator = Sam2Propagator(replace(model, connected=True), field_of_view="slice")
    never = propagator.network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias
    kept = never.detach().clone()
    with torch.no_grad():
        never.fill_(-50.0)  # the network sees no object on any slice
    try:
        prompts = MASK.add(1, 20, SlicePrompt(mask=disc(33, 20, 6)))
        found = {r.index: r.objects[1] for r in propagator.propagate(stack, prompts)}
    finally:
        with torch.no_grad():
            never.copy_(kept)
    assert sorted(found) == list(range(N))
    assert [i for i, one in found.items() if one.mask.any()] == [10, 20]
    assert found[15].object_score == 0
    assert found[15].confidence == 1
    # Beyond the gap that is bridged, nothing is computed: 10 and 20 themselves, then three slices.
    assert propagator.cache.misses < N - 6


def test_an_unknown_method_or_view_is_refused(model: LoadedModel) -> None:
    with pytest.raises(UserError, match="Unknown method"):
        create_propagator("magic", model)
    with pytest.raises(UserError, match="Unknown field of view"):
        create_propagator("sam2", model, field_of_view="wide")


@settings(max_examples=60, deadline=None)
@given(
    centre=st.tuples(st.floats(-20, 90), st.floats(-20, 70)),
    side=st.floats(1, 300),
    spacing=st.tuples(st.floats(0.3, 5), st.floats(0.3, 5)),
)
def test_a_view_always_lies_inside_the_slice(
    centre: tuple[float, float], side: float, spacing: tuple[float, float]
) -> None:
    view = FieldOfView.square(centre, side, spacing, HEIGHT, WIDTH)
    for one in (view, view.widened(1.5)):
        assert 0 <= one.row0 < one.row1 <= HEIGHT
        assert 0 <= one.col0 < one.col1 <= WIDTH
    wide = view.widened(1.5)
    assert wide.row0 <= view.row0
    assert wide.row1 >= view.row1
    # A mask cut to the view comes back to its place through the model's grid.
    logits = torch.full((1, 1, 16, 16), 5.0)
    back = view.logits(logits)[0]
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[view.row0 : view.row1, view.col0 : view.col1] = True
    assert ((back > 0) == inside).all()
