"""A SAM 2 network taken out of SAM2-3dMed weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from SAM2Medical3DLib.geometry import Grid, Plane
from SAM2Medical3DLib.models.registry import bundled_file, load_model
from SAM2Medical3DLib.prompts import Prompts, SlicePrompt
from SAM2Medical3DLib.propagation import collect
from SAM2Medical3DLib.propagation.registry import create_propagator
from SAM2Medical3DLib.training.without_boundary import main
from SAM2Medical3DLib.volume import IntensityMapping, SliceStack, Volume

WEIGHTS = bundled_file("sam2medical3d-3dmed.safetensors")


def test_it_segments_as_the_branch_left_out_does(tmp_path: Path) -> None:
    target = tmp_path / "sam2.safetensors"
    assert main([str(WEIGHTS), str(target)]) == 0
    z, y, x = np.indices((9, 64, 64))
    ball = (3 * (z - 4)) ** 2 + (y - 30) ** 2 + (x - 34) ** 2 < 15**2
    image = np.random.default_rng(0).normal(70, 10, ball.shape) + 60 * ball
    grid = Grid(ball.shape[::-1], np.diag([-1.0, -1.0, 3.0, 1.0]))
    volume = Volume(image.clip(0, 255).astype(np.uint8), grid)
    stack = SliceStack(volume, Plane.AXIAL, IntensityMapping(0, 255))
    prompts = Prompts.single(4, SlicePrompt(mask=ball[4]))
    own = create_propagator("sam2", load_model(str(target), device="cpu"))
    other = create_propagator(
        "sam2-3dmed", load_model(str(WEIGHTS), device="cpu"), boundary_refinement=False
    )
    masks = [collect(p.propagate(stack, prompts), stack.geometry)[1] for p in (own, other)]
    np.testing.assert_array_equal(*masks)
    assert masks[0].sum() > 0.5 * ball.sum()


def test_other_weights_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(bundled_file("sam2medical3d-small.safetensors")), str(tmp_path / "x")]) == 2
    assert "no boundary branch" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
