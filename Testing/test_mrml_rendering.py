"""Pictures by Slicer's own views: the segments' colours are where they should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mrml_scenes import ijk_to_ras
from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.geometry import Grid
from SAM2Medical3DLib.mrml import offscreen
from SAM2Medical3DLib.mrml.rendering import render_segmentation, render_slices
from SAM2Medical3DLib.volume import Volume

RED, BLUE = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9)
NAMES, COLOURS = {1: "organ", 2: "lesion"}, {1: RED, 2: BLUE}


@pytest.fixture(scope="module")
def case() -> tuple[Volume, np.ndarray]:
    """A grey ball (label 1) in the patient's right half and a box (label 2) in the left one."""
    try:
        offscreen.check_opengl()
    except UserError as error:
        pytest.skip(str(error))
    k, j, i = np.mgrid[:16, :40, :40]
    labels = ((k - 8) ** 2 * 4 + (j - 20) ** 2 + (i - 10) ** 2 < 64).astype(np.uint8)
    labels[6:11, 16:25, 26:35] = 2
    array = (100 + 50 * (labels > 0)).astype(np.int16)
    array[:, :2] = 0
    # I runs to the patient's left, J to the back, K up: an ordinary axial CT.
    grid = Grid((40, 40, 16), ijk_to_ras(signs=(-1, -1, 1), spacing=(2, 2, 4)))
    return Volume(array, grid, "phantom", (0, 200)), labels


def share(picture: np.ndarray, colour: tuple[float, float, float]) -> float:
    """Part of the pixels with the hue of a colour, whatever the light does to its brightness."""
    pixels = picture.reshape(-1, 3).astype(float)
    norms = np.linalg.norm(pixels, axis=1) * np.linalg.norm(colour)
    likeness = pixels @ np.array(colour) / np.maximum(norms, 1e-9)
    return float(((likeness > 0.97) & (pixels.max(axis=1) > 40)).mean())


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.parametrize("background", ["white", "black"])
def test_surfaces_show_in_their_colours(
    tmp_path: Path, case: tuple[Volume, np.ndarray], background: str
) -> None:
    volume, labels = case
    path = tmp_path / "3d.png"
    look = {"size": (450, 350), "background": background}
    assert render_segmentation(volume, labels, NAMES, COLOURS, path, **look) == path
    picture = read(path)
    assert picture.shape == (350, 450, 3)
    view = picture[65:]  # below the names
    assert share(view, RED) > 0.05
    assert share(view, BLUE) > 0.03
    assert tuple(picture[5, 440]) == ((255, 255, 255) if background == "white" else (0, 0, 0))
    # From in front the patient's right is on the left.
    red, blue = (np.array([share(view[:, :225], c), share(view[:, 225:], c)]) for c in (RED, BLUE))
    assert red[0] > 4 * red[1]
    assert blue[1] > 4 * blue[0]


def test_surfaces_without_the_slice(tmp_path: Path, case: tuple[Volume, np.ndarray]) -> None:
    volume, labels = case
    only = (labels == 1).astype(np.uint8)
    small = render_segmentation(
        volume, only, {}, {1: RED}, tmp_path / "a.png", size=(300, 200), with_slice=False
    )
    picture = read(small)
    assert picture.shape == (200, 300, 3)
    assert share(picture, RED) > 0.05
    corner = picture[150:, :20]
    assert (corner == 255).all()


def test_slice_views_show_the_overlay(tmp_path: Path, case: tuple[Volume, np.ndarray]) -> None:
    volume, labels = case
    path = tmp_path / "2d.png"
    picture = read(render_slices(volume, labels, NAMES, COLOURS, path, size=(240, 240)))
    assert picture.shape == (240, 720, 3)
    axial, coronal = picture[:, :240], picture[:, 240:480]
    for view in (axial, coronal):
        assert share(view[:, :120], RED) > 0.02
        assert share(view[:, 120:], RED) == 0
        assert share(view[:, 120:], BLUE) > 0.02
        assert share(view[:, :120], BLUE) == 0
    grey = (np.ptp(axial.astype(int), axis=2) == 0) & (axial[..., 0] > 100)
    assert grey.mean() > 0.2


def test_mistakes_have_a_sentence(
    tmp_path: Path, case: tuple[Volume, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, labels = case
    path = tmp_path / "3d.png"
    with pytest.raises(UserError, match="Nothing is segmented"):
        render_segmentation(volume, np.zeros_like(labels), {}, {}, path)
    with pytest.raises(UserError, match="labels have"):
        render_segmentation(volume, labels[1:], {}, {}, path)
    with pytest.raises(UserError, match="no folder"):
        render_segmentation(volume, labels, {}, {}, tmp_path / "nowhere" / "3d.png")

    class NoDisplay:
        def GetClassName(self) -> str:
            return "vtkOSOpenGLRenderWindow"

    monkeypatch.setattr(offscreen, "vtkRenderWindow", NoDisplay)
    monkeypatch.setattr(offscreen, "_OSMESA", ("libNoSuchThing.so",))
    with pytest.raises(UserError, match="libegl1 and libgl1-mesa-dri"):
        render_segmentation(volume, labels, {}, {}, path)
    assert not path.exists()
