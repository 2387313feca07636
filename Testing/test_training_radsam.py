"""RadSAM's training: the noise family, the rounds on one slice, the ablation, labelled cases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from disc_clips import disc_clips
from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.models.architecture import Architecture, build
from SAM2Medical3DLib.models.dense_prompts import LIMIT
from SAM2Medical3DLib.models.registry import load_model
from SAM2Medical3DLib.training import slice_forward
from SAM2Medical3DLib.training.__main__ import main
from SAM2Medical3DLib.training.losses import prediction_losses
from SAM2Medical3DLib.training.methods import METHODS
from SAM2Medical3DLib.training.noisy_masks import NOISE, Noise, as_prompt, dice, noisy_masks
from SAM2Medical3DLib.training.prediction import Plan
from SAM2Medical3DLib.training.recipe import Initial, Optimiser, Recipe, Stage, Validation
from SAM2Medical3DLib.training.slice_forward import SliceForward, _slices_with_neighbours
from SAM2Medical3DLib.training.sources import CaseSources, SyntheticSources
from SAM2Medical3DLib.training.trainer import Trainer

TINY = Architecture(image_size=64, embed_dim=16, model_dim=32, memory=False)
RECIPE = Recipe(
    seed=5,
    output="tiny",
    architecture=TINY,
    optimiser=Optimiser(learning_rate=2e-3, warmup_steps=2, ema_decay=0.5),
    stages=(Stage("slices", 5, 64, 3, 2, {"noisy-mask": 0.6, "box": 0.2, "click": 0.2}, 0.5, 2),),
    method="radsam",
)


# --- the noise family


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(4, 24), st.integers(-10, 10))
def test_a_noisy_mask_keeps_the_stated_dice(seed: int, radius: float, offset: int) -> None:
    masks = _discs(radius, offset)
    noisy = noisy_masks(masks, torch.Generator().manual_seed(seed))
    assert noisy.shape == masks.shape
    assert set(noisy.unique().tolist()) <= {0.0, 1.0}
    found = dice(noisy, masks)
    assert (found >= NOISE.least_dice).all()
    assert (found <= 1).all()


def test_every_member_of_the_family_changes_masks() -> None:
    masks = _discs(14, 0).repeat(16, 1, 1, 1)
    nothing = Noise(0, 0, 0, 0, 0, 0, exact=0)
    generator = torch.Generator().manual_seed(1)
    assert torch.equal(noisy_masks(masks, generator, nothing), masks)
    for member in ("shift", "scale", "morphology", "elastic"):
        noise = replace(nothing, **{member: getattr(NOISE, member)})
        found = dice(noisy_masks(masks, generator, noise), masks)
        assert found.min() < 0.97, member
        assert found.mean() > 0.8, member
    lost = noisy_masks(masks, generator, replace(nothing, lost=1.0))
    assert (lost <= masks).all()
    assert (lost < masks).any()
    spurious = noisy_masks(masks, generator, replace(nothing, spurious=1.0))
    assert (spurious >= masks).all()
    assert (spurious > masks).any()


def test_the_noise_spans_its_range_and_follows_its_seed() -> None:
    masks = _discs(14, 0).repeat(64, 1, 1, 1)
    noisy = noisy_masks(masks, torch.Generator().manual_seed(2))
    found = dice(noisy, masks)
    assert (found == 1).float().mean() > 0.02  # some are left exact
    assert found.quantile(0.1) < 0.8
    assert 0.8 < found.median() < 0.98
    assert torch.equal(noisy, noisy_masks(masks, torch.Generator().manual_seed(2)))
    empty = torch.zeros(3, 1, 64, 64)
    assert not noisy_masks(empty, torch.Generator().manual_seed(0)).any()


def test_a_mask_as_prompt_keeps_its_shape() -> None:
    masks = _discs(14, 0)
    for generator in (None, torch.Generator().manual_seed(0)):
        prompt = as_prompt(masks, generator)
        assert prompt.shape == (len(masks), 1, 16, 16)
        assert prompt.abs().max() <= 10
        coarse = torch.nn.functional.avg_pool2d(masks, 4)
        assert prompt[0, 0, 8, 8] > 1  # the middle of a disc
        assert prompt[1, 0, 8, 8] < -1  # the middle of a hole
        if generator is None:
            assert prompt[coarse == 1].min() == 10
            assert prompt[coarse == 0].max() == -10


def test_targets_have_a_neighbour_that_shows_the_object() -> None:
    masks = torch.zeros(50, 4, 64, 64)
    masks[:, 0, 20:40, 20:40] = 1
    masks[25:, 1, 20:40, 20:40] = 1
    slices, neighbours = _slices_with_neighbours(masks, torch.Generator().manual_seed(0))
    rows = torch.arange(50)
    assert masks[rows, neighbours].flatten(1).any(1).all()
    assert ((slices - neighbours).abs() <= 2).all()
    assert (slices != neighbours).all()
    assert (masks[rows, slices].flatten(1).sum(1) == 0).any()  # beyond the end is a target too


# --- the network and its pass


def test_the_network_is_sam2_without_memory(tmp_path: Path) -> None:
    whole = build(replace(TINY, memory=True))
    network = build(TINY)
    weights = whole.state_dict()
    network.load_state_dict({name: weights[name] for name in network.state_dict()})
    assert not [n for n, _ in network.named_parameters() if "memory" in n or "maskmem" in n]
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    points = {
        "point_coords": torch.tensor([[[20.0, 30.0]], [[5.0, 6.0]]]),
        "point_labels": torch.ones(2, 1, dtype=torch.int32),
    }
    dense = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    found = []
    for net in (whole, network):
        with torch.inference_mode():
            features = net._prepare_backbone_features(net.forward_image(images))[1:]
            found.append(net._track_step(0, True, *features, points, None, {}, 1, False, dense)[1])
    for a, b in zip(found[0][:5], found[1][:5], strict=True):
        assert torch.equal(a, b)
    assert torch.equal(found[0][6], found[1][6])


def test_official_configurations_make_2d_networks_too() -> None:
    architecture = Architecture(config="sam2.1_hiera_t", image_size=128, memory=False)
    network = build(architecture)
    assert network.image_size == 128
    assert Architecture.from_json(architecture.to_json()) == architecture
    with pytest.raises(UserError, match="Unknown configuration"):
        build(Architecture(config="sam9"))


def test_the_loss_falls_on_a_tiny_set() -> None:
    torch.manual_seed(0)
    frames, masks = disc_clips()
    module = SliceForward(build(TINY).train(), TINY)
    head = module.network.sam_mask_decoder.pred_obj_score_head
    torch.nn.init.constant_(head.layers[-1].bias, 3)
    optimiser = torch.optim.AdamW(module.parameters(), lr=2e-3)
    weights = METHODS["radsam"].losses
    history = []
    for step in range(40):
        generator = torch.Generator().manual_seed(step)
        predictions, extra = module(frames, masks, Plan("noisy-mask", step % 3), generator)
        assert not extra
        losses = prediction_losses(predictions, weights)
        optimiser.zero_grad()
        losses["total"].backward()
        optimiser.step()
        history.append({k: float(v.detach()) for k, v in losses.items()})
    mean = {k: np.mean([h[k] for h in history[-5:]]) / np.mean([h[k] for h in history[:5]])
            for k in ("focal", "dice", "total")}  # fmt: skip
    assert max(mean.values()) < 0.75, mean


@pytest.mark.parametrize("first", METHODS["radsam"].prompts)
def test_rounds_are_supervised_and_reach_every_part(first: str) -> None:
    torch.manual_seed(0)
    frames, masks = disc_clips()
    network = build(TINY).train()
    torch.nn.init.constant_(network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 3)
    predictions, _ = SliceForward(network, TINY)(
        frames, masks, Plan(first, 2), torch.Generator().manual_seed(1)
    )
    assert len(predictions) == 3
    assert sum(p.weight for p in predictions) == pytest.approx(1)
    prediction_losses(predictions, METHODS["radsam"].losses)["total"].backward()
    for part in ("image_encoder", "sam_prompt_encoder", "sam_mask_decoder"):
        gradients = [p.grad for p in getattr(network, part).parameters() if p.grad is not None]
        assert any(g.abs().sum() > 0 for g in gradients), part


def test_a_network_with_several_masks_learns_the_one_that_propagation_reads() -> None:
    torch.manual_seed(0)
    official = Architecture(64, "sam2.1_hiera_t", memory=False, dense_prompts=False)
    network = build(official).train()
    torch.nn.init.constant_(network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 3)
    frames, masks = disc_clips()
    predictions, _ = SliceForward(network, official)(
        frames, masks, Plan("noisy-mask", 0), torch.Generator().manual_seed(1)
    )
    prediction_losses(predictions, METHODS["radsam"].losses)["total"].backward()
    heads = network.sam_mask_decoder.output_hypernetworks_mlps
    reached = [any(p.grad is not None and p.grad.any() for p in h.parameters()) for h in heads]
    assert reached == [True, False, False, False]


def test_the_models_own_prediction_is_a_noisy_mask_too(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = build(TINY).train()
    frames, masks = disc_clips()
    forward = SliceForward(network, TINY)
    monkeypatch.setattr(slice_forward, "_OWN_PREDICTION", 1.0)
    own = forward._noisy_prior(frames[:, 0], masks[:, :1], torch.Generator().manual_seed(1))
    monkeypatch.setattr(slice_forward, "_OWN_PREDICTION", 0.0)
    drawn = forward._noisy_prior(frames[:, 0], masks[:, :1], torch.Generator().manual_seed(1))
    assert network.training
    assert own.shape == drawn.shape == (len(frames), 1, 16, 16)
    assert not own.requires_grad
    assert own.abs().max() <= LIMIT
    network.eval()
    with torch.no_grad():
        points = forward._mask_only(frames)
        made = forward._decode(forward._encode(frames[:, 0]), points, drawn, masks[:, :1], 1.0)
    found = (made.logits > 0).flatten(1).any(1)
    for n, seen in enumerate(found):
        # Where the model finds nothing, there is nothing to go on from but the noisy mask.
        expected = made.logits[n].clamp(-LIMIT, LIMIT) if seen else drawn[n]
        torch.testing.assert_close(own[n], expected)


# --- runs


def _train(folder: Path, recipe: Recipe = RECIPE, until: int | None = None, **options) -> Trainer:
    settings = {"workers": 0, "precision": "no", "streams": 2} | options
    settings.setdefault("sources", SyntheticSources((40, 64, 64)))
    trainer = Trainer(recipe, folder, torch.device("cpu"), **settings)
    trainer.run(until)
    return trainer


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    whole = _train(tmp_path / "whole")
    for until in (2, 3, None):
        parts = _train(tmp_path / "parts", until=until)
    for a, b in zip(
        whole.average.module.parameters(), parts.average.module.parameters(), strict=True
    ):
        assert torch.equal(a, b)
    loaded = load_model(str(tmp_path / "parts" / "tiny.safetensors"), device="cpu")
    assert loaded.metadata["method"] == "radsam"
    assert not [n for n in loaded.network.state_dict() if "memory" in n]


def test_a_run_starts_from_a_model_with_memory(tmp_path: Path) -> None:
    stages = (replace(RECIPE.stages[0], image_size=64, steps=1),)
    recipe = replace(RECIPE, architecture=Architecture(), stages=stages, initial=Initial("bundled"),
                     optimiser=Optimiser(learning_rate=0.0, weight_decay=0.0))  # fmt: skip
    network = _train(tmp_path, recipe).average.module
    given = load_model("bundled", device="cpu").network.state_dict()
    for name, value in network.state_dict().items():
        assert torch.equal(value, given[name]), name


def test_the_ablation_never_shows_a_mask_first() -> None:
    without = RECIPE.without_noisy_masks()
    assert [set(stage.prompts) for stage in without.stages] == [{"box", "click"}]
    assert without.steps == RECIPE.steps


def test_training_on_labelled_cases(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "Task99_Balls"
    _msd_folder(folder, 6)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'seed = 1\nmethod = "radsam"\noutput = "balls"\n'
        "[architecture]\nimage_size = 64\nembed_dim = 16\nmodel_dim = 32\n"
        "[validation]\nevery = 2\nclips = 2\n"
        '[[stages]]\nname = "s"\nsteps = 2\nimage_size = 64\nlength = 2\nbatch = 2\n'
        "prompts = { noisy-mask = 1.0 }\n"
    )
    command = [str(recipe), "--out", str(tmp_path / "run"), "--data", str(folder), "--device",
               "cpu", "--workers", "0", "--precision", "no", "--labels", "ball"]  # fmt: skip
    assert main(command) == 0
    assert (tmp_path / "run" / "split.json").is_file()
    assert load_model(str(tmp_path / "run" / "balls.safetensors"), device="cpu")
    assert "validation dice noisy-mask" in capsys.readouterr().out


def test_a_bad_case_stops_the_run_or_is_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from SAM2Medical3DLib.datasets import open_dataset

    folder = tmp_path / "Task99_Balls"
    _msd_folder(folder, 3)
    bad = folder / "labelsTr" / "ball_001.nii.gz"
    _write(bad, np.zeros((5, 9, 9), np.uint8))
    dataset = open_dataset(folder)
    seed = np.random.SeedSequence(0)
    strict = CaseSources.of(dataset, dataset.cases)
    with pytest.raises(UserError, match="ball_001"):
        for number in range(3):
            strict(seed, number=number)
    told: list[str] = []
    lenient = replace(strict, skip_bad=True, report=told.append)
    for number in range(6):
        assert lenient(seed, number=number).targets == (1,)
    assert len(told) == 1  # once, however often its turn comes
    assert "ball_001" in told[0]
    with pytest.raises(UserError, match="split is empty"):
        CaseSources.of(dataset, [])
    capsys.readouterr()


def test_thick_slices_are_cut_as_they_are(tmp_path: Path) -> None:
    from SAM2Medical3DLib.datasets import open_dataset

    folder = tmp_path / "Task99_Balls"
    _msd_folder(folder, 1, spacing=(0.8, 0.8, 5.0))
    dataset = open_dataset(folder)
    source = CaseSources.of(dataset, dataset.cases)(np.random.SeedSequence(0))
    assert source.axes == (1.0, 0.0, 0.0)  # the other planes have pixels of 0.8 x 5 mm
    assert source.slabs == (1.0,)
    assert source.image.shape == source.labels.shape == (24, 48, 48)
    assert 0 <= source.image.min() < source.image.max() <= 1


def test_two_processes_train_together(tmp_path: Path) -> None:
    import subprocess
    import sys

    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'seed = 1\nmethod = "radsam"\noutput = "two"\n'
        "[architecture]\nimage_size = 64\nembed_dim = 16\nmodel_dim = 32\n"
        '[[stages]]\nname = "s"\nsteps = 2\nimage_size = 64\nlength = 2\nbatch = 2\n'
        "prompts = { noisy-mask = 0.5, box = 0.5 }\n"
    )
    folder = tmp_path / "Task99_Balls"
    _msd_folder(folder, 6)
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2",
               "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
               "-m", "SAM2Medical3DLib.training", str(recipe), "--out", str(tmp_path / "run"),
               "--data", str(folder), "--device", "cpu", "--workers", "0", "--precision", "no",
               "--threads", "1"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert load_model(str(tmp_path / "run" / "two.safetensors"), device="cpu")


def test_a_validation_split_is_needed_only_for_validation(tmp_path: Path) -> None:
    recipe = replace(RECIPE, validation=Validation(every=2, clips=2))
    trainer = _train(tmp_path, recipe)
    assert trainer.best_dice >= 0
    assert not trainer.stopped_early


def _discs(radius: float, offset: int) -> torch.Tensor:
    """(2, 1, 64, 64) discs, the second with a hole."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    distance = torch.hypot(y - 32 - offset / 2, x - 32 - offset)
    disc = (distance < radius).float()
    return torch.stack([disc, disc * (distance > radius / 3)])[:, None]


def _msd_folder(folder: Path, cases: int, spacing: tuple = (1.0, 1.0, 1.0)) -> None:
    """Balls in noise, in the layout of the Medical Segmentation Decathlon."""
    import json

    rng = np.random.default_rng(0)
    z, y, x = np.mgrid[:24, :48, :48]
    for n in range(cases):
        label = (np.sqrt((z - 12) ** 2 + (y - 24 - n) ** 2 + (x - 24) ** 2) < 9).astype(np.uint8)
        image = (100 * label + rng.normal(0, 20, label.shape)).astype(np.int16)
        _write(folder / "imagesTr" / f"ball_{n:03}.nii.gz", image, spacing)
        _write(folder / "labelsTr" / f"ball_{n:03}.nii.gz", label, spacing)
    description = {
        "name": "Balls",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "ball"},
        "training": [
            {"image": f"./imagesTr/ball_{n:03}.nii.gz", "label": f"./labelsTr/ball_{n:03}.nii.gz"}
            for n in range(cases)
        ],
        "test": [],
        "numTraining": cases,
    }
    (folder / "dataset.json").write_text(json.dumps(description))


def _write(path: Path, array: np.ndarray, spacing: tuple = (1.0, 1.0, 1.0)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))
