"""The demo phantom: well formed, deterministic, lifelike enough to be no copy task."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, label

from SAM2Medical3DLib.phantom import Phantom, abdomen_phantom


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return abdomen_phantom()


def mask_of(phantom: Phantom, name: str) -> np.ndarray:
    return phantom.labels == {n: i for i, n in phantom.names.items()}[name]


def test_form(phantom: Phantom) -> None:
    image, labels, spacing, names = phantom
    assert image.shape == labels.shape == (80, 192, 240)
    assert image.dtype == np.int16
    assert labels.dtype == np.uint8
    assert spacing == (1.5, 1.5, 3.0)
    assert set(np.unique(labels)) == {0, *names}


def test_it_is_always_the_same(phantom: Phantom) -> None:
    again = abdomen_phantom()
    assert np.array_equal(again.image, phantom.image)
    assert np.array_equal(again.labels, phantom.labels)


@pytest.mark.parametrize(
    ("name", "millilitres", "hounsfield"),
    [
        ("liver", (900, 1900), (90, 125)),
        ("spleen", (90, 300), (95, 135)),
        ("right kidney", (100, 220), (120, 200)),
        ("left kidney", (100, 220), (120, 200)),
        ("aorta", (40, 120), (170, 230)),
        ("stomach", (200, 600), (-400, 100)),
        ("lesion", (8, 40), (30, 80)),
        ("vertebrae", (250, 600), (150, 350)),
    ],
)
def test_organs_have_human_volume_and_density(
    phantom: Phantom,
    name: str,
    millilitres: tuple[float, float],
    hounsfield: tuple[float, float],
) -> None:
    mask = mask_of(phantom, name)
    assert millilitres[0] < mask.sum() * np.prod(phantom.spacing) / 1000 < millilitres[1]
    inside = binary_erosion(mask)
    assert hounsfield[0] < phantom.image[inside].mean() < hounsfield[1]


@pytest.mark.parametrize("name", ["liver", "spleen", "right kidney", "left kidney", "lesion"])
def test_organs_are_in_one_piece(phantom: Phantom, name: str) -> None:
    pieces, count = label(mask_of(phantom, name))
    sizes = np.bincount(pieces.ravel())[1:]
    assert count >= 1
    assert sizes.max() > 0.99 * sizes.sum()


@pytest.mark.parametrize("name", ["liver", "spleen", "right kidney", "left kidney", "stomach"])
def test_repeating_the_central_slice_does_not_segment_it(phantom: Phantom, name: str) -> None:
    mask = mask_of(phantom, name)
    rows = np.nonzero(mask.any(axis=(1, 2)))[0]
    copy = np.zeros_like(mask)
    copy[rows[0] : rows[-1] + 1] = mask[(rows[0] + rows[-1]) // 2]
    dice = 2 * (copy & mask).sum() / (copy.sum() + mask.sum())
    assert 0.3 < dice < 0.8


def test_orientation_is_lps(phantom: Phantom) -> None:
    def middle(name: str) -> np.ndarray:
        return np.argwhere(mask_of(phantom, name)).mean(axis=0)

    assert middle("liver")[2] < middle("spleen")[2]
    assert middle("right kidney")[2] < middle("aorta")[2] < middle("left kidney")[2]
    assert middle("vertebrae")[1] > middle("aorta")[1] > middle("stomach")[1]
    assert middle("liver")[0] > middle("right kidney")[0]


def test_noise_is_that_of_a_scan(phantom: Phantom) -> None:
    slices = phantom.image.astype(float)
    deep = binary_erosion(mask_of(phantom, "liver"), iterations=3)
    pairs = deep & np.roll(deep, 1, axis=0)
    difference = (slices - np.roll(slices, 1, axis=0))[pairs] / np.sqrt(2)
    assert 8 < difference.std() < 18
    assert slices[:, :10, :10].mean() < -950


def test_it_needs_no_torch() -> None:
    code = "import SAM2Medical3DLib.phantom, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, env=None).returncode == 0
