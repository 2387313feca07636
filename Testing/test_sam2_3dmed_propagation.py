"""SAM2-3dMed as a propagator and on the command line: refinement, boundaries, the user's own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from SAM2Medical3DLib.cli.main import main
from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.files import read_volume
from SAM2Medical3DLib.files.images import image_on
from SAM2Medical3DLib.models.architecture import Architecture, build
from SAM2Medical3DLib.models.boundary_network import BoundaryNetwork
from SAM2Medical3DLib.models.checkpoint import read_weights, save_weights
from SAM2Medical3DLib.models.registry import LoadedModel, load_model
from SAM2Medical3DLib.prompts import Point, Prompts, SlicePrompt
from SAM2Medical3DLib.propagation import collect
from SAM2Medical3DLib.propagation.registry import METHODS, create_propagator
from SAM2Medical3DLib.volume import SliceStack, Volume

METHOD = "sam2-3dmed"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A very small network whose branch changes masks, with random weights."""
    architecture = Architecture(
        image_size=64, embed_dim=8, stages=(1, 1, 2, 1), global_blocks=(3,), model_dim=32,
        memory_dim=16, memory_layers=1, feedforward_dim=32, boundary_dim=8,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build(architecture)
        torch.nn.init.normal_(network.boundary.change[-1].weight, std=0.3)
    torch.nn.init.constant_(network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 4.0)
    path = tmp_path_factory.mktemp("model") / "boundaries.safetensors"
    save_weights(network, path, {"architecture": architecture.to_json()})
    return path


@pytest.fixture(scope="module")
def model(weights: Path) -> LoadedModel:
    return load_model(str(weights), device="cpu")


@pytest.fixture(scope="module")
def stack(tiny_volume: Volume) -> SliceStack:
    return SliceStack(tiny_volume)


@pytest.fixture(scope="module")
def prompts(stack: SliceStack, tiny_labels: np.ndarray) -> Prompts:
    """One object drawn on slice 7, another clicked there."""
    drawn = stack.geometry.to_stack(tiny_labels)[7] == 1
    row, col = np.argwhere(stack.geometry.to_stack(tiny_labels)[7] == 2).mean(0)
    click = SlicePrompt((Point(float(row), float(col)),))
    return Prompts({1: {7: SlicePrompt(mask=drawn)}, 2: {7: click}})


def test_refinement_can_be_switched_off_without_touching_the_model(
    model: LoadedModel, stack: SliceStack, prompts: Prompts
) -> None:
    def run(method: str = METHOD, **options: object) -> dict[int, np.ndarray]:
        propagator = create_propagator(method, model, **options)
        return collect(propagator.propagate(stack, prompts), stack.geometry)

    refined, coarse, again = run(), run(boundary_refinement=False), run()
    drawn = prompts.by_object[1][7].mask
    for found in (refined, coarse):
        np.testing.assert_array_equal(found[1][7], drawn)  # what the user drew stays
    assert any((refined[n] != coarse[n]).any() for n in (1, 2))
    assert all((refined[n] == again[n]).all() for n in (1, 2))
    # Without refinement it is SAM 2's propagation with the same weights.
    network = build(Architecture.from_json(model.metadata["architecture"]))
    plain = build(replace(Architecture.from_json(model.metadata["architecture"]), boundary_dim=0))
    state = model.network.state_dict()
    assert state.keys() == network.state_dict().keys()
    plain.load_state_dict({n: v for n, v in state.items() if not n.startswith("boundary.")})
    sam2 = create_propagator("sam2", replace(model, network=plain))
    expected = collect(sam2.propagate(stack, prompts), stack.geometry)
    assert all((coarse[n] == expected[n]).all() for n in (1, 2))


def test_a_model_without_the_branch_gives_what_sam2_gives(
    tiny_model: Path, stack: SliceStack, prompts: Prompts
) -> None:
    plain = load_model(str(tiny_model), device="cpu")
    found = [
        collect(create_propagator(m, plain).propagate(stack, prompts), stack.geometry)
        for m in ("sam2", METHOD)
    ]
    assert all((found[0][n] == found[1][n]).all() for n in (1, 2))
    with pytest.raises(UserError, match="detects no boundaries"):
        create_propagator(METHOD, plain, boundary_maps=True)


def test_boundaries_come_with_every_slice(
    model: LoadedModel, stack: SliceStack, prompts: Prompts
) -> None:
    propagator = create_propagator(METHOD, model, boundary_maps=True)
    results = {r.index: r.objects for r in propagator.propagate(stack, prompts)}
    assert sorted(results) == list(range(len(stack)))
    drawn = prompts.by_object[1][7].mask
    for objects in results.values():
        for found in objects.values():
            if found.boundary is not None:  # an object that ended was not looked at
                assert found.boundary.shape == drawn.shape
                assert found.boundary.min() >= 0
                assert found.boundary.max() <= 1
    own = results[7][1].boundary
    edge = drawn & ~np.pad(drawn, 1)[2:, 1:-1]
    assert own[edge].mean() > 0.8 > 0.1 > own[~drawn].min()
    shown = propagator.predict_slice(stack, prompts, 7).objects[2]
    assert shown.boundary is not None
    plain = create_propagator(METHOD, model)
    assert plain.predict_slice(stack, prompts, 7).objects[2].boundary is None


def test_the_command_line_shows_boundaries_and_leaves_them_out(
    weights: Path, tiny_volume: Volume, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    volume = tmp_path / "volume.nrrd"
    sitk.WriteImage(image_on(tiny_volume.array, tiny_volume.grid), str(volume))
    common = ["segment", str(volume), "--point", "12,14,6", "--out", str(tmp_path / "o.nrrd")]
    ours = [*common, "--method", METHOD, "--model", str(weights)]
    image = tmp_path / "boundary.nii.gz"
    assert main([*ours, "--boundary", str(image)]) == 0, capsys.readouterr().err
    assert f"wrote {image}" in capsys.readouterr().out
    shown = read_volume(image)
    assert shown.array.shape == tiny_volume.array.shape
    np.testing.assert_allclose(shown.grid.ijk_to_ras, tiny_volume.grid.ijk_to_ras, atol=1e-4)
    assert 0 < shown.array.max() <= 100
    refined = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "o.nrrd")))
    assert main([*ours, "--no-boundary-refinement"]) == 0
    coarse = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "o.nrrd")))
    assert (refined != coarse).any()
    capsys.readouterr()
    assert main([*common, "--no-boundary-refinement", "--model", str(weights)]) == 2
    assert "--method sam2-3dmed" in capsys.readouterr().err
    assert main([*ours, "--boundary", str(tmp_path / "boundary.png")]) == 2
    assert "suffix" in capsys.readouterr().err


