"""Propagation slice by slice: what RadSAM computes, where it ends, where two sides meet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from blobs import FIRST, LAST, SPLIT, blob_stack, blob_truth, dice
from SAM2Medical3DLib.cli.main import main
from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.files import read_labelmap, write_segmentation
from SAM2Medical3DLib.files.images import image_on
from SAM2Medical3DLib.models.architecture import Architecture, build, build_from_config
from SAM2Medical3DLib.models.dense_prompts import LIMIT, PADDING
from SAM2Medical3DLib.models.registry import LoadedModel, ModelInfo, load_model
from SAM2Medical3DLib.prompts import Box, Point, Prompts, SlicePrompt
from SAM2Medical3DLib.propagation import Direction, ObjectResult, Span
from SAM2Medical3DLib.propagation.appearance import Appearance
from SAM2Medical3DLib.propagation.base import EVERYWHERE
from SAM2Medical3DLib.propagation.connectivity import keep_connected
from SAM2Medical3DLib.propagation.field_of_view import FieldOfView
from SAM2Medical3DLib.propagation.meeting import meet, weights
from SAM2Medical3DLib.propagation.radsam import RadSamPropagator
from SAM2Medical3DLib.propagation.registry import create_propagator
from SAM2Medical3DLib.propagation.sam2 import Sam2Propagator
from SAM2Medical3DLib.propagation.stopping import EndWatch, StoppingRule
from SAM2Medical3DLib.propagation.trail import Prediction
from SAM2Medical3DLib.volume import SliceStack, Volume

TRUTH = blob_truth()
N = len(TRUTH)
MIDDLE = 8
NEVER_ENDS = StoppingRule(0, N, N)


@pytest.fixture(scope="module")
def stack() -> SliceStack:
    return blob_stack()


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    """A tiny network with random weights, that heed the dense prompt."""
    torch.manual_seed(0)
    network = build(Architecture(image_size=64, embed_dim=16, model_dim=64, memory_dim=16))
    torch.nn.init.normal_(network.sam_prompt_encoder.mask_downscaling[-1].weight, std=30)
    torch.nn.init.constant_(network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 4)
    info = ModelInfo("random", "random", "")
    return LoadedModel(info, network, torch.device("cpu"), "", dense_prompts=True, crops=True)


@pytest.fixture(scope="module")
def bundled() -> LoadedModel:
    return load_model("bundled-radsam", device="cpu")


def test_a_model_without_memory_is_refused_by_sam2(bundled: LoadedModel) -> None:
    with pytest.raises(UserError, match="no memory.*radsam"):
        create_propagator("sam2", bundled)


def drawn(index: int) -> SlicePrompt:
    return SlicePrompt(mask=TRUTH[index])


def run(
    propagator: RadSamPropagator, stack: SliceStack, prompts: Prompts, span: Span = EVERYWHERE
) -> dict[int, ObjectResult]:
    return {r.index: r.objects[1] for r in propagator.propagate(stack, prompts, span)}


def test_a_moving_splitting_and_ending_object_is_followed(
    stack: SliceStack, bundled: LoadedModel
) -> None:
    found = run(RadSamPropagator(bundled), stack, Prompts.single(MIDDLE, drawn(MIDDLE)))
    assert sorted(found) == list(range(N))
    for index in range(FIRST, LAST + 1):
        assert dice(found[index].mask, TRUTH[index]) > 0.9, index
    for index in (*range(FIRST), *range(LAST + 1, N)):
        assert not found[index].mask.any()
        assert found[index].confidence > 0.5
    assert dice(np.stack([found[s].mask for s in range(N)]), TRUTH) > 0.97


def test_a_box_is_enough_to_start_from(stack: SliceStack, bundled: LoadedModel) -> None:
    rows, cols = np.nonzero(TRUTH[MIDDLE])
    box = Box(rows.min() - 0.5, cols.min() - 0.5, rows.max() + 0.5, cols.max() + 0.5)
    span = Span(first=FIRST, last=LAST)
    found = run(
        RadSamPropagator(bundled), stack, Prompts.single(MIDDLE, SlicePrompt(box=box)), span
    )
    masks = np.stack([found[s].mask for s in range(FIRST, LAST + 1)])
    assert dice(masks, TRUTH[FIRST : LAST + 1]) > 0.9


@pytest.mark.parametrize("kind", ["ours", "official"])
def test_one_slice_is_what_sams_own_heads_say(
    stack: SliceStack, model: LoadedModel, kind: str
) -> None:
    """The neighbour's mask is the dense prompt of sam2's decoder; nothing else enters."""
    if kind == "official":
        torch.manual_seed(3)
        network = build_from_config("sam2.1_hiera_t", 128)
        torch.nn.init.constant_(network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 2)
        torch.nn.init.normal_(network.sam_prompt_encoder.mask_downscaling[-1].weight, std=30)
        info = ModelInfo("tiny", "tiny", "")
        model = LoadedModel(info, network, torch.device("cpu"), "")
    propagator = RadSamPropagator(model, field_of_view="slice", stopping=NEVER_ENDS)
    results = propagator.propagate(
        stack, Prompts.single(8, drawn(8)), Span(first=8, last=9), with_logits=True
    )
    found = {r.index: r.objects[1] for r in results}[9]

    network, size = model.network, model.network.image_size
    whole = FieldOfView.whole(*stack.shape[1:])
    small = whole.mask(TRUTH[8], size).reshape(size // 4, 4, size // 4, 4).mean((1, 3))
    features = propagator.features(stack, 9, whole, 1)
    maps = [
        f.permute(1, 2, 0).view(1, -1, *s)
        for f, s in zip(features.vision, features.sizes, strict=True)
    ]
    padding = 2 if kind == "official" else 1  # two, so that sam2 gives one mask and not three

    def expected(dense: torch.Tensor) -> tuple[np.ndarray, float, float]:
        with torch.inference_mode():
            _, _, ious, low, _, _, score = network._forward_sam_heads(
                backbone_features=maps[-1] + network.no_mem_embed.view(1, -1, 1, 1),
                point_inputs={
                    "point_coords": torch.zeros(1, padding, 2),
                    "point_labels": torch.full((1, padding), PADDING),
                },
                mask_inputs=dense[None, None],
                high_res_features=maps[:-1],
                multimask_output=False,
            )
        return whole.logits(low)[0], float(ious.clamp(0, 1)), float(score.sigmoid())

    logits, iou, score = expected((small - 0.5) * 2 * LIMIT)
    np.testing.assert_allclose(found.logits, logits, atol=1e-5)
    assert found.predicted_iou == pytest.approx(iou, abs=1e-6)
    assert found.object_score == pytest.approx(score, abs=1e-6)
    assert np.abs(logits - expected(-(small - 0.5) * 2 * LIMIT)[0]).max() > 1e-3


@pytest.mark.parametrize("prompts", [
    Prompts.single(10, drawn(10)),
    Prompts.single(10, drawn(10)).add(1, 15, drawn(15)),
    Prompts.single(10, drawn(10)).add(1, 15, SlicePrompt((Point(40, 40),))).add(1, 4, drawn(4)),
])  # fmt: skip
@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("limits", [(None, None), (6, 19), (12, 14), (16, 19), (1, 2)])
def test_every_method_writes_the_same_slices_and_radsam_each_once(
    stack: SliceStack, model: LoadedModel, prompts: Prompts, direction: Direction,
    limits: tuple[int | None, int | None],
) -> None:  # fmt: skip
    span = Span(direction, *limits)
    ours = RadSamPropagator(model, field_of_view="slice").propagate(stack, prompts, span)
    theirs = Sam2Propagator(model, field_of_view="slice").propagate(stack, prompts, span)
    indices = [r.index for r in ours]
    assert len(set(indices)) == len(indices)
    assert sorted(indices) == sorted({r.index for r in theirs})


def test_prompted_slices_come_back_unchanged(stack: SliceStack, model: LoadedModel) -> None:
    noise = np.random.default_rng(3).random(TRUTH.shape[1:]) < 0.3
    box = SlicePrompt((Point(44, 40, False),), Box(30, 30, 60, 55))
    prompts = Prompts.single(5, SlicePrompt(mask=noise)).add(1, 12, box).add(1, 17, drawn(17))
    propagator = RadSamPropagator(model)
    found = run(propagator, stack, prompts)
    assert (found[5].mask == noise).all()
    assert (found[17].mask == TRUTH[17]).all()
    assert found[5].predicted_iou == 1
    live = propagator.predict_slice(
        stack, Prompts.single(12, box), 12, views={1: found[12].view}
    ).objects[1]
    assert (found[12].mask == live.mask).all()
    assert [s for s, one in found.items() if one.prompted] == [5, 12, 17]


def test_clicks_correct_what_arrives_from_the_nearest_known_slice(
    stack: SliceStack, bundled: LoadedModel
) -> None:
    propagator = RadSamPropagator(bundled, field_of_view="slice", stopping=NEVER_ENDS, appearance=0)
    clicks = SlicePrompt((Point(44, 40), Point(20, 20, False)))
    prompts = Prompts.single(8, drawn(8)).add(1, 11, clicks)
    found = {r.index: r.objects[1] for r in propagator.propagate(stack, prompts, with_logits=True)}
    whole = FieldOfView.whole(*stack.shape[1:])
    dense = whole.mask_logits(TRUTH[8], bundled.network.image_size)
    with torch.inference_mode():
        for index in (9, 10):
            dense = propagator._from_neighbours(stack, index, whole, dense, [Appearance()])[
                "pred_masks"
            ]
            dense = dense.clamp(-LIMIT, LIMIT)
        expected = propagator.predict(stack, clicks, whole, 11, dense)["pred_masks"]
    np.testing.assert_allclose(found[11].logits, whole.logits(expected)[0], atol=1e-3)
    by_itself = propagator.predict_slice(stack, Prompts.single(11, clicks), 11).objects[1]
    assert np.abs(found[11].logits - by_itself.logits).max() > 0.1


def test_a_click_starts_from_what_was_there_before(stack: SliceStack, bundled: LoadedModel) -> None:
    wrong = TRUTH[8].copy()
    wrong[70:84, 66:80] = True
    remove = SlicePrompt.correcting(wrong, [Point(77, 73, False)])
    with_memory = Sam2Propagator(load_model("bundled", device="cpu"))
    for propagator in (RadSamPropagator(bundled), with_memory):
        found = propagator.predict_slice(stack, Prompts.single(8, remove), 8).objects[1]
        assert dice(found.mask, TRUTH[8]) > 0.95
        span = Span(first=7, last=9)
        carried = run(propagator, stack, Prompts.single(8, remove), span)
        assert (carried[8].mask == found.mask).all()
        assert dice(carried[9].mask, TRUTH[9]) > 0.95


confidences = st.floats(0, 1)


@given(
    a=st.integers(0, 50), gap=st.integers(1, 60), part=st.floats(0, 1), c_a=confidences,
    c_b=confidences,
)  # fmt: skip
def test_weights_go_from_one_fixed_slice_to_the_other(
    a: int, gap: int, part: float, c_a: float, c_b: float
) -> None:
    b = a + gap
    s = a + round(part * gap)
    w_a, w_b = weights(s, a, b, c_a, c_b)
    assert w_a + w_b == pytest.approx(1)
    assert weights(a, a, b, c_a, c_b) == (1, 0)
    assert weights(b, a, b, c_a, c_b) == (0, 1)
    assert weights(s, a, b, c_b, c_a)[0] + 1e-12 >= w_a or c_b < c_a
    if c_a == c_b:
        assert w_a == pytest.approx((b - s) / gap)
    if s < b:
        assert weights(s + 1, a, b, c_a, c_b)[0] <= w_a


def test_two_sides_meet_as_their_weighted_mean(stack: SliceStack, bundled: LoadedModel) -> None:
    propagator = RadSamPropagator(bundled, field_of_view="slice", stopping=NEVER_ENDS, appearance=0)
    both = Prompts.single(6, drawn(6)).add(1, 12, drawn(12))
    sides = [
        {
            r.index: r.objects[1]
            for r in propagator.propagate(stack, Prompts.single(s, drawn(s)), with_logits=True)
        }
        for s in (6, 12)
    ]
    for direction in Direction:
        results = propagator.propagate(stack, both, Span(direction, 6, 12), with_logits=True)
        found = {r.index: r.objects[1] for r in results}
        for s in range(7, 12):
            one, other = (side[s] for side in sides)
            score = [p.predicted_iou * p.object_score for p in (one, other)]
            w_a, w_b = (12 - s) * score[0], (s - 6) * score[1]
            expected = (w_a * one.logits.clip(-10, 10) + w_b * other.logits.clip(-10, 10)) / (
                w_a + w_b
            )
            np.testing.assert_allclose(found[s].logits, expected, atol=0.05)
            assert (found[s].mask == (found[s].logits > 0)).all()
    outside = run(propagator, stack, both)
    for s, side in ((3, sides[0]), (20, sides[1])):
        assert (outside[s].mask == side[s].mask).all()


def test_a_side_that_ended_leaves_the_gap_to_the_other(
    stack: SliceStack, bundled: LoadedModel
) -> None:
    """From an empty corner nothing is carried; the other side fills the gap by itself."""
    nowhere = np.zeros_like(TRUTH[0])
    nowhere[2:6, 88:94] = True
    prompts = Prompts.single(MIDDLE, drawn(MIDDLE)).add(1, 13, SlicePrompt(mask=nowhere))
    strict = StoppingRule(lowest_score=0.85, poor_slices=1)
    found = run(RadSamPropagator(bundled, stopping=strict), stack, prompts, Span(first=8, last=13))
    assert dice(found[10].mask, TRUTH[10]) > 0.9


def test_meeting_needs_no_common_view() -> None:
    narrow, wide = FieldOfView(8, 40, 8, 40, 64, 64), FieldOfView.whole(64, 64)
    one, other = torch.full((1, 1, 8, 8), -4.0), torch.full((1, 1, 16, 16), -4.0)
    one[..., 2:6, 2:6] = 4
    other[..., 4:8, 4:8] = 4
    sides = Prediction(one, narrow, 0.9, 1.0), Prediction(other, wide, 0.9, 1.0)
    found = meet(5, 0, 10, *sides, with_logits=True)
    assert found.mask[24, 24]
    assert found.logits[2, 60] == pytest.approx(-(LIMIT + 4) / 2)
    assert found.predicted_iou == pytest.approx(0.9)


@given(
    shown=st.lists(st.tuples(st.booleans(), st.floats(0, 1)), max_size=20),
    rule=st.builds(
        StoppingRule, lowest_score=st.floats(0, 1), poor_slices=st.integers(1, 5),
        bridge=st.integers(0, 4),
    ),
)  # fmt: skip
def test_an_object_ends_when_the_rule_says_so(
    shown: list[tuple[bool, float]], rule: StoppingRule
) -> None:
    watch = EndWatch(rule)
    for n, (empty, score) in enumerate(shown):
        tail = shown[: n + 1]
        ends = watch.ended(not empty, score)
        long_empty = len(tail) > rule.bridge and all(e for e, _ in tail[-rule.bridge - 1 :])
        long_poor = len(tail) >= rule.poor_slices and all(
            e or s < rule.lowest_score for e, s in tail[-rule.poor_slices :]
        )
        assert ends == (long_empty or long_poor)
        if ends:
            break


def test_an_object_that_was_away_must_be_surely_back() -> None:
    watch = EndWatch(StoppingRule(bridge=2, return_score=0.5))
    assert watch.shows(False, 0.35)  # it was never away
    assert not watch.ended(watch.shows(True, 0.0), 0.0)
    assert not watch.shows(False, 0.49)
    assert watch.shows(False, 0.5)
    assert not watch.ended(True, 0.5)
    assert watch.shows(False, 0.35)


@pytest.mark.parametrize(
    "wrong", [{"lowest_score": 1.5}, {"poor_slices": 0}, {"bridge": -1}, {"return_score": -0.1}]
)
def test_an_impossible_rule_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError):
        StoppingRule(**wrong)


def test_an_object_that_ended_is_absent_and_costs_nothing(
    stack: SliceStack, model: LoadedModel
) -> None:
    bias = model.network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias
    kept = bias.detach().clone()
    with torch.no_grad():
        bias.fill_(-50.0)  # the network sees no object on any slice
    try:
        rule = StoppingRule(lowest_score=0, poor_slices=9, bridge=1)
        propagator = RadSamPropagator(model, field_of_view="slice", stopping=rule)
        found = run(propagator, stack, Prompts.single(10, drawn(10)))
    finally:
        with torch.no_grad():
            bias.copy_(kept)
    assert [s for s, one in found.items() if one.mask.any()] == [10]
    assert found[2].object_score == 0
    assert propagator.cache.misses == 4  # the two slices of each side that the rule needs


def test_several_objects_in_one_pass_equal_one_at_a_time(
    stack: SliceStack, model: LoadedModel
) -> None:
    given_ = {
        1: {10: drawn(10)},
        2: {10: SlicePrompt(box=Box(12, 10, 30, 33)), 15: drawn(15)},
        3: {7: SlicePrompt((Point(40, 20), Point(20, 20, False)))},
    }
    propagator = RadSamPropagator(model, field_of_view="slice", stopping=NEVER_ENDS)
    together = {
        (o, r.index): one.logits
        for r in propagator.propagate(stack, Prompts(given_), with_logits=True)
        for o, one in r.objects.items()
    }
    assert len(together) == 3 * N
    for object_id, slices in given_.items():
        alone = propagator.propagate(stack, Prompts({1: slices}), with_logits=True)
        for result in alone:
            difference = together[object_id, result.index] - result.objects[1].logits
            assert np.abs(difference).max() < 1e-2


def test_stopping_between_slices_stops_the_work(stack: SliceStack, model: LoadedModel) -> None:
    propagator = RadSamPropagator(model, field_of_view="slice", stopping=NEVER_ENDS)
    results: Iterator = propagator.propagate(stack, Prompts.single(10, drawn(10)))
    for _ in range(4):
        next(results)
    results.close()
    assert propagator.cache.misses == 3  # the user's own mask needs none
    list(propagator.propagate(stack, Prompts.single(10, drawn(10))))
    assert propagator.cache.misses == N - 1


def test_a_slice_is_seen_again_through_a_wider_view(
    stack: SliceStack, bundled: LoadedModel
) -> None:
    tight = FieldOfView(25, 60, 19, 54, *stack.shape[1:])
    propagator = RadSamPropagator(bundled, stopping=NEVER_ENDS)
    prompts = Prompts.single(FIRST, drawn(FIRST))
    span = Span(first=FIRST, last=LAST)
    results = list(propagator.propagate(stack, prompts, span, views={1: tight}))
    indices = [r.index for r in results]
    assert indices == list(range(FIRST, LAST + 1))
    views = [r.objects[1].view for r in results]
    assert views[0] == views[1] == tight
    assert views[-1].shape[0] > tight.shape[0]
    for result in results:
        one = result.objects[1]
        assert dice(one.mask, TRUTH[result.index]) > 0.8


def test_a_view_that_was_used_is_used_again_where_it_fits(
    stack: SliceStack, model: LoadedModel
) -> None:
    propagator = RadSamPropagator(model)
    roomy = FieldOfView(10, 80, 10, 80, *stack.shape[1:])
    span = Span(first=8, last=9)
    results = propagator.propagate(stack, Prompts.single(8, drawn(8)), span, views={1: roomy})
    assert next(results).objects[1].view == roomy
    cut = FieldOfView(0, 40, 0, 40, *stack.shape[1:])
    results = propagator.propagate(stack, Prompts.single(8, drawn(8)), span, views={1: cut})
    assert next(results).objects[1].view != cut


def test_parts_that_touch_nothing_are_not_carried(stack: SliceStack, bundled: LoadedModel) -> None:
    """A dense prompt around both parts of the split object finds both; around one, one is kept."""
    whole = FieldOfView.whole(*stack.shape[1:])
    size = bundled.network.image_size
    one_part = TRUTH[LAST].copy()
    one_part[46:] = False
    found = {}
    for connected in (False, True):
        model = replace(bundled, connected=connected)
        propagator = RadSamPropagator(model, field_of_view="slice")
        dense = whole.mask_logits(one_part, size)
        with torch.inference_mode():
            found[connected] = propagator._from_neighbours(
                stack, LAST, whole, dense, [Appearance()]
            )["pred_masks"]
    assert torch.equal(found[True], keep_connected(found[False], dense))
    assert dice(whole.logits(found[True])[0] > 0, one_part) > 0.8


def test_options_belong_to_their_method(model: LoadedModel) -> None:
    rule = StoppingRule(0.5, 2, 0)
    assert create_propagator("radsam", model, stopping=rule).stopping == rule
    with pytest.raises(UserError, match="radsam"):
        create_propagator("sam2", model, stopping=rule)


@settings(max_examples=30, deadline=None)
@given(
    row=st.integers(4, 56), col=st.integers(4, 56), radius=st.integers(3, 12),
    view=st.sampled_from([FieldOfView.whole(64, 64), FieldOfView(0, 48, 8, 64, 64, 64)]),
)  # fmt: skip
def test_logits_go_to_the_model_and_back(
    row: int, col: int, radius: int, view: FieldOfView
) -> None:
    disc = np.hypot(*np.mgrid[-row : 64 - row, -col : 64 - col]) < radius
    inside = np.zeros_like(disc)
    inside[view.row0 : view.row1, view.col0 : view.col1] = True
    expected = disc & inside
    for low in (
        view.mask_logits(disc, 256),
        view.low_resolution(np.where(disc, 50, -50), 256),
    ):
        assert low.shape == (1, 1, 64, 64)
        assert low.abs().max() <= LIMIT
        assert dice(view.logits(low)[0] > 0, expected) > 0.85 or expected.sum() < 20


def test_radsam_on_the_command_line(
    tmp_path: Path, tiny_model: Path, tiny_labels: np.ndarray, tiny_volume: Volume,
    capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    sitk.WriteImage(image_on(tiny_volume.array, tiny_volume.grid), str(tmp_path / "v.nrrd"))
    labels = np.zeros_like(tiny_labels)
    labels[7] = tiny_labels[7]
    colours = {1: (1, 0, 0), 2: (0, 1, 0)}
    write_segmentation(tmp_path / "m.nrrd", labels, tiny_volume.grid, {1: "a", 2: "b"}, colours)
    out, report = tmp_path / "o.seg.nrrd", tmp_path / "r.json"

    def segment(*words: object) -> int:
        common = (tmp_path / "v.nrrd", "--mask", tmp_path / "m.nrrd", "--out", out)
        return main([str(w) for w in ("segment", *common, "--model", tiny_model, *words)])

    options = ("--stop-score", "0.25", "--stop-slices", "4", "--bridge", "0")
    assert segment("--method", "radsam", "--report", report, *options) == 0
    found = read_labelmap(out, tiny_volume.grid)
    assert (found[7] == tiny_labels[7]).all()
    said = json.loads(report.read_text())["settings"]
    assert (said["method"], said["stop_score"], said["bridge"]) == ("radsam", 0.25, 0)
    capsys.readouterr()
    for words, message in (
        (("--method", "sam2", "--bridge", "1"), "has no stopping rule"),
        (("--method", "radsam", "--stop-score", "7"), "from 0 to 1"),
        (("--method", "radsam", "--bridge", "-1"), "must not be negative"),
        (("--method", "magic"), "Unknown method 'magic'; use one of sam2, radsam"),
    ):
        assert segment(*words) == 2
        assert message in capsys.readouterr().err


def test_the_split_is_in_the_phantom() -> None:
    assert ndimage.label(TRUTH[SPLIT - 1])[1] == 1
    assert ndimage.label(TRUTH[LAST])[1] == 2
