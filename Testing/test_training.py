"""Training: what clips teach, that it learns, and that an interruption changes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from disc_clips import disc_clips
from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.models.architecture import Architecture, build
from SAM2Medical3DLib.models.dense_prompts import render_prompts
from SAM2Medical3DLib.models.registry import load_model
from SAM2Medical3DLib.training import trainer as trainer_module
from SAM2Medical3DLib.training.clip_forward import ClipForward
from SAM2Medical3DLib.training.clips import ClipSampler, ClipStream
from SAM2Medical3DLib.training.losses import prediction_losses
from SAM2Medical3DLib.training.prediction import Plan, Prediction
from SAM2Medical3DLib.training.recipe import Initial, Optimiser, Recipe, Stage, Validation
from SAM2Medical3DLib.training.simulated_prompts import (
    sample_box,
    sample_clicks,
    sample_correction,
)
from SAM2Medical3DLib.training.sources import SyntheticSources
from SAM2Medical3DLib.training.trainer import Trainer, draw_plan

TINY = Architecture(
    image_size=64, embed_dim=16, model_dim=32, memory_dim=16, memory_layers=1, feedforward_dim=32
)
RECIPE = Recipe(
    seed=5,
    output="tiny",
    architecture=TINY,
    optimiser=Optimiser(learning_rate=2e-3, warmup_steps=2, ema_decay=0.5),
    stages=(
        Stage("slices", 3, 64, 1, 2, {"noisy-mask": 0.5, "box": 0.5}, 0.5),
        Stage("clips", 3, 64, 3, 2, {"mask": 0.5, "click": 0.5}, 0.5),
    ),
)


SMALL = SyntheticSources((40, 64, 64))


def _train(folder: Path, until: int | None = None, recipe: Recipe = RECIPE, **options) -> Trainer:
    settings = {"workers": 0, "precision": "no", "streams": 2, "sources": SMALL} | options
    trainer = Trainer(recipe, folder, torch.device("cpu"), **settings)
    trainer.run(until)
    return trainer


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    whole = _train(tmp_path / "whole")
    for until in (2, 4, None):
        parts = _train(tmp_path / "parts", until)
    assert parts.step == whole.step == RECIPE.steps
    for a, b in zip(
        whole.average.module.parameters(), parts.average.module.parameters(), strict=True
    ):
        assert torch.equal(a, b)
    loaded = load_model(str(tmp_path / "parts" / "tiny.safetensors"), device="cpu")
    assert loaded.network.image_size == 64
    assert loaded.metadata["training_step"] == str(RECIPE.steps)


def test_the_loss_falls_on_a_tiny_set() -> None:
    torch.manual_seed(0)
    frames, masks = disc_clips()
    forward = ClipForward(build(TINY).train(), TINY)
    head = forward.network.sam_mask_decoder.pred_obj_score_head
    torch.nn.init.constant_(head.layers[-1].bias, 3)
    optimiser = torch.optim.AdamW(forward.parameters(), lr=2e-3)
    history = []
    for step in range(40):
        generator = torch.Generator().manual_seed(step)
        losses = prediction_losses(forward(frames, masks, Plan("mask"), generator)[0])
        optimiser.zero_grad()
        losses["total"].backward()
        optimiser.step()
        history.append({k: float(v.detach()) for k, v in losses.items()})
    for name in ("bce", "dice", "total"):
        assert history[-1][name] < 0.7 * history[0][name]


def test_every_part_of_the_network_learns_from_clips() -> None:
    torch.manual_seed(0)
    frames, masks = disc_clips()
    network = build(TINY).train()
    torch.nn.init.constant_(network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 3)
    predictions, _ = ClipForward(network, TINY)(
        frames, masks, Plan("box", 1), torch.Generator().manual_seed(1)
    )
    prediction_losses(predictions)["total"].backward()
    for part in ("image_encoder", "memory_attention", "memory_encoder", "sam_mask_decoder"):
        gradients = [p.grad for p in getattr(network, part).parameters() if p.grad is not None]
        assert any(g.abs().sum() > 0 for g in gradients), part


def test_a_perfect_and_an_empty_prediction() -> None:
    masks = torch.zeros(1, 1, 64, 64)
    masks[..., 16:48, 16:48] = 1
    weights = {"focal": 20.0, "bce": 1.0, "dice": 1.0, "iou": 1.0, "score": 0.1}
    perfect = F.interpolate(masks, (16, 16)) * 40 - 20
    one = torch.ones(1)
    good = prediction_losses([Prediction(masks, perfect, one, one * 9)], weights)
    nothing = torch.full_like(perfect, -1024)
    bad = prediction_losses([Prediction(masks, nothing, one * 0, -one * 9)], weights)
    assert good["focal"] < 0.01 < bad["focal"]
    assert good["dice"] < 0.1 < 0.95 < bad["dice"]
    assert good["iou"] < 0.02
    assert bad["iou"] < 1e-6  # it says that its IoU is 0, which is right
    assert torch.isfinite(bad["total"])


def test_simulated_prompts_are_where_they_should_be() -> None:
    _, masks = disc_clips()
    generator = torch.Generator().manual_seed(0)
    target = masks[:, :1]
    for _ in range(20):
        click = sample_clicks(target > 0.5, generator)
        for n, (x, y) in enumerate(click["point_coords"][:, 0].long().tolist()):
            assert target[n, 0, y, x] == 1
        box = sample_box(target[:, 0] > 0.5, generator)["point_coords"]
        assert (box[:, 1] > box[:, 0]).all()
        empty = torch.full((len(masks), 1, 16, 16), -9.0)
        correction = sample_correction(empty, target, 64, generator)
        assert (correction["point_labels"] == 1).all()
        full = torch.full((len(masks), 1, 16, 16), 9.0)
        correction = sample_correction(full, target, 64, generator)
        assert (correction["point_labels"] == 0).all()
        for n, (x, y) in enumerate(correction["point_coords"][:, 0].long().tolist()):
            assert target[n, 0, y, x] == 0


def test_no_click_is_given_where_there_is_no_error() -> None:
    _, masks = disc_clips()
    target = masks[:, :1]
    exact = F.interpolate(target, scale_factor=1.0) * 18 - 9
    correction = sample_correction(exact, target, 64, torch.Generator().manual_seed(0))
    assert (correction["point_labels"] == -1).all()


def test_rendered_prompts() -> None:
    coords = torch.tensor([[[16.0, 8.0], [48.0, 40.0], [21.5, 21.5]]])
    labels = torch.tensor([[2, 3, 1]])
    dense = render_prompts(coords, labels, 64)[0, 0]
    assert dense.shape == (16, 16)
    assert dense[5, 5] > 5  # the click, x = y = 21.5
    assert dense[3, 10] == 2  # inside the box
    assert dense[12, 2] == -10  # outside
    prior = torch.full((1, 1, 16, 16), 4.0)
    corrected = render_prompts(coords[:, 2:], torch.tensor([[0]]), 64, prior)[0, 0]
    assert corrected[5, 5] < -3
    assert corrected[15, 15] == pytest.approx(4, abs=1e-3)


def test_recipes_are_read_and_checked(tmp_path: Path) -> None:
    packaged = Path(trainer_module.__file__).with_name("recipes") / "bundled.toml"
    recipe = Recipe.read(packaged)
    assert recipe.architecture == replace(Architecture(), image_size=recipe.stages[-1].image_size)
    assert recipe.stage_at(recipe.steps - 1)[0] is recipe.stages[-1]
    (tmp_path / "bad.toml").write_text("seed = 1")
    with pytest.raises(UserError, match="cannot be used"):
        Recipe.read(tmp_path / "bad.toml")
    with pytest.raises(UserError, match="unknown prompts"):
        replace(RECIPE, stages=(Stage("s", 1, 64, 2, 1, {"scribble": 1.0}),))
    with pytest.raises(UserError, match="unknown prompts.*radsam"):
        replace(RECIPE, method="radsam")  # a mask given to RadSAM is the output
    with pytest.raises(UserError, match="Unknown losses"):
        replace(RECIPE, losses={"hinge": 1.0})
    with pytest.raises(UserError, match="Unknown method"):
        replace(RECIPE, method="sam3")


def test_the_log_can_be_read_by_people_and_by_tensorboard(tmp_path: Path, monkeypatch) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr(trainer_module, "LOG_EVERY", 1)
    _train(tmp_path, 2)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert {"total", "bce", "dice", "iou", "score"} <= rows[0].keys()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [e.step for e in events.Scalars("total")] == [1, 2]
    assert events.Scalars("total")[0].value == pytest.approx(rows[0]["total"], abs=1e-4)


def test_clips_come_in_the_same_order_from_any_number_of_workers() -> None:
    def indices(workers: int, first: int = 0, every: int = 1) -> list[int]:
        sampler = ClipSampler(3, 1, 64, sources=SMALL, streams=4)
        loader = DataLoader(ClipStream(sampler, first, every), batch_size=None, num_workers=workers)
        return [int(item["index"]) for item, _ in zip(loader, range(6), strict=False)]

    assert indices(0) == indices(2) == [0, 1, 2, 3, 4, 5]
    assert indices(2, first=5, every=2) == [5, 7, 9, 11, 13, 15]


def test_training_ends_when_the_validation_dice_no_longer_rises(tmp_path: Path) -> None:
    stages = (Stage("slices", 40, 64, 1, 2, {"box": 1.0}),)
    recipe = replace(
        RECIPE,
        stages=stages,
        # Weights that do not change: the second validation cannot be better than the first.
        optimiser=Optimiser(learning_rate=0.0, weight_decay=0.0),
        validation=Validation(every=2, clips=4, patience=2),
    )
    trainer = _train(tmp_path, recipe=recipe)
    assert trainer.stopped_early
    assert (trainer.best_step, trainer.step) == (2, 6)
    assert (tmp_path / "tiny.safetensors").is_file()
    assert _train(tmp_path, recipe=recipe).step == 6  # and it stays so


def test_a_batch_in_parts_is_a_step_too(tmp_path: Path) -> None:
    whole = _train(tmp_path / "whole", 2)
    parts = _train(tmp_path / "parts", 2, accumulate=2)
    assert whole.step == parts.step == 2
    # Clicks are drawn in another order, so that the results differ, but not by much.
    for a, b in zip(whole.network.parameters(), parts.network.parameters(), strict=True):
        assert (a - b).abs().max() < 0.02


def test_frozen_weights_stay_and_parts_are_taken(tmp_path: Path) -> None:
    first = _train(tmp_path / "first", 1)
    given = load_model(str(tmp_path / "first" / "tiny.safetensors"), device="cpu").network
    initial = Initial(str(tmp_path / "first" / "tiny.safetensors"), ("image_encoder.",),
                      ("image_encoder.",))  # fmt: skip
    second = _train(tmp_path / "second", 3, replace(RECIPE, seed=77, initial=initial))
    kept = second.network.state_dict()
    for name, value in given.state_dict().items():
        if name.startswith("image_encoder."):
            assert torch.equal(kept[name], value), name
    name = "sam_mask_decoder.mask_tokens.weight"
    assert not torch.equal(kept[name], given.state_dict()[name])
    other = replace(TINY, embed_dim=24)
    with pytest.raises(UserError, match="do not fit"):
        _train(tmp_path / "third", 1, replace(RECIPE, architecture=other, initial=initial))
    assert first.step == 1


def test_plans_follow_the_stage() -> None:
    stage = Stage("s", 1, 64, 1, 1, {"box": 0.5, "click": 0.5}, corrections=0.5, rounds=3)
    plans = [draw_plan(stage, torch.Generator().manual_seed(n)) for n in range(200)]
    assert {p.first for p in plans} == {"box", "click"}
    assert {p.corrections for p in plans} == {0, 1, 2, 3}
    assert 70 < sum(p.corrections == 0 for p in plans) < 130