def test_the_method_is_named_with_its_paper() -> None:
    assert "Yang, Xu, Tian 2025" in METHODS[METHOD].source


def test_the_bundled_model_has_the_branch_and_nothing_of_training() -> None:
    bundled = load_model("bundled-3dmed", device="cpu")
    assert isinstance(bundled.network, BoundaryNetwork)
    assert bundled.metadata["method"] == METHOD
    weights, _ = read_weights(bundled.info.path)
    assert not [name for name in weights if "srpp" in name]
    # It does refine: the last layer began at zero.
    assert weights["boundary.change.3.weight"].abs().max() > 0


def test_the_method_has_a_model_of_its_own(
    tiny_volume: Volume, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert METHODS[METHOD].choose_model("my.safetensors") == "my.safetensors"
    assert METHODS[METHOD].choose_model(None) == "bundled-3dmed"
    volume, out = tmp_path / "volume.nrrd", tmp_path / "o.nrrd"
    sitk.WriteImage(image_on(tiny_volume.array, tiny_volume.grid), str(volume))
    command = ["segment", str(volume), "--box", "6,8,6,18,20,6", "--method", METHOD]
    report = tmp_path / "report.json"
    assert main([*command, "--out", str(out), "--report", str(report)]) == 0, capsys.readouterr()
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(out))).any()
    assert json.loads(report.read_text())["model"]["name"] == "bundled-3dmed"
