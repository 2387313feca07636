"""What prompted slices say of an object's brightness, and what it does to propagation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.geometry import Grid, Plane
from SAM2Medical3DLib.models.registry import LoadedModel, load_model
from SAM2Medical3DLib.prompts import Prompts, SlicePrompt
from SAM2Medical3DLib.propagation import collect
from SAM2Medical3DLib.propagation.appearance import Appearance
from SAM2Medical3DLib.propagation.registry import METHODS, create_propagator
from SAM2Medical3DLib.volume import IntensityMapping, SliceStack, Volume

SIZE = 128
ROWS, COLUMNS = np.indices((SIZE, SIZE))


def disc(row: float, column: float, radius: float) -> np.ndarray:
    return np.hypot(ROWS - row, COLUMNS - column) < radius


def frame(rng: np.random.Generator, **bright: np.ndarray) -> np.ndarray:
    image = rng.normal(90, 12, (SIZE, SIZE))
    for mask in bright.values():
        image[mask] += 60
    return image.clip(0, 255).astype(np.uint8)


def near(mask: np.ndarray) -> torch.Tensor:
    """Low-resolution logits of a mask."""
    return torch.from_numpy(np.where(mask[2::4, 2::4], 8.0, -8.0).astype(np.float32))


def test_pixels_like_the_object_support_it_and_others_do_not() -> None:
    rng = np.random.default_rng(0)
    here, moved = disc(60, 60, 20), disc(66, 64, 20)
    look = Appearance()
    look.learn(frame(rng, a=here), here)
    found = look.evidence(frame(rng, a=moved), near(here))
    inside = moved[2::4, 2::4]
    assert found.shape == (SIZE // 4, SIZE // 4)
    assert found[torch.from_numpy(inside)].median() > 1
    assert found[torch.from_numpy(~inside)].median() < -1


def test_a_look_alike_further_away_supports_little() -> None:
    rng = np.random.default_rng(1)
    here, other = disc(40, 40, 16), disc(100, 100, 16)
    look = Appearance()
    look.learn(frame(rng, a=here), here)
    found = look.evidence(frame(rng, a=here, b=other), near(here))
    assert found[10, 10] > 1
    assert 0 <= found[25, 25] < 0.2


def test_brightness_that_says_nothing_adds_nothing() -> None:
    rng = np.random.default_rng(2)
    here = disc(60, 60, 20)
    look = Appearance()
    look.learn(frame(rng), here)
    assert look.evidence(frame(rng), near(here)).abs().mean() < 0.4


def test_nothing_learnt_adds_nothing() -> None:
    look = Appearance()
    look.learn(np.zeros((SIZE, SIZE), np.uint8), np.zeros((SIZE, SIZE), bool))
    found = look.evidence(np.zeros((SIZE, SIZE), np.uint8), torch.zeros(32, 32))
    assert not found.any()


def test_several_slices_are_learnt_together() -> None:
    """An object that is brighter further up: slices of both kinds make both likely."""
    rng = np.random.default_rng(3)
    here = disc(60, 60, 20)
    dark, bright = frame(rng, a=here), frame(rng, a=here, b=here)
    one, both = Appearance(), Appearance()
    one.learn(dark, here)
    both.learn(dark, here)
    both.learn(bright, here)
    assert both.evidence(bright, near(here))[15, 15] > one.evidence(bright, near(here))[15, 15] + 1


@pytest.fixture(scope="module")
def stack() -> tuple[SliceStack, np.ndarray]:
    """A bright ball beside a grey one that touches it, in noise; and the ball's voxels."""
    rng = np.random.default_rng(4)
    z, y, x = np.indices((20, 96, 96))
    ball = (2 * (z - 10)) ** 2 + (y - 46) ** 2 + (x - 36) ** 2 < 17**2
    other = (2 * (z - 10)) ** 2 + (y - 48) ** 2 + (x - 70) ** 2 < 18**2
    image = rng.normal(60, 14, ball.shape)
    image[other] += 40
    image[ball] += 75
    volume = Volume(
        image.clip(0, 255).astype(np.uint8),
        Grid(ball.shape[::-1], np.diag([-1.0, -1.0, 2.0, 1.0])),
    )
    return SliceStack(volume, Plane.AXIAL, IntensityMapping(0, 255)), ball


@pytest.fixture(scope="module")
def models() -> dict[str, LoadedModel]:
    return {name: load_model(m.default_model, device="cpu") for name, m in METHODS.items()}


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.mark.parametrize("method", METHODS)
def test_propagation_is_no_worse_for_it_and_zero_leaves_it_out(
    method: str, models: dict[str, LoadedModel], stack: tuple[SliceStack, np.ndarray]
) -> None:
    slices, ball = stack
    prompts = Prompts.single(10, SlicePrompt(mask=ball[10]))
    found = {}
    for weight in (None, 0.0, 50.0):
        propagator = create_propagator(method, models[method], appearance=weight)
        found[weight] = collect(propagator.propagate(slices, prompts), slices.geometry)[1]
        np.testing.assert_array_equal(found[weight][10], ball[10])
    assert models[method].appearance > 0
    assert dice(found[None], ball) > 0.9
    assert dice(found[None], ball) > dice(found[0.0], ball) - 0.01
    assert not np.array_equal(found[None], found[0.0])
    assert not np.array_equal(found[50.0], found[0.0])


@pytest.mark.parametrize("method", METHODS)
def test_objects_of_one_batch_keep_their_own_appearance(
    method: str, models: dict[str, LoadedModel], stack: tuple[SliceStack, np.ndarray]
) -> None:
    slices, ball = stack
    other = slices.volume.array.astype(float)[10] > 0
    other[:] = np.hypot(*np.ogrid[-48:48, -70:26]) < 17
    alone = [
        collect(
            create_propagator(method, models[method], field_of_view="slice").propagate(
                slices, Prompts.single(10, SlicePrompt(mask=mask))
            ),
            slices.geometry,
        )[1]
        for mask in (ball[10], other)
    ]
    prompts = Prompts.single(10, SlicePrompt(mask=ball[10])).add(2, 10, SlicePrompt(mask=other))
    both = collect(
        create_propagator(method, models[method], field_of_view="slice").propagate(slices, prompts),
        slices.geometry,
    )
    for number, expected in enumerate(alone, start=1):
        assert dice(both[number], expected) > 0.99


def test_a_negative_weight_is_refused(models: dict[str, LoadedModel]) -> None:
    with pytest.raises(UserError, match="0 or more"):
        create_propagator("sam2", models["sam2"], appearance=-1.0)
