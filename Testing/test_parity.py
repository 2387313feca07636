"""Frame for frame the same as the official SAM 2 video predictor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sam2.sam2_video_predictor import SAM2VideoPredictor

from SAM2Medical3DLib.geometry import Grid, Plane
from SAM2Medical3DLib.models.architecture import build_from_config
from SAM2Medical3DLib.models.registry import LoadedModel, ModelInfo, load_model
from SAM2Medical3DLib.prompts import Box, Point, Prompts, SlicePrompt
from SAM2Medical3DLib.propagation.sam2 import Sam2Propagator
from SAM2Medical3DLib.volume import IntensityMapping, SliceStack, Volume

N, HEIGHT, WIDTH = 10, 96, 80
MIDDLE = 4

DISC = np.hypot(*np.mgrid[-40:56, -30:50]) < 17
RING = np.hypot(*np.mgrid[-60:36, -55:25]) < 11

PROMPTS = {
    "mask": Prompts.single(MIDDLE, SlicePrompt(mask=DISC)),
    "point": Prompts.single(MIDDLE, SlicePrompt((Point(40, 30),))),
    "clicks": Prompts.single(
        MIDDLE, SlicePrompt((Point(40, 30), Point(60, 55, False), Point(44, 38)))
    ),
    "box": Prompts.single(MIDDLE, SlicePrompt(box=Box(20, 12, 60, 50))),
    "box and click": Prompts.single(
        MIDDLE, SlicePrompt((Point(30, 20, False),), Box(20, 12, 60, 50))
    ),
    "two objects": Prompts.single(MIDDLE, SlicePrompt(mask=DISC)).add(
        2, MIDDLE, SlicePrompt(box=Box(48, 42, 73, 68))
    ),
    "two slices": Prompts.single(2, SlicePrompt(mask=DISC)).add(1, 6, SlicePrompt(mask=RING)),
}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SliceStack]:
    """The same 8-bit slices as JPEG files and as a volume."""
    folder = tmp_path_factory.mktemp("frames")
    rng = np.random.default_rng(0)
    for n in range(N):
        image = rng.normal(70, 9, (HEIGHT, WIDTH))
        image[np.roll(DISC, n, 1)] += 90
        image[np.roll(RING, -n, 0)] += 50
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / f"{n:03}.jpg")
    frames = [np.asarray(Image.open(folder / f"{n:03}.jpg").convert("L")) for n in range(N)]
    # An LPS identity grid: slices, rows and columns run as on the screen.
    array = np.stack(frames)
    volume = Volume(array, Grid(array.shape[::-1], np.diag([-1.0, -1.0, 1.0, 1.0])))
    return folder, SliceStack(volume, Plane.AXIAL, IntensityMapping(0, 255))


def _random_tiny() -> LoadedModel:
    torch.manual_seed(3)
    network = build_from_config("sam2.1_hiera_t", 128)
    # Random scores would call most slices empty, and nothing would be compared.
    torch.nn.init.constant_(network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 2)
    return LoadedModel(ModelInfo("tiny", "tiny", ""), network, torch.device("cpu"), "")


@pytest.fixture(scope="module", params=["random SAM 2.1 tiny", "bundled"])
def model(request: pytest.FixtureRequest) -> LoadedModel:
    if request.param == "bundled":
        # As the official predictor would run these weights.
        loaded = load_model("bundled", device="cpu")
        habits = dict.fromkeys(("dense_prompts", "carry_mask", "connected", "crops"), False)
        habits["appearance"] = 0.0
        return replace(loaded, **habits)
    return _random_tiny()


def _official_logits(
    model: LoadedModel, folder: Path, prompts: Prompts
) -> dict[int, dict[int, np.ndarray]]:
    """{slice: {object: logits}} from the official predictor."""
    predictor = model.network
    ours = predictor.__class__
    predictor.__class__ = SAM2VideoPredictor
    predictor.fill_hole_area = 0
    predictor.non_overlap_masks = predictor.clear_non_cond_mem_around_input = False
    predictor.add_all_frames_to_correct_as_cond = False
    try:
        state = predictor.init_state(str(folder))
        for object_id, slices in prompts.by_object.items():
            for index, prompt in slices.items():
                _add(predictor, state, index, object_id, prompt)
        found: dict[int, dict[int, np.ndarray]] = {}
        for reverse in (False, True):
            for index, ids, logits in predictor.propagate_in_video(state, reverse=reverse):
                found[index] = {i: logits[n, 0].numpy() for n, i in enumerate(ids)}
        return found
    finally:
        predictor.__class__ = ours


def _add(
    predictor: SAM2VideoPredictor, state: dict, index: int, object_id: int, prompt: SlicePrompt
) -> None:
    if prompt.mask is not None:
        predictor.add_new_mask(state, index, object_id, prompt.mask)
    if prompt.box is not None:
        b = prompt.box
        predictor.add_new_points_or_box(
            state, index, object_id, box=np.float32([b.col0, b.row0, b.col1, b.row1])
        )
    for n, point in enumerate(prompt.points):
        predictor.add_new_points_or_box(
            state, index, object_id, points=np.float32([[point.col, point.row]]),
            labels=np.int32([point.positive]), clear_old_points=n == 0 and prompt.box is None,
        )  # fmt: skip


@pytest.mark.parametrize("name", PROMPTS)
def test_same_masks_as_the_official_predictor(
    model: LoadedModel, video: tuple[Path, SliceStack], name: str
) -> None:
    folder, stack = video
    prompts = PROMPTS[name]
    expected = _official_logits(model, folder, prompts)
    results = list(Sam2Propagator(model).propagate(stack, prompts, with_logits=True))
    assert sorted(r.index for r in results) == sorted(expected) == list(range(N))
    seen_object = False
    for result in results:
        for object_id, found in result.objects.items():
            reference = expected[result.index][object_id]
            assert np.abs(found.logits - reference).max() < 1e-3
            drawn = prompts.by_object[object_id].get(result.index)
            if drawn is not None and drawn.mask is not None:
                assert (found.mask == drawn.mask).all()
                continue
            union = (found.mask | (reference > 0)).sum()
            assert union == 0 or (found.mask & (reference > 0)).sum() / union >= 0.999
            seen_object |= bool((reference > -1000).any())
    assert seen_object, "every slice was scored empty: nothing was compared"
